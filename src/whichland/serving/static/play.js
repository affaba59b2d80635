// The game: its three ways to play, and the way from photo to photo. What is known of the player is here, in the
// browser, and is not sent anywhere.

import { $, about, ask, clearError, kept, kindly, make, number, onChange, say, showError, start, t } from "./app.js";
import { info as ofService } from "./answers_http.js";
import { fitStage, heatOn, hideHeat, showHeat, startHeat, turnHeatOn } from "./heat.js";
import { WorldMap } from "./map.js";
import { Choice } from "./play_answer.js";
import { countRound, drawOver, forget, share, streakOf, total } from "./play_over.js";
import { drawReveal } from "./play_reveal.js";

const SEEDS = 1_000_000_000;
const HINT = 1000; // points that the heat map costs before an answer
const TIMED = "whichland.timed";
const SECONDS = 60; // for a photo, where the player wants a clock

const asked = new URLSearchParams(location.search);
const mode = ["daily", "streak"].find((name) => name === asked.get("mode")) ?? "round";
const PLAYED = mode === "round" ? "whichland.played" : `whichland.played.${mode}`; // the round under way

let info = null;
let map = null;
let choice = null;
let round = null; // as the service describes it
let before = 0; // photos of a streak that lie before this round
let ends = []; // of each photo so far: what was revealed, or null where it was left out
let counted = false; // whether the round was taken into the player's record
let heat = null; // of the photo in hand
let hinted = false;
let left = null; // seconds
let clock = null;
let photoUrl = null;
const fetched = new Map(); // path to a promise of the photo's bytes

const played = () => ({ mode, round, ends });
const at = (number) => number - before; // the number of a photo in the round that is dealt
const pathOf = (number, part) => `api/play/${round.seed}/${at(number) + 1}/${part}`;
const path = (part) => pathOf(ends.length, part);
const lost = () => mode === "streak" && ends.length > 0 && ends.at(-1) !== null && !ends.at(-1).you.right;
const isOver = () => (mode === "streak" ? lost() : ends.length >= round.photos);
const byCountry = () => mode === "streak" || !round.placed[at(ends.length)];
const revealed = () => !$("reveal").hidden;
const timed = () => $("timed").getAttribute("aria-checked") === "true";

function seedOfAddress() {
  const seed = asked.get("seed");
  return /^\d{1,9}$/.test(seed ?? "") ? Number(seed) : null;
}

const anySeed = () => Math.floor(Math.random() * SEEDS);
const dealt = async (seed) => (await ask(`api/play/${seed}`)).json();

// A round

async function openRound(seed) {
  const under = JSON.parse(kept.get(PLAYED) ?? "null");
  const again = seed ?? (under && !under.counted ? under.seed : anySeed());
  round = await dealt(mode === "daily" ? "daily" : again);
  const same = under?.seed === round.seed && under.deck === round.deck && (mode === "streak" || under.ends.length <= round.photos);
  ends = same ? under.ends : [];
  before = same ? under.before ?? 0 : 0;
  counted = same && under.counted;
  if (mode === "round") {
    const address = new URL(location.href);
    address.searchParams.set("seed", round.seed);
    history.replaceState(null, "", address);
  }
  $("drawn").hidden = !round.drawn;
  fetched.clear();
  await openPhoto();
}

function keepPlayed() {
  kept.set(PLAYED, JSON.stringify({ seed: round.seed, deck: round.deck, before, ends, counted }));
}

function photoOf(wanted) {
  if (!fetched.has(wanted)) fetched.set(wanted, ask(wanted).then((response) => response.blob()));
  fetched.get(wanted).catch(() => fetched.delete(wanted));
  return fetched.get(wanted);
}

async function openPhoto() {
  clearError();
  heat = null;
  hinted = false;
  hideHeat();
  stopClock();
  for (const id of ["over-round", "reveal", "broken", "heat-controls"]) $(id).hidden = true;
  $("game").classList.remove("revealed");
  if (isOver()) return showOver();
  if (mode === "streak" && at(ends.length) >= round.photos) {
    round = await dealt((round.seed + 1) % SEEDS);
    before = ends.length;
    keepPlayed();
  }
  $("game").hidden = false;
  $("heat-caption").textContent = "";
  choice.ask(byCountry() ? round.countries : null);
  $("hint").disabled = false;
  drawTally();
  drawWords();
  $("photo").removeAttribute("src");
  $("stage").classList.add("loading");
  try {
    const data = await photoOf(path("photo"));
    if (photoUrl) URL.revokeObjectURL(photoUrl);
    photoUrl = URL.createObjectURL(data);
    $("photo").src = photoUrl;
    startClock();
  } catch (error) {
    showBroken(error);
  }
  $("stage").classList.remove("loading");
  say("");
}

function showBroken(error) {
  choice.close();
  $("broken").hidden = false;
  $("broken-text").textContent = t("play.broken", { error: kindly(error) });
}

// The clock

function startClock() {
  stopClock();
  if (!timed() || !choice.open) return;
  left = SECONDS;
  drawClock();
  clock = setInterval(() => {
    left--;
    drawClock();
    if (left > 0) return;
    stopClock();
    guess();
  }, 1000);
}

function stopClock() {
  clearInterval(clock);
  left = clock = null;
  drawClock();
}

function drawClock() {
  $("clock").textContent = left === null ? "" : t("play.seconds", { seconds: left });
}

// The answer

async function guess(event) {
  event?.preventDefault();
  if (event && !choice.given) return;
  stopClock();
  choice.open = false;
  $("guess").disabled = true;
  try {
    const answer = await ask(path("guess"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(choice.given ?? {}),
    });
    reveal(await answer.json());
  } catch (error) {
    showError(kindly(error), () => guess());
    choice.open = true;
    $("guess").disabled = !choice.given;
  }
}

function reveal(end) {
  clearError();
  const seen = path("heat");
  const cost = hinted && mode !== "streak" ? HINT : 0;
  end.you.points = Math.max(0, end.you.points - cost);
  ends.push({ ...end, hinted, cost });
  keepPlayed();
  choice.close();
  $("reveal").hidden = $("heat-controls").hidden = false;
  $("game").classList.add("revealed");
  drawTally();
  drawEnd();
  heat = { path: seen, answer: heat?.answer ?? null, country: end.guesses[0].country };
  drawHeat();
  $("truth").focus({ preventScroll: true });
  if (!isOver() && at(ends.length) < round.photos) photoOf(path("photo")).catch(() => {}); // the next one, in advance
}

function drawEnd() {
  drawReveal(ends.at(-1), map, info);
  $("next").textContent = t(isOver() ? "play.finish" : "play.next");
}

async function drawHeat() {
  const wanted = heat;
  $("heat-caption").textContent = "";
  if (!wanted || !heatOn()) return hideHeat();
  $("heat-caption").textContent = t("heat.busy");
  try {
    wanted.answer ??= await (await ask(wanted.path)).json();
    if (wanted.path !== heat?.path || !heatOn()) return;
    heat.answer = wanted.answer;
    showHeat({ ...wanted.answer, country: heat.country });
    if (!heat.country) $("heat-caption").textContent = $("heat").alt = t("play.hintSeen");
  } catch (error) {
    if (wanted.path === heat?.path) $("heat-caption").textContent = t("heat.failed", { error: kindly(error) });
  }
}

// What the model looks at, before there is an answer; it does not say for which country.
function hint() {
  hinted = true;
  $("hint").disabled = true;
  heat = { path: path("heat"), answer: null, country: null };
  turnHeatOn();
  drawHeat();
}

// The end of a round

function showOver() {
  $("game").hidden = true;
  $("over-round").hidden = false;
  drawTally();
  if (!counted) {
    counted = true;
    countRound(played());
    keepPlayed();
  }
  drawOver(played());
  $("result").focus();
}

function again() {
  if (mode === "daily") location.assign("play");
  else toRound(anySeed()).then(() => $("round").focus());
}

// What is on the page whatever happens

function drawTally() {
  const { right, fooled } = streakOf(ends);
  const streak = mode === "streak";
  $("tally-you").textContent = streak ? number(right) : number(total(ends, "you"));
  $("tally-model").textContent = streak ? number(fooled) : number(total(ends, "model"));
  $("tally-you-name").textContent = t(streak ? "play.streak" : "play.you");
  $("tally-model-name").textContent = t(streak ? "play.fooledCount" : "play.model");
  const state = (of) => {
    const end = ends[of];
    if (end === undefined) return of === ends.length && !revealed() ? "now" : "";
    return end && end.you.points > end.model.points ? "won" : end && end.you.points < end.model.points ? "lost" : "even";
  };
  $("dots").hidden = streak;
  $("dots").replaceChildren(...Array.from({ length: round.photos }, (_, of) => make("li", { className: state(of) })));
}

function drawWords() {
  const shown = ends.length + (revealed() ? 0 : 1);
  const values = { number: shown, all: round.photos, day: round.number };
  const key = { round: "play.round", daily: "play.roundDaily", streak: "play.roundStreak" }[mode];
  $("round").textContent = t(key, values);
  $("photo").alt = t("play.photo", values);
  const credit = round.credits[at(shown - 1)];
  $("credit").textContent = credit ? t("play.by", { credit }) : "";
  $("hint").textContent = t(mode === "streak" ? "play.hintStreak" : "play.hintCosts", { points: number(HINT) });
  map.relabel(byCountry() ? "play.mapLabelCountry" : "play.mapLabel");
  if (choice.open) choice.draw();
  drawClock();
}

function redraw() {
  if (!round) return;
  map.recolour();
  drawTally();
  if (!$("over-round").hidden) return drawOver(played());
  drawWords();
  if (revealed()) drawEnd();
  drawHeat();
}

const toNext = () => openPhoto().then(() => $("round").focus(), (error) => showError(kindly(error), toNext));
const toRound = (seed) => openRound(seed).catch((error) => showError(t("play.none", { error: kindly(error) }), () => toRound(seed)));

function listen() {
  $("photo").addEventListener("load", fitStage);
  $("pin-form").addEventListener("submit", guess);
  $("hint").addEventListener("click", hint);
  $("next").addEventListener("click", toNext);
  $("skip").addEventListener("click", () => {
    ends.push(null);
    keepPlayed();
    toNext();
  });
  $("again").addEventListener("click", again);
  $("share").addEventListener("click", () => share(played()));
  $("forget").addEventListener("click", () => {
    forget();
    drawOver(played());
    $("again").focus();
  });
  $("timed").setAttribute("aria-checked", String(kept.get(TIMED) === "on"));
  $("timed").addEventListener("click", () => {
    $("timed").setAttribute("aria-checked", String(!timed()));
    kept.set(TIMED, timed() ? "on" : "off");
    if (timed()) startClock();
    else stopClock();
  });
  for (const link of document.querySelectorAll(".modes a"))
    if (link.dataset.mode === mode) link.setAttribute("aria-current", "page");
}

async function main() {
  start();
  listen();
  try {
    info = about(await ofService());
    startHeat(info.torch, drawHeat);
    $("game").hidden = false; // the map must have a size before it is made
    map = await new WorldMap($("map"), "play.mapLabel", { free: true }).draw();
  } catch (error) {
    return showError(kindly(error), () => location.reload());
  }
  choice = new Choice(map);
  onChange(redraw);
  await toRound(mode === "daily" ? null : seedOfAddress());
}

main();
