// What did not work, a line a file; it stays until it is closed or tried again.

import { $, make } from "./app.js";

export function drawFailures(failures) {
  $("failures").hidden = !failures.length;
  $("retry").hidden = !failures.some(({ photo }) => photo?.unsent);
  const line = ({ name, text }) => make("li", {}, make("strong", {}, name), ` ${text}`);
  $("failed").replaceChildren(...failures.map(line));
}

export function listenToFailures(retry, close) {
  $("retry").addEventListener("click", retry);
  $("failures-close").addEventListener("click", close);
  addEventListener("online", () => $("retry").hidden || retry());
}
