// The game. What is known of the player is here, in the browser, and is not sent anywhere.

import {
  $, about, ask, clearError, countryName, flag, kept, kindly, make, number, onChange, say, showError, start, t,
} from "./app.js";
import { info as ofService } from "./answers_http.js";
import { guessRow } from "./guess.js";
import { fitStage, heatOn, hideHeat, showHeat, startHeat } from "./heat.js";
import { WorldMap } from "./map.js";

const RECORD = "whichland.record"; // {rounds, won, you, model} over all rounds that were finished
const PLAYED = "whichland.played"; // {seed, deck, ends} of the round under way, so that it can be continued
const SEEDS = 1_000_000_000;

let map = null;
let round = null; // {seed, photos}
let ends = []; // of each photo so far: what was revealed, or null where it was left out
let pin = null; // [lat, lon] of the player
let heat = null; // of the photo in hand
let photoUrl = null;

const total = (who) => ends.reduce((sum, end) => sum + (end ? end[who].points : 0), 0);
const path = (part) => `api/play/${round.seed}/${ends.length + 1}/${part}`;

function seedOfAddress() {
  const asked = new URLSearchParams(location.search).get("seed");
  return /^\d{1,9}$/.test(asked ?? "") ? Number(asked) : null;
}

// A round

async function openRound(seed) {
  round = await (await ask(`api/play/${seed}`)).json();
  $("drawn").hidden = !round.drawn;
  const address = new URL(location.href);
  address.searchParams.set("seed", seed);
  history.replaceState(null, "", address);
  const under = JSON.parse(kept.get(PLAYED) ?? "null");
  ends = under?.seed === seed && under.ends.length <= round.photos ? under.ends : [];
  await openPhoto();
}

async function openPhoto() {
  clearError();
  pin = heat = null;
  hideHeat();
  for (const id of ["over-round", "reveal", "broken", "heat-controls"]) $(id).hidden = true;
  drawTally();
  if (ends.length >= round.photos) return showResult();
  $("game").hidden = false;
  pinning(true);
  $("guess").disabled = true;
  $("heat-caption").textContent = $("credit").textContent = "";
  $("country").value = "";
  map.setPins([]);
  map.whole();
  drawWords();
  $("photo").removeAttribute("src");
  $("stage").classList.add("loading");
  try {
    const data = await (await ask(path("photo"))).blob();
    if (photoUrl) URL.revokeObjectURL(photoUrl);
    photoUrl = URL.createObjectURL(data);
    $("photo").src = photoUrl;
  } catch (error) {
    showBroken(error);
  }
  $("stage").classList.remove("loading");
  say("");
}

function pinning(on) {
  $("pin-form").hidden = !on;
  $("map").classList.toggle("pinning", on);
}

function showBroken(error) {
  pinning(false);
  $("broken").hidden = false;
  $("broken-text").textContent = t("play.broken", { error: kindly(error) });
}

// The player's pin

function putPin(lat, lon, said = "") {
  pin = [Math.max(-90, Math.min(90, lat)), ((((lon + 180) % 360) + 360) % 360) - 180];
  map.setPins([{ lat: pin[0], lon: pin[1], kind: "you", label: t("play.you") }]);
  $("guess").disabled = false;
  $("pinned").textContent = said ? t("play.pinned", { country: said }) : t("play.pinnedAt", place(pin));
}

const place = ([lat, lon]) => {
  const degrees = (value) => Math.abs(value).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 });
  return { lat: `${degrees(lat)}° ${lat < 0 ? "S" : "N"}`, lon: `${degrees(lon)}° ${lon < 0 ? t("play.west") : t("play.east")}` };
};

function nameCountry() {
  const code = $("country").value;
  if (!code) return;
  const [lat, lon] = map.places.get(code);
  putPin(lat, lon, countryName(code));
  map.show([[lat, lon]], 4);
}

async function guess(event) {
  event.preventDefault();
  if (!pin) return;
  $("guess").disabled = true;
  try {
    const answer = await ask(path("guess"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ lat: pin[0], lon: pin[1] }),
    });
    reveal(await answer.json());
  } catch (error) {
    showError(kindly(error));
    $("guess").disabled = false;
  }
}

// What was revealed

function reveal(end) {
  const seen = path("heat");
  ends.push(end);
  keepPlayed();
  pinning(false);
  $("reveal").hidden = false;
  drawTally();
  $("heat-controls").hidden = false;
  drawReveal();
  heat = { path: seen, answer: null, country: end.guesses[0].country };
  drawHeat();
  $("truth").focus({ preventScroll: true });
  $("reveal").scrollIntoView({ block: "nearest" });
}

function drawReveal() {
  const { you, model, truth, guesses } = ends.at(-1);
  const ahead = you.points - model.points;
  $("truth-flag").replaceChildren(flag(truth.country, "flag big"));
  $("truth").textContent = t("play.is", { country: countryName(truth.country) });
  const points = number(Math.abs(ahead));
  $("winner").textContent = ahead > 0 ? t("play.won", { points }) : ahead < 0 ? t("play.lost", { points }) : t("play.even");
  $("winner").className = `probability ${ahead > 0 ? "won" : ahead < 0 ? "lost" : ""}`;
  $("both").replaceChildren(scoreRow("you", you), scoreRow("model", model));
  const remarks = [];
  if (!truth.known) remarks.push(t("play.unknown"));
  if (truth.lat === null) remarks.push(t("play.area"));
  $("remark").textContent = remarks.join(" ");
  $("guesses").replaceChildren(...guesses.map(guessRow));
  $("credit").textContent = truth.credit ? t("play.by", { credit: truth.credit }) : "";
  $("next").textContent = t(ends.length < round.photos ? "play.next" : "play.finish");
  drawPins(you, model, truth);
}

function scoreRow(who, { country, km, points }) {
  const distance = km === 0 ? t("play.inside") : t("play.km", { km: number(km) });
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, make("span", { className: `dot ${who}` }), t(`play.${who}`)),
    make("td", {}, country ? countryName(country) : t("play.sea")),
    make("td", { className: "number" }, distance),
    make("td", { className: "number" }, number(points)),
  );
}

function drawPins(you, model, truth) {
  const at = truth.lat === null ? map.places.get(truth.country) : [truth.lat, truth.lon];
  map.setPins([
    { lat: model.lat, lon: model.lon, kind: "model", label: t("play.model") },
    { lat: you.lat, lon: you.lon, kind: "you", label: t("play.you") },
    { lat: at[0], lon: at[1], kind: "truth", label: t("play.truth") },
  ]);
  map.addLines([
    [[you.lat, you.lon], at, "you"],
    [[model.lat, model.lon], at, "model"],
  ]);
  map.show([[you.lat, you.lon], [model.lat, model.lon], at]);
}

async function drawHeat() {
  const wanted = heat;
  $("heat-caption").textContent = "";
  if (!wanted || !heatOn()) return hideHeat();
  $("heat-caption").textContent = t("heat.busy");
  try {
    wanted.answer ??= await (await ask(wanted.path)).json();
    if (wanted === heat && heatOn()) showHeat({ ...wanted.answer, country: wanted.country });
  } catch (error) {
    if (wanted === heat) $("heat-caption").textContent = t("heat.failed", { error: kindly(error) });
  }
}

// The end of a round

function showResult() {
  const [you, model] = [total("you"), total("model")];
  $("game").hidden = true;
  $("over-round").hidden = false;
  const under = JSON.parse(kept.get(PLAYED) ?? "null");
  if (under && !under.counted) countRound(you, model);
  drawResult();
  $("result").focus();
}

function countRound(you, model) {
  const record = JSON.parse(kept.get(RECORD) ?? '{"rounds":0,"won":0,"you":0,"model":0}');
  record.rounds++;
  record.won += you > model ? 1 : 0;
  record.you += you;
  record.model += model;
  kept.set(RECORD, JSON.stringify(record));
  keepPlayed(true);
}

function drawResult() {
  const [you, model] = [total("you"), total("model")];
  const scores = { you: number(you), model: number(model) };
  $("result").textContent = t(you > model ? "play.overYou" : you < model ? "play.overModel" : "play.overEven", scores);
  $("results").replaceChildren(
    ...ends.map((end, at) =>
      make(
        "tr",
        {},
        make("td", {}, String(at + 1)),
        make("th", { scope: "row" }, ...(end ? [flag(end.truth.country), " ", countryName(end.truth.country)] : [t("play.left")])),
        make("td", { className: "number" }, end ? number(end.you.points) : "–"),
        make("td", { className: "number" }, end ? number(end.model.points) : "–"),
      ),
    ),
  );
  const cells = ["you", "model"].map((who) => make("td", { className: "number" }, scores[who]));
  $("total").replaceChildren(make("tr", {}, make("td"), make("th", { scope: "row" }, t("play.total")), ...cells));
  const record = JSON.parse(kept.get(RECORD) ?? "null");
  $("record").textContent = record
    ? t(record.rounds === 1 ? "play.recordOne" : "play.record", {
        rounds: record.rounds,
        won: record.won,
        you: number(record.you),
        model: number(record.model),
      })
    : "";
  $("forget").hidden = !record;
}

function keepPlayed(counted = false) {
  kept.set(PLAYED, JSON.stringify({ seed: round.seed, ends, counted }));
}

async function share() {
  try {
    await navigator.clipboard.writeText(location.href);
    say(t("play.shared"));
  } catch {
    say(t("play.sharePlain", { link: location.href }));
  }
}

function forget() {
  kept.set(RECORD, null);
  drawResult();
  $("again").focus();
}

// What is on the page whatever happens

function drawTally() {
  $("tally-you").textContent = number(total("you"));
  $("tally-model").textContent = number(total("model"));
  const state = (at) => {
    const end = ends[at];
    if (end === undefined) return at === ends.length && $("reveal").hidden ? "now" : "";
    return end && end.you.points > end.model.points ? "won" : end && end.you.points < end.model.points ? "lost" : "even";
  };
  $("dots").replaceChildren(...Array.from({ length: round.photos }, (_, at) => make("li", { className: state(at) })));
}

function drawWords() {
  const at = Math.min(ends.length + ($("reveal").hidden ? 1 : 0), round.photos);
  $("round").textContent = t("play.round", { number: at, all: round.photos });
  $("photo").alt = t("play.photo", { number: at });
  if (!pin) $("pinned").textContent = t("play.hint");
  map.relabel("play.mapLabel");
  const chosen = $("country").value;
  const named = [...map.places.keys()].map((code) => [countryName(code), code]).sort(([a], [b]) => a.localeCompare(b, document.documentElement.lang));
  $("country").replaceChildren(
    make("option", { value: "", textContent: "–" }),
    ...named.map(([name, code]) => make("option", { value: code, textContent: name, selected: code === chosen })),
  );
}

function redraw() {
  if (!round) return;
  map.recolour();
  drawTally();
  drawWords();
  if (!$("reveal").hidden) drawReveal();
  if (!$("over-round").hidden) drawResult();
  drawHeat();
}

const toRound = (seed) => openRound(seed).catch((error) => showError(t("play.none", { error: kindly(error) })));
const anySeed = () => Math.floor(Math.random() * SEEDS);

async function main() {
  start();
  try {
    const info = about(await ofService());
    startHeat(info.torch, drawHeat);
    $("game").hidden = false; // the map must have a size before it is made
    map = await new WorldMap($("map"), "play.mapLabel").draw();
  } catch (error) {
    return showError(kindly(error));
  }
  map.map.on("click", ({ latlng }) => {
    if ($("pin-form").hidden) return;
    $("country").value = "";
    const { lat, lng } = latlng.wrap();
    putPin(lat, lng);
  });
  $("map").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target !== $("map") || $("pin-form").hidden) return;
    event.preventDefault();
    const { lat, lng } = map.map.getCenter().wrap();
    putPin(lat, lng);
  });
  $("photo").addEventListener("load", fitStage);
  $("country").addEventListener("change", nameCountry);
  $("pin-form").addEventListener("submit", guess);
  $("next").addEventListener("click", () => openPhoto().then(() => $("round").focus()));
  $("skip").addEventListener("click", () => {
    ends.push(null);
    keepPlayed();
    openPhoto();
  });
  $("again").addEventListener("click", () => toRound(anySeed()).then(() => $("round").focus()));
  $("share").addEventListener("click", share);
  $("forget").addEventListener("click", forget);
  onChange(redraw);
  await toRound(seedOfAddress() ?? anySeed());
}

main();
