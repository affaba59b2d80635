// Answers by the service, over HTTP.

import { ask } from "./app.js";

export const info = async () => (await ask("api/info")).json();

async function send(path, fields) {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, ...[value].flat());
  return (await ask(path, { method: "POST", body })).json();
}

const sent = (file) => [file, file.name || "photo"];

export async function predict(file, { neighbours = 0, among = "" } = {}) {
  const asked = Object.entries({ neighbours, among }).filter(([, value]) => value);
  const { results } = await send("api/predict", [["files", sent(file)], ...asked]);
  return results[0];
}

export async function explain(file, why) {
  const asked = ["country", "against"].map((name, at) => [name, why?.[at]]).filter(([, value]) => value);
  return send("api/explain", [["file", sent(file)], ...asked]);
}
