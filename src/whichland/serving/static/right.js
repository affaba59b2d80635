// "Is it right?": what the reader says of an answer, kept in this browser, and with consent the photo on the server.

import * as answers from "./answers.js";
import { $, COUNTRIES, kept, kindly, labelName, language, make, number, t } from "./app.js";
import { fetchWorld } from "./map.js";

const SAID = "whichland.said"; // [{id, guess, probability, truth}], the newest last
const MOST = 1000;

let photo = null; // in hand; beside its answer {said: {id, truth}, consent, receipt, shared}
let info = null;
let offered = null; // soon the labels that can be named: all countries, as the model may not know the right one

const read = () => JSON.parse(kept.get(SAID) ?? "[]");
const write = (all) => kept.set(SAID, all.length ? JSON.stringify(all.slice(-MOST)) : null);

// `changed` is called with the photo of which something was said.
export function listenToRight(changed) {
  $("right-yes").addEventListener("click", () => say(photo.answer.guesses[0].country));
  $("right-no").addEventListener("click", () => {
    $("right-form").hidden = false;
    $("right-where").focus();
  });
  $("right-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const [of, wanted] = [photo, $("right-where").value.trim().toLocaleLowerCase(language)];
    const found = (await offered).find((code) => labelName(code).toLocaleLowerCase(language) === wanted);
    if (of !== photo) return; // another photo came while the names did
    $("right-unknown").hidden = Boolean(found);
    if (found) say(found);
  });
  $("right-undo").addEventListener("click", () => say(null));
  $("right-forget").addEventListener("click", () => {
    write([]);
    drawTally();
  });
  $("consent").addEventListener("change", () => {
    photo.consent = $("consent").checked;
    share(photo, changed);
  });

  function say(truth) {
    const { country: guess, probability } = photo.answer.guesses[0];
    const others = read().filter(({ id }) => id !== photo.said?.id);
    photo.said = truth && { id: photo.said?.id ?? `${Date.now()} ${Math.random()}`, truth };
    write(truth ? [...others, { ...photo.said, guess, probability }] : others);
    draw();
    const asked = photo.answer.abstained ? "right-where" : "right-yes";
    $(truth ? "right-undo" : asked).focus();
    share(photo, changed);
  }
}

// Bring the server to what is ticked, once what is under way for this photo is through.
function share(of, changed) {
  changed(of);
  if (!info.collect) return;
  of.sharing = (of.sharing ?? Promise.resolve()).then(() => bring(of)).then((said) => {
    if (of === photo) $("right-sent").textContent = said;
    changed(of);
  });
}

async function bring(of) {
  const wanted = (of.consent && of.said?.truth) || null;
  if (wanted === (of.shared ?? null)) return $("right-sent").textContent;
  try {
    if (of.receipt) await answers.takeBack(of.receipt);
    Object.assign(of, { receipt: null, shared: null });
    if (!wanted) return t("right.takenBack");
    of.receipt = await answers.give(of.file, wanted);
    of.shared = wanted;
    return t("right.sent");
  } catch (error) {
    return t("right.unsent", { error: kindly(error) });
  }
}

// Ask about a photo that has an answer.
export async function drawRight(of, about) {
  if (of !== photo) {
    $("right-where").value = "";
    $("right-unknown").hidden = true;
  }
  [photo, info] = [of, about];
  $("right-sent").textContent = of.shared ? t("right.sent") : "";
  draw();
  offered ??= canBeNamed();
  const names = (await offered).map(labelName).sort((a, b) => a.localeCompare(b, language));
  $("right-names").replaceChildren(...names.map((value) => make("option", { value })));
}

async function canBeNamed() {
  try {
    if (COUNTRIES) return (await fetchWorld()).features.map(({ properties }) => properties.code);
  } catch {
    offered = null; // the next answer asks again
  }
  return info.labels.map(({ code }) => code);
}

function draw() {
  const { answer, said, consent } = photo;
  const guess = answer.guesses[0].country;
  $("right-title").textContent = t(answer.abstained ? "right.where" : "right.title");
  $("right-buttons").hidden = answer.abstained || Boolean(said);
  $("right-form").hidden = Boolean(said) || !answer.abstained;
  $("right-done").hidden = !said;
  const key = said?.truth === guess && !answer.abstained ? "right.saidRight" : "right.saidOther";
  $("right-said").textContent = said ? t(key, { country: labelName(said.truth) }) : "";
  // of a sphere only its views would be understood, so that none are kept
  $("right-consent").hidden = !info.collect || answer.views.some(({ heading }) => Number.isFinite(heading));
  $("consent").checked = Boolean(consent);
  drawTally();
}

function drawTally() {
  const all = read();
  $("right-tally").hidden = !all.length;
  const right = all.filter(({ guess, truth }) => guess === truth).length;
  $("right-count").textContent = t("right.tally", { right: number(right), of: number(all.length) });
}
