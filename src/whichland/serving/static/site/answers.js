// Answers by the model in this browser: the page's side of the worker. The page fetches, so that what is large is on
// its way before the worker runs.

import { Refused, say, t } from "../app.js";
import { fetchPacked } from "./fetching.js";

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const asked = new Map(); // by number: what waits for the worker
let number = 0;
let missing = null; // why there is no model
let ready = false;
let kept = false;

const site = fetch("site.json").then((response) => {
  if (!response.ok) throw new Refused(response.status, response.statusText);
  return response.json();
});

// The runtime comes first, whole: the worker compiles it, and runs the network's beginning, while the network is on its way.
async function load() {
  const facts = await site;
  const cache = `whichland ${new URL("./", location).pathname} ${facts.version}`; // as sw.js calls it
  let come = 0;
  const count = (some) => loading(Math.min(1, (come += some) / facts.bytes));
  const get = (file) => fetchPacked(new URL(file, document.baseURI).href, cache, count);
  worker.postMessage({ site: facts });
  const beginning = facts.files.beginning && get(facts.files.beginning); // a few kB, asked for by then
  for (const part of ["runtime", "beginning", "network"]) {
    const bytes = await (part === "beginning" ? beginning : get(facts.files[part]));
    if (bytes) worker.postMessage({ [part]: bytes }, [bytes.buffer]);
  }
}

load().catch((error) => failed(error.message));

// Only one who waits for an answer reads how much of the model is there.
function loading(share) {
  if (asked.size) say(t("site.loading", { share: Math.floor(100 * share) }));
}

function failed(why) {
  missing = new Refused(0, why);
  for (const { stop } of asked.values()) stop(missing);
  asked.clear();
}

worker.addEventListener("message", ({ data }) => {
  if (data.ready) ready = true;
  else if (data.id === undefined) failed(data.failed);
  else {
    const { done, stop } = asked.get(data.id);
    asked.delete(data.id);
    if ("found" in data) done(data.found);
    else stop(new Refused(0, data.failed));
  }
  if (ready && !asked.size && !kept) keepForLater();
});

// Not before the first answer, which it would hold up.
function keepForLater() {
  kept = true;
  navigator.serviceWorker?.register("sw.js");
}

const ask = (work, message) =>
  new Promise((done, stop) => {
    if (missing) return stop(missing);
    asked.set(++number, { done, stop });
    worker.postMessage({ ...message, work, id: number });
  });

export const info = async () => (await site).info;

export const predict = (file, { among = "" } = {}) => ask("predict", { file, name: file.name || "photo", among });

export const explain = (file, why) => ask("explain", { file, name: file.name || "photo", why });
