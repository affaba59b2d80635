// What is revealed of a photo: the truth, both answers and what they earned, and why the model was right or fooled.

import { $, countryName, flag, labelName, make, number, percent, t } from "./app.js";
import { guessRow } from "./guess.js";

const LISTED = 3; // of the model's guesses

export function drawReveal(end, map, info) {
  const { you, model, truth, guesses } = end;
  $("truth-flag").replaceChildren(flag(truth.country, "flag big"));
  $("truth").textContent = t("play.is", { country: countryName(truth.country) });
  $("winner").textContent = winner(end);
  const ahead = you.points - model.points;
  $("winner").className = `winner ${ahead > 0 ? "won" : ahead < 0 ? "lost" : ""}`;
  $("both").replaceChildren(scoreRow("you", you), scoreRow("model", model));
  $("remark").textContent = why(end, info);
  $("guesses").replaceChildren(...guesses.slice(0, LISTED).map(guessRow));
  if (model.lat === null) drawCountries(end, map);
  else drawPins(end, map);
}

function winner({ you, model }) {
  if (model.lat === null)
    return t(you.right ? (model.right ? "play.bothRight" : "play.fooled") : model.right ? "play.youWrong" : "play.bothWrong");
  const ahead = you.points - model.points;
  if (!ahead) return t("play.even");
  const one = Math.abs(ahead) === 1 ? "One" : "";
  return t((ahead > 0 ? "play.won" : "play.lost") + one, { points: number(Math.abs(ahead)) });
}

// Why the model was right or fooled, and what the player should know of the points.
function why({ truth, guesses, cost }, { kind, model: facts }) {
  const [best] = guesses;
  const values = { guess: labelName(best.country), probability: percent(best.probability), country: countryName(truth.country) };
  const said = [];
  if (kind !== "country") said.push(t("play.whyLabel", values));
  else if (!truth.known) said.push(t("play.whyUnknown", values));
  else if (truth.rank === 1) said.push(t("play.whyRight", values));
  else said.push(t("play.whyFooled", { ...values, rank: number(truth.rank), truth: percent(truth.probability) }));
  const named = facts.record?.named[best.country];
  if (named) {
    const of = t(`record.${facts.record.split === "test" ? "test" : "val"}`, { count: number(named.of) });
    said.push(t("record.named", { country: values.guess, right: number(named.right), of }));
  }
  if (cost) said.push(t("play.hinted"));
  return said.join(" ");
}

function scoreRow(who, { lat, country, km, right, points }) {
  const distance = km === null ? t(right ? "play.right" : "play.wrong") : t("play.km", { km: number(km) });
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, make("span", { className: `dot ${who}` }), t(`play.${who}`)),
    make("td", {}, country ? countryName(country) : lat === null ? "–" : t("play.sea")),
    make("td", { className: "number" }, distance),
    make("td", { className: "number" }, number(points)),
  );
}

function drawPins({ you, model, truth }, map) {
  const pins = [["model", model], ["you", you]].filter(([, { lat }]) => lat !== null);
  const at = [truth.lat, truth.lon];
  map.offer(null);
  map.setPins([
    ...pins.map(([kind, { lat, lon }]) => ({ lat, lon, kind, label: t(`play.${kind}`) })),
    ...(truth.lat === null ? [] : [{ lat: at[0], lon: at[1], kind: "truth", label: t("play.truth") }]),
  ]);
  if (truth.lat !== null) map.addLines(pins.map(([kind, { lat, lon }]) => [[lat, lon], at, kind]));
  map.show([...pins.map(([, { lat, lon }]) => [lat, lon]), ...(truth.lat === null ? [] : [at])]);
}

function drawCountries({ you, model, truth }, map) {
  const marks = { ...(model.country && { [model.country]: "model" }), ...(you.country && { [you.country]: "you" }) };
  marks[truth.country] = "truth";
  map.setPins([]);
  map.offer(null, marks);
  map.show(Object.keys(marks).map((code) => map.places.get(code)).filter(Boolean), 3);
}
