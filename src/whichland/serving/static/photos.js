// The page of photos: what is dropped, pasted or chosen is answered, three at a time, and the answers are drawn.

import { among, startAmong } from "./among.js";
import * as answers from "./answers.js";
import {
  $, about, clearError, kindly, make, onChange, Refused, regional, say, showError, start, t,
} from "./app.js";
import { drawEvidence, drawHeat, listenToWhy } from "./evidence.js";
import { showExamples } from "./examples.js";
import { drawFailures, listenToFailures } from "./failures.js";
import { fitStage, startHeat } from "./heat.js";
import { drop, keep, keepCurrent, restored } from "./keep.js";
import { drawKnows } from "./knows.js";
import { credited, drawNeighbours, NEIGHBOURS } from "./neighbours.js";
import { listenToPrint } from "./paper.js";
import { drawProbabilities } from "./probabilities.js";
import { drawRight, listenToRight } from "./right.js";
import { address, copy, save, saveJson } from "./save.js";
import { listenToShare, share } from "./share.js";
import { drawStrip } from "./strip.js";
import { listenToFiles } from "./take.js";
import { drawVerdict, spoken } from "./verdict.js";

const AT_ONCE = 3; // photos under way together: enough for the service to batch them

let info = null;
const photos = []; // {id, file, credit, url, answer, asked, error, unsent, heats: Map, why: null | [country, against]}, and what right.js says
let failures = []; // {name, text, photo}; photo is null for what was never taken in
let current = null;
let made = 0; // photos so far, for ids
let ready = false; // once the service has said what it takes, and the photos of before are there
const early = []; // files chosen until then

function fail(name, text, photo = null) {
  failures.push({ name, text, photo });
  drawFailures(failures);
}

// `credit` is that of a photo of somebody: its line and its licence.
function take(list, credit = null) {
  if (!ready) return early.push(...list);
  clearError();
  const files = [...list].filter((file) => file.type.startsWith("image/") || /\.(jpe?g|png|webp|avif|tiff?|hei[cf])$/i.test(file.name));
  if (!files.length) return showError(t("error.nophotos"));
  const added = files.map((file) => inHand({ id: ++made, file, credit }));
  added.forEach(keep);
  show(added, added[0]);
}

const inHand = (photo) => ({ answer: null, error: null, heats: new Map(), why: null, ...photo, url: URL.createObjectURL(photo.file) });

function show(added, chosen) {
  photos.push(...added);
  const first = $("work").hidden;
  $("hero").hidden = true;
  $("work").hidden = false;
  select(chosen);
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

// Whom an answer is of, and within what: where that is another by now, it is asked for anew.
const question = (within) => [info.name, info.version, info.model.trained, within].join(" · ");

// Take up what this tab had before it was loaded again.
async function takeUp() {
  const [before, id] = await restored();
  if (!before.length) return;
  made = Math.max(...before.map((photo) => photo.id));
  const added = before.map((photo) => inHand({ ...photo, answer: photo.asked === question(among()) ? photo.answer : null }));
  show(added, added.find((photo) => photo.id === id) ?? added[0]);
}

async function predict(photo) {
  const { name } = photo.file;
  const within = among();
  try {
    const found = await answers.predict(photo.file, { neighbours: info.neighbours ? NEIGHBOURS : 0, among: within });
    if (within !== among()) return (photo.sent = false); // another choice meanwhile: asked again
    if (found.error) photo.error = t("error.unreadable", { error: found.error });
    else Object.assign(photo, { answer: found, asked: question(within) });
  } catch (error) {
    photo.unsent = !(error instanceof Refused) || error.status === 503;
    photo.error = kindly(error);
  }
  if (!photos.includes(photo)) return;
  if (photo.error) fail(name, photo.error, photo);
  else keep(photo);
  drawStrip(photos, current, select);
  if (photo === current) drawCurrent();
  report(photo);
}

// How far the photos are, in one line: only what has an answer counts as answered.
function report(photo) {
  const count = (which) => photos.filter(which).length;
  const values = { done: count(({ answer }) => answer), failed: count(({ error }) => error), all: photos.length };
  say(photos.length > 1 || values.failed ? t(values.failed ? "progress.failed" : "progress", values) : "");
  $("spoken").textContent = photo?.answer && photo === current ? spoken(photo.answer, info.model) : "";
}

// Ask again for what did not reach the server.
function retry() {
  failures = failures.filter(({ photo }) => !photo?.unsent);
  for (const photo of photos.filter(({ unsent }) => unsent)) Object.assign(photo, { error: null, unsent: false, sent: false });
  drawFailures(failures);
  drawStrip(photos, current, select);
  drawCurrent();
  report();
  work();
}

// Ask about every photo again, within other labels.
function askAgain() {
  for (const photo of photos)
    if (!photo.error) Object.assign(photo, { sent: photo.sent && !photo.answer, answer: null, heats: new Map(), why: null });
  drawStrip(photos, current, select);
  drawCurrent();
  work();
}

function forget(gone) {
  for (const photo of gone) URL.revokeObjectURL(photo.url);
  drop(gone);
  failures = failures.filter(({ photo }) => !gone.includes(photo));
  drawFailures(failures);
}

function remove() {
  const at = photos.indexOf(current);
  forget(photos.splice(at, 1));
  if (!photos.length) return startOver();
  select(photos[Math.min(at, photos.length - 1)]);
  report();
  $("add").focus();
}

function startOver() {
  failures = failures.filter(({ photo }) => photo); // what was never taken in goes, too
  forget(photos.splice(0));
  current = null;
  keepCurrent(null);
  $("work").hidden = true;
  $("hero").hidden = false;
  clearError();
  say("");
  $("choose").focus();
}

function select(photo) {
  if (photo !== current) {
    current = photo;
    keepCurrent(photo);
    $("photo").src = photo.url;
    $("photo").hidden = false;
    $("undrawn").hidden = true;
  }
  drawStrip(photos, current, select);
  drawCurrent();
}

function drawCurrent() {
  if (!current) return;
  $("all-actions").hidden = !photos.some((photo) => photo.answer);
  const { answer, credit, error, unsent, file } = current;
  $("photo").alt = t("photo.alt", { name: file.name });
  $("undrawn").textContent = t(error && !unsent ? "photo.unreadable" : "photo.undrawn");
  $("credit").hidden = !credit;
  $("credit").replaceChildren(...(credit ? credited(...credit) : []));
  $("waiting").hidden = Boolean(answer || error);
  $("answered").hidden = !answer;
  $("unreadable").hidden = !error;
  $("unreadable").textContent = error ? `${file.name}: ${error}` : "";
  $("world").hidden = !answer;
  $("copied").textContent = "";
  drawNeighbours(answer?.neighbours);
  if (answer) {
    drawVerdict(answer, info);
    drawProbabilities(answer, info);
    drawRight(current, info);
  }
  drawEvidence(current, info);
}

// What stands above a printed answer.
function headOfPaper() {
  if (!current) return "";
  const date = new Date().toLocaleString(regional(), { dateStyle: "long", timeStyle: "short" });
  return t("answer.printed", { photo: current.file.name, date, name: info.name, address: address() });
}

function listen() {
  listenToFiles(take);
  listenToWhy();
  listenToRight((photo) => photos.includes(photo) && keep(photo));
  listenToFailures(retry, () => drawFailures((failures = failures.filter(({ photo }) => photo?.unsent))));
  $("clear").addEventListener("click", startOver);
  $("remove").addEventListener("click", remove);
  $("save").addEventListener("click", () => save(photos));
  $("save-json").addEventListener("click", () => saveJson(photos, info));
  $("copy").addEventListener("click", () => copy(current, info));
  $("share-open").addEventListener("click", () => share(current, info));
  listenToShare();
  listenToPrint(headOfPaper);
  $("photo").addEventListener("load", fitStage);
  $("photo").addEventListener("error", () => {
    $("photo").hidden = true;
    $("undrawn").hidden = false;
  });
}

// Ask what is served; where nobody answers, offer to ask again.
async function open() {
  try {
    info = about(await answers.info());
  } catch (error) {
    document.documentElement.removeAttribute("data-back");
    $("choose").disabled = true;
    const refused = error instanceof Refused && error.status === 401;
    return showError(refused ? error.message : kindly(error), open);
  }
  startAmong(info.among ?? {}, askAgain);
  $("choose").disabled = false;
  clearError();
  startHeat(false, drawHeat);
  if (info.play) showExamples(take).catch(() => ($("examples").hidden = true)); // the page does without them
  drawKnows(info);
  onChange(() => {
    drawKnows(info);
    if (!current) return;
    drawStrip(photos, current, select);
    drawCurrent();
    drawFailures(failures);
    report(current);
  });
  await takeUp();
  document.documentElement.removeAttribute("data-back");
  ready = true;
  if (early.length) take(early.splice(0));
}

start();
listen();
open();
