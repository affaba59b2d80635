// The model in the browser: photos come in as messages, answers go out. No photo leaves this thread.

import "../vendor/onnxruntime/ort-wasm-simd-threaded.mjs"; // which the next one only asks for when it is needed
import * as ort from "../vendor/onnxruntime/ort.wasm.min.mjs";
import { answerOf, combined, pinTable, softmax } from "./answer.js";
import { Unreadable } from "./files.js";
import { occlusion, picture } from "./heat.js";
import { openPhoto } from "./pixels.js";
import { cutViews } from "./views.js";

const [INPUT, OUTPUT] = ["pixels", "logits"];

let site = null; // site.json
let pins = null; // a promise of what every pin is worth
let opened = null; // settles `session`
let begun = Promise.resolve(); // settles once the network's beginning has run
let last = Promise.resolve(); // the network takes one batch after the other
const session = new Promise((done, stop) => (opened = { done, stop }));

const pause = () => new Promise((done) => setTimeout(done));

// What the page sends before any photo, in this order.
const BEGINNING = {
  site(facts) {
    site = facts;
    pins = site.points && pinTable(site.points, site.scale_km, pause);
  },
  runtime(bytes) {
    ort.env.wasm.numThreads = 1; // more would need headers that static hosts do not send
    ort.env.wasm.wasmBinary = bytes;
    // no network, but the runtime is compiled now; there is no other way to ask for that
    ort.InferenceSession.create(new Uint8Array(1)).catch(() => {});
  },
  // What browsers compile when it is first run, they compile now. The network itself says what fails.
  beginning(bytes) {
    const [height, width] = site.preprocess.size;
    const nothing = new ort.Tensor("uint8", new Uint8Array(height * width * 3), [1, height, width, 3]);
    begun = ort.InferenceSession.create(bytes, { graphOptimizationLevel: "all" })
      .then((first) => first.run({ [INPUT]: nothing }))
      .catch(() => {});
  },
  // One session after the other: runs of two at a time mix up their outputs.
  network(bytes) {
    const open = () => ort.InferenceSession.create(bytes, { graphOptimizationLevel: "all" });
    begun.then(open).then(opened.done, opened.stop);
    session.then(() => postMessage({ ready: true }), (error) => postMessage({ failed: error.message }));
  },
};

async function run(crops) {
  const network = await session;
  const turn = last.then(async () => {
    const { width, height } = crops[0];
    const data = new Uint8Array(crops.length * 3 * width * height);
    crops.forEach((crop, at) => data.set(crop.data, at * 3 * width * height));
    const found = await network.run({ [INPUT]: new ort.Tensor("uint8", data, [crops.length, height, width, 3]) });
    return found[OUTPUT].data;
  });
  last = turn.catch(() => {});
  const logits = await turn;
  if (!logits.every(Number.isFinite)) throw new Error("the network's outputs are not finite numbers");
  const labels = logits.length / crops.length;
  return crops.map((_, at) => logits.subarray(at * labels, (at + 1) * labels));
}

async function look(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const photo = await openPhoto(bytes, site.info.limits);
  return { photo, views: await cutViews(photo, bytes, site.preprocess) };
}

async function probabilitiesOf(views) {
  const found = [];
  for (const { crop } of views) found.push(...(await run([crop])));
  return combined(found.map((logits) => softmax(logits, site.temperature)));
}

async function predict({ file, name, among }) {
  const started = performance.now();
  const { photo, views } = await look(file);
  const probabilities = await probabilitiesOf(views);
  const table = await pins;
  const milliseconds = Number((performance.now() - started).toFixed(1));
  const { width, height } = photo;
  const seen = views.map(({ box, heading = null, fov = null }) => ({ box, heading, fov }));
  const answer = answerOf(site, probabilities, among, table);
  return { name, width, height, ...answer, caution: site.info.model.caution, views: seen, neighbours: null, milliseconds };
}

async function explain({ file, name, why }) {
  const { views } = await look(file);
  const codes = site.info.labels.map(({ code }) => code);
  let [country, against = null] = why ?? [];
  if (!country) {
    const probabilities = await probabilitiesOf(views);
    country = codes[probabilities.indexOf(Math.max(...probabilities))];
  }
  const target = against === null ? codes.indexOf(country) : [codes.indexOf(country), codes.indexOf(against)];
  const found = [];
  let evidence = false;
  for (const view of views) {
    const map = await occlusion(run, view.crop, target);
    evidence ||= map.data.some((value) => value > 0);
    found.push({ box: view.box, heading: view.heading, fov: view.fov, png: await picture(map, view) });
  }
  return { name, country, against, method: "occlusion", views: found, evidence, verified: null };
}

const WORK = { predict, explain };

addEventListener("message", async ({ data: { id, work, ...message } }) => {
  if (!work) {
    for (const [part, given] of Object.entries(message)) BEGINNING[part](given);
    return;
  }
  try {
    postMessage({ id, found: await WORK[work](message) });
  } catch (error) {
    const unread = error instanceof Unreadable && work === "predict";
    postMessage(unread ? { id, found: { name: message.name, error: error.message } } : { id, failed: error.message });
  }
});
