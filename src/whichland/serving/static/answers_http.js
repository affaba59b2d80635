// Answers by the service, over HTTP.

import { ask } from "./app.js";

export const info = async () => (await ask("api/info")).json();

async function send(path, fields) {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, ...[value].flat());
  return (await ask(path, { method: "POST", body })).json();
}

const sent = (file) => [file, file.name || "photo"];

export async function predict(file, { neighbours = 0 } = {}) {
  const { results } = await send("api/predict", [["files", sent(file)], ...(neighbours ? [["neighbours", neighbours]] : [])]);
  return results[0];
}

export async function explain(file, why) {
  const [country, against] = why ?? [];
  return send("api/explain", [["file", sent(file)], ...(why ? [["country", country], ["against", against]] : [])]);
}
