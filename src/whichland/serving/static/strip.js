// The strip of photos: a thumbnail each, with what became of it.

import { $, labelFlag, labelName, make, percent, t } from "./app.js";
import { headline } from "./verdict.js";

function stateOf({ answer, error, unsent }) {
  if (error) return t(unsent ? "strip.unsent" : "strip.failed");
  if (!answer) return t("strip.waiting");
  const best = answer.guesses[0];
  return answer.abstained ? headline(answer) : `${labelName(best.country)} ${percent(best.probability)}`;
}

function badgeOf({ answer, error }) {
  const badge = make("span", { className: "badge" });
  if (!answer) badge.append(error ? "⚠" : "…");
  else if (answer.abstained) badge.append("?");
  else badge.append(labelFlag(answer.guesses[0].country), percent(answer.guesses[0].probability));
  return badge;
}

export function drawStrip(photos, current, select) {
  const focused = document.activeElement?.closest?.("#strip button")?.dataset.id;
  $("strip").replaceChildren(
    ...photos.map((photo, at) => {
      const image = make("img", { src: photo.url, alt: "", className: "thumb", loading: "lazy" });
      image.addEventListener("error", () => (image.hidden = true));
      const button = make("button", { type: "button" }, image, badgeOf(photo));
      button.dataset.id = photo.id;
      const name = t("strip.item", { number: at + 1, name: photo.file.name, state: stateOf(photo) });
      button.setAttribute("aria-label", name);
      if (photo === current) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => select(photo));
      return make("li", {}, button);
    }),
  );
  $("strip").hidden = photos.length < 2;
  if (focused) $("strip").querySelector(`[data-id="${focused}"]`)?.focus();
}
