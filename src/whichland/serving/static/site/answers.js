// Answers by the model in this browser: the page's side of the worker.

import { Refused, say, t } from "../app.js";

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const asked = new Map(); // by number: what waits for the worker
let number = 0;
let ready = false;

worker.addEventListener("message", ({ data }) => {
  if (data.ready) return opened();
  if (data.loaded !== undefined) return loading(data.loaded);
  if (data.id === undefined) return say(t("error.other", { error: data.failed })); // the model could not be fetched
  const { done, stop } = asked.get(data.id);
  asked.delete(data.id);
  if ("found" in data) done(data.found);
  else stop(new Refused(0, data.failed));
});

// The model comes while a visitor looks for a photo; only one who waits for an answer reads how far it is.
function loading(share) {
  if (!ready && asked.size) say(t("site.loading", { share: Math.floor(100 * share) }));
}

function opened() {
  ready = true;
  if (asked.size) say("");
  navigator.serviceWorker?.register("sw.js"); // not earlier: what it keeps for later would hold up the model
}

const ask = (work, message) =>
  new Promise((done, stop) => {
    asked.set(++number, { done, stop });
    worker.postMessage({ ...message, work, id: number });
  });

export async function info() {
  const response = await fetch("site.json");
  if (!response.ok) throw new Refused(response.status, response.statusText);
  const site = await response.json();
  worker.postMessage({ site });
  return site.info;
}

export const predict = (file, { among = "" } = {}) => ask("predict", { file, name: file.name || "photo", among });

export const explain = (file, why) => ask("explain", { file, name: file.name || "photo", why });
