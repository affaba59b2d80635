// Answers by the service, over HTTP. Of a photo no more is sent than the model needs.

import { ask, Refused, t } from "./app.js";
import { prepared } from "./shrink.js";

let shortSide = Infinity; // pixels, as the service says
let limit = Infinity; // bytes

export async function info() {
  const found = await (await ask("api/info")).json();
  shortSide = found.short_side;
  limit = found.limits.bytes;
  return found;
}

async function send(path, field, file, fields) {
  const body = new FormData();
  const blob = await prepared(file, shortSide);
  const megabytes = (bytes) => (bytes / 1e6).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 2 });
  if (blob.size > limit)
    throw new Refused(413, t("error.big", { size: megabytes(blob.size), limit: megabytes(limit) }), true);
  body.append(field, blob, file.name || "photo");
  for (const [name, value] of fields) body.append(name, value);
  return (await ask(path, { method: "POST", body })).json();
}

export async function predict(file, { neighbours = 0, among = "" } = {}) {
  const asked = Object.entries({ neighbours, among }).filter(([, value]) => value);
  const { results } = await send("api/predict", "files", file, asked);
  return results[0];
}

export async function explain(file, why) {
  const asked = ["country", "against"].map((name, at) => [name, why?.[at]]).filter(([, value]) => value);
  return send("api/explain", "file", file, asked);
}

export async function give(file, country) {
  const asked = Object.entries({ country, consent: "yes" });
  return (await send("api/collect", "file", file, asked)).receipt;
}

// One that is gone already is no matter.
export async function takeBack(receipt) {
  await ask(`api/collect/${receipt}`, { method: "DELETE" }).catch((error) => {
    if (error.status !== 404) throw error;
  });
}
