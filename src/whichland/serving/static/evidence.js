// Where in the photo the evidence lies: its views framed, the heat map over them, and why this and not that.

import * as answers from "./answers.js";
import { $, clearError, kindly, labelName, make, showError, t } from "./app.js";
import { heatOn, hideHeat, showHeat, showViews, turnHeatOn } from "./heat.js";

let info = null;
let photo = null; // in hand

// Draw it for a photo of the strip, {file, answer, heats, why}, or for none.
export function drawEvidence(of, about) {
  [photo, info] = [of, about];
  const answer = photo?.answer;
  $("heat-toggle").disabled = $("opacity").disabled = !answer;
  $("why").hidden = !answer || !info.torch || Object.keys(answer.probabilities).length < 2;
  if (answer) drawWhy(answer);
  drawHeat();
}

function drawWhy(answer) {
  const codes = Object.keys(answer.probabilities);
  const [country, against] = photo.why ?? codes;
  for (const [id, chosen] of [["why-country", country], ["why-against", against]])
    $(id).replaceChildren(...codes.map((code) => make("option", { value: code, selected: code === chosen }, labelName(code))));
  $("why-back").hidden = !photo.why;
}

export async function drawHeat() {
  const of = photo;
  $("heat-caption").textContent = "";
  $("heat-scale").hidden = true;
  hideHeat();
  if (!of?.answer) return;
  showViews(of.answer.views);
  if (!heatOn()) return;
  const key = (of.why ?? []).join(" ");
  if (!of.heats.has(key)) {
    $("heat-caption").textContent = t("heat.busy");
    of.heats.set(key, answers.explain(of.file, of.why ?? [of.answer.guesses[0].country]));
  }
  try {
    const heat = await of.heats.get(key);
    if (of !== photo || !heatOn() || key !== (of.why ?? []).join(" ")) return;
    $("heat-scale").hidden = !heat.evidence;
    showHeat(heat);
  } catch (error) {
    of.heats.delete(key); // so that it can be asked for again
    if (of === photo) $("heat-caption").textContent = t("heat.failed", { error: kindly(error) });
  }
}

export function listenToWhy() {
  $("why").addEventListener("submit", (event) => {
    event.preventDefault();
    const [country, against] = [$("why-country").value, $("why-against").value];
    if (country === against) return showError(t("why.same"));
    clearError();
    photo.why = [country, against];
    $("why-back").hidden = false;
    turnHeatOn();
    drawHeat();
  });
  $("why-back").addEventListener("click", () => {
    photo.why = null;
    drawWhy(photo.answer);
    drawHeat();
    $("why-country").focus();
  });
}
