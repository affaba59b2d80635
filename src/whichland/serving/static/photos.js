// The page of photos: what is dropped, pasted or chosen is sent, one request a photo, and the answers are drawn.

import {
  $, about, ask, clearError, COUNTRIES, kindly, labelFlag, labelName, make, number, onChange, percent, Refused, say,
  showError, start, t,
} from "./app.js";
import { among, drawAmong, startAmong } from "./among.js";
import * as answers from "./answers.js";
import { guessRow } from "./guess.js";
import { fitStage, heatOn, hideHeat, showHeat, startHeat, turnHeatOn } from "./heat.js";
import { legend, WorldMap } from "./map.js";
import { drawNeighbours, NEIGHBOURS } from "./neighbours.js";

const AT_ONCE = 3; // photos under way together: enough for the service to batch them

let info = null;
let map = null;
const photos = []; // {id, file, url, answer, error, heats: Map, why: null | [country, against]}
let current = null;
let made = 0; // photos so far, for ids
const early = []; // files chosen before the service has said what it takes

// Taking photos in

function take(list) {
  if (!info) return early.push(...list);
  clearError();
  const files = [...list].filter((file) => file.type.startsWith("image/") || /\.(jpe?g|png|webp|avif|tiff?|heic)$/i.test(file.name));
  if (!files.length) return showError(t("error.nophotos"));
  const limit = info.limits.bytes;
  const added = photos.length;
  for (const file of files) {
    if (file.size > limit) {
      const megabytes = (bytes) => (bytes / 1e6).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 });
      showError(t("error.big", { name: file.name, size: megabytes(file.size), limit: megabytes(limit) }));
      continue;
    }
    photos.push({ id: ++made, file, url: URL.createObjectURL(file), answer: null, error: null, heats: new Map(), why: null });
  }
  if (photos.length === added) return;
  const first = $("work").hidden;
  $("hero").hidden = true;
  $("work").hidden = false;
  select(photos[added]);
  if (first) $("main").focus({ preventScroll: true });
  work();
}

const waiting = () => photos.filter((photo) => !photo.answer && !photo.error && !photo.sent);
let busy = 0;

function work() {
  while (busy < AT_ONCE && waiting().length) {
    const photo = waiting()[0];
    photo.sent = true;
    busy++;
    predict(photo).finally(() => {
      busy--;
      work();
    });
  }
}

async function predict(photo) {
  const within = among();
  try {
    const found = await answers.predict(photo.file, { neighbours: info.neighbours ? NEIGHBOURS : 0, among: within });
    if (within !== among()) return (photo.sent = false); // another choice meanwhile: asked again
    if (found.error) photo.error = t("error.unreadable", { name: photo.file.name, error: found.error });
    else photo.answer = found;
  } catch (error) {
    photo.error = kindly(error, photo.file.name);
  }
  if (!photos.includes(photo)) return;
  if (photo.error) showError(photo.error);
  drawStrip();
  if (photo === current) drawCurrent();
  const done = photos.filter((one) => one.answer || one.error).length;
  if (photos.length > 1) say(t("progress", { done, all: photos.length }));
  else if (photo.answer) {
    const best = photo.answer.guesses[0];
    say(t("done.one", { country: labelName(best.country), probability: percent(best.probability) }));
  } else say("");
}

// Ask about every photo again.
function askAgain() {
  for (const photo of photos)
    if (!photo.error) Object.assign(photo, { sent: photo.sent && !photo.answer, answer: null, heats: new Map(), why: null });
  drawStrip();
  drawCurrent();
  work();
}

function startOver() {
  for (const photo of photos) URL.revokeObjectURL(photo.url);
  photos.length = 0;
  current = null;
  $("work").hidden = true;
  $("hero").hidden = false;
  clearError();
  say("");
  $("choose").focus();
}

// The strip of thumbnails

function drawStrip() {
  const focused = document.activeElement?.closest?.("#strip button")?.dataset.id;
  $("strip").replaceChildren(
    ...photos.map((photo, at) => {
      const best = photo.answer?.guesses[0];
      const state = best ? `${labelName(best.country)} ${percent(best.probability)}` : t(photo.error ? "strip.failed" : "strip.waiting");
      const image = make("img", { src: photo.url, alt: "", className: "thumb", loading: "lazy" });
      image.addEventListener("error", () => (image.hidden = true));
      const badge = make("span", { className: "badge" });
      if (best) badge.append(labelFlag(best.country), percent(best.probability));
      else badge.append(photo.error ? "⚠" : "…");
      const button = make("button", { type: "button" }, image, badge);
      button.dataset.id = photo.id;
      button.setAttribute("aria-label", t("strip.item", { number: at + 1, name: photo.file.name, state }));
      if (photo === current) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => select(photo));
      return make("li", {}, button);
    }),
  );
  if (focused) $("strip").querySelector(`[data-id="${focused}"]`)?.focus();
  $("save").hidden = !photos.some((photo) => photo.answer);
}

function select(photo) {
  if (photo !== current) {
    current = photo;
    $("photo").src = photo.url;
    $("photo").hidden = false;
    $("undrawn").hidden = true;
  }
  drawStrip();
  drawCurrent();
}

// The photo in hand

function drawCurrent() {
  if (!current) return;
  const { answer, error, file } = current;
  $("photo").alt = t("photo.alt", { name: file.name });
  $("undrawn").textContent = t(error ? "photo.unreadable" : "photo.undrawn");
  $("waiting").hidden = Boolean(answer || error);
  $("answered").hidden = !answer;
  $("unreadable").hidden = !error;
  $("unreadable").textContent = error ?? "";
  $("world").hidden = !answer;
  drawNeighbours(answer?.neighbours);
  $("heat-toggle").disabled = !answer;
  $("opacity").disabled = !answer;
  $("why").hidden = !answer || !info.torch || Object.keys(answer.probabilities).length < 2;
  if (answer) {
    drawAnswer(answer);
    drawMap(answer);
    drawWhy(answer);
  }
  drawHeat();
}

function drawAnswer(answer) {
  const best = answer.guesses[0];
  $("verdict-flag").replaceChildren(labelFlag(best.country, "flag big"));
  $("verdict").textContent = labelName(best.country);
  $("verdict-probability").textContent = percent(best.probability);
  $("verdict-words").textContent = t(answer.words);
  $("abstained").hidden = !answer.abstained;
  $("unlike").hidden = !answer.unlike;
  drawAmong(answer, info.kind);
  $("guesses").replaceChildren(...answer.guesses.map(guessRow));
  $("set").hidden = !answer.set;
  if (answer.set) drawSet(answer.set);
  $("took").textContent = t("answer.took", { milliseconds: number(answer.milliseconds) });
}

function drawSet({ percent: share, countries }) {
  const shown = countries.slice(0, 12);
  const key = countries.length === 1 ? "answer.setOne" : "answer.set";
  $("set-title").textContent = t(key, { percent: percent(share / 100), count: countries.length });
  const chips = shown.map((code) => make("li", {}, labelFlag(code), labelName(code)));
  if (countries.length > shown.length)
    chips.push(make("li", { className: "more" }, t("answer.others", { count: countries.length - shown.length })));
  $("set-countries").replaceChildren(...chips);
}

async function drawMap(answer) {
  if (!map) {
    map = new WorldMap($("map"), "map.label");
    await map.draw();
  }
  if (current?.answer !== answer) return;
  map.relabel("map.label");
  const none = Object.fromEntries(info.labels.map(({ code }) => [code, 0])); // where the answer is within others
  const shades = COUNTRIES ? { ...none, ...answer.probabilities } : answer.levels.country ?? null; // labels may lie in no country
  map.shade(shades);
  legend($("legend"));
  $("legend").parentElement.hidden = !shades;
  const pin = answer.pin;
  const label = pin ? t("map.pin", { points: number(pin.expected_score) }) : t("map.nopin");
  $("map-pin").textContent = label;
  map.setPins(pin ? [{ lat: pin.lat, lon: pin.lon, kind: "best", label }] : []);
  $("table").replaceChildren(
    ...Object.entries(answer.probabilities).map(([code, probability]) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, labelFlag(code), " ", labelName(code)),
        make("td", { className: "number" }, percent(probability)),
      ),
    ),
  );
}

// The heat map, and why this and not that

function drawWhy(answer) {
  const codes = Object.keys(answer.probabilities);
  const [country, against] = current.why ?? codes;
  for (const [id, chosen] of [["why-country", country], ["why-against", against]])
    $(id).replaceChildren(...codes.map((code) => make("option", { value: code, selected: code === chosen }, labelName(code))));
  $("why-back").hidden = !current.why;
}

async function drawHeat() {
  const photo = current;
  $("heat-caption").textContent = "";
  if (!photo?.answer || !heatOn()) return hideHeat();
  const key = (photo.why ?? []).join(" ");
  if (!photo.heats.has(key)) {
    hideHeat();
    $("heat-caption").textContent = t("heat.busy");
    photo.heats.set(key, answers.explain(photo.file, photo.why ?? [photo.answer.guesses[0].country]));
  }
  try {
    const heat = await photo.heats.get(key);
    if (photo === current && heatOn() && key === (photo.why ?? []).join(" ")) showHeat(heat);
  } catch (error) {
    photo.heats.delete(key); // so that it can be asked for again
    if (photo === current) $("heat-caption").textContent = t("heat.failed", { error: kindly(error, photo.file.name) });
  }
}

function askWhy(event) {
  event.preventDefault();
  const [country, against] = [$("why-country").value, $("why-against").value];
  if (country === against) return showError(t("why.same"));
  clearError();
  current.why = [country, against];
  $("why-back").hidden = false;
  turnHeatOn();
  drawHeat();
}

function backToGuess() {
  current.why = null;
  drawWhy(current.answer);
  drawHeat();
  $("why-country").focus();
}

// Answers as a file

function save() {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const rows = photos
    .filter((photo) => photo.answer)
    .map(({ answer, file }) => {
      const { country, probability } = answer.guesses[0];
      const place = answer.pin ? [answer.pin.lat, answer.pin.lon] : ["", ""];
      return [quoted(file.name), country, probability, quoted((answer.set?.countries ?? []).join(" ")), ...place].join(",");
    });
  const text = ["photo,country,probability,set,lat,lon", ...rows].join("\r\n") + "\r\n";
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: url, download: "whichland.csv" }).click();
  URL.revokeObjectURL(url);
}

// A scene of the game, for those who have no photo at hand

async function example() {
  try {
    const seed = Math.floor(Math.random() * 1e6);
    const scene = await (await ask(`api/play/${seed}/1/photo`)).blob();
    take([new File([scene], "street.jpg", { type: "image/jpeg" })]);
  } catch (error) {
    showError(kindly(error));
  }
}

function listen() {
  $("choose").addEventListener("click", () => $("files").click());
  $("add").addEventListener("click", () => $("files").click());
  $("camera").addEventListener("click", () => $("shot").click());
  $("camera").hidden = !matchMedia("(pointer: coarse)").matches;
  $("example").addEventListener("click", example);
  $("clear").addEventListener("click", startOver);
  $("save").addEventListener("click", save);
  for (const id of ["files", "shot"])
    $(id).addEventListener("change", (event) => {
      if (event.target.files.length) take(event.target.files);
      event.target.value = ""; // so that the same photo can be chosen again
    });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files);
  });
  let over = 0; // dragenter and dragleave come for every element on the way
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) $("over").hidden = ++over === 0;
  });
  document.addEventListener("dragleave", (event) => {
    if (holdsFiles(event)) $("over").hidden = --over <= 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over = 0;
    $("over").hidden = true;
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
  $("photo").addEventListener("load", fitStage);
  $("photo").addEventListener("error", () => {
    $("photo").hidden = true;
    $("undrawn").hidden = false;
  });
  $("why").addEventListener("submit", askWhy);
  $("why-back").addEventListener("click", backToGuess);
}

async function main() {
  start();
  listen();
  try {
    info = about(await answers.info());
  } catch (error) {
    $("choose").disabled = true;
    return showError(error instanceof Refused && error.status === 401 ? error.message : kindly(error));
  }
  startAmong(info.among ?? {}, askAgain);
  startHeat(info.torch, drawHeat); // by gradients it costs no more than an answer; else it is made when asked for
  $("example").hidden = !info.play;
  onChange(() => {
    if (!current) return;
    drawStrip();
    drawCurrent();
  });
  if (early.length) take(early);
}

main();
