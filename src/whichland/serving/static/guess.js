// One line of the likeliest labels: flag, name, probability as a bar and a number, and in words.

import { labelFlag, labelName, make, percent, t } from "./app.js";

export function guessRow({ country, probability, words }) {
  const fill = make("span", { className: "fill" });
  fill.style.width = `${Math.max(100 * probability, 0.5)}%`;
  const bar = make("span", { className: "bar" }, fill);
  bar.setAttribute("aria-hidden", "true");
  const text = make("span", { className: "name" }, labelName(country));
  const said = make("span", { className: "said" }, words ? t(words) : "");
  return make("li", {}, labelFlag(country), text, make("span", { className: "value" }, percent(probability)), bar, said);
}
