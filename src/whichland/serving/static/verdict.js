// What the model says of a photo, in one headline, and in numbers how far that can be relied on.

import { $, labelFlag, labelName, make, number, percent, regional, t } from "./app.js";
import { drawAmong } from "./among.js";
import { guessRow } from "./guess.js";

const NAMED = 3; // labels in a headline that names none alone
const MOST = 0.9; // of the probability that they need to hold together
const CHIPS = 12;

const list = (codes) => new Intl.ListFormat(regional(), { type: "disjunction" }).format(codes.map(labelName));

// The labels of a headline that names none alone: the likeliest, until they hold most of the probability.
function likeliest(guesses) {
  let sum = 0;
  const enough = guesses.findIndex(({ probability }) => (sum += probability) >= MOST);
  return guesses.slice(0, Math.min(NAMED, enough < 0 ? NAMED : enough + 1)).map(({ country }) => country);
}

// The headline: the label, or that there is none to be named.
export function headline(answer) {
  if (!answer.abstained) return labelName(answer.guesses[0].country);
  const codes = likeliest(answer.guesses);
  return t(codes.length > 1 ? "verdict.cannot" : "verdict.perhaps", { names: list(codes) });
}

const photosOf = (record, count) => t(`record.${record.split === "test" ? "test" : "val"}`, { count: number(count) });

// How often answers as sure as this one were right; "" where no record says so.
function asSure(probability, record) {
  const alike = record?.sure.find(({ least, most }) => probability >= least && (probability < most || most === 1));
  if (!alike) return "";
  const bounds = { least: percent(alike.least), most: percent(alike.most) };
  return t("reason.alike", { ...bounds, right: number(alike.right), of: photosOf(record, alike.of) });
}

const isRestricted = ({ outside }) => Number.isFinite(outside);

// Why the model names nothing, in numbers.
function reason(answer, { abstention, record }) {
  const { probability } = answer.guesses[0];
  const values = abstention && {
    accuracy: percent(abstention.accuracy),
    photos: number(abstention.photos),
    threshold: percent(abstention.threshold ?? 1),
    right: percent(abstention.right),
    probability: percent(probability),
  };
  const why = values ? t(abstention.threshold === null ? "reason.never" : "reason.below", values) : "";
  return [why, isRestricted(answer) ? "" : asSure(probability, record)].filter(Boolean).join(" ");
}

// What came of the answers that named this label.
function recordOf(code, record) {
  if (!record) return t("record.none");
  const named = record.named[code];
  const country = labelName(code);
  return named
    ? t("record.named", { country, right: number(named.right), of: photosOf(record, named.of) })
    : t("record.unnamed", { country, of: photosOf(record, record.photos) });
}

// All that is to be read aloud of an answer.
export function spoken(answer, facts) {
  const { country, probability } = answer.guesses[0];
  const said = answer.abstained
    ? [headline(answer), reason(answer, facts)]
    : [t("done.one", { country: labelName(country), probability: percent(probability) })];
  return [...said, answer.unlike ? t("answer.unlike") : "", facts.drawn_only ? t("caution.drawn") : ""].filter(Boolean).join(" ");
}

export function drawVerdict(answer, { model: facts, kind }) {
  const best = answer.guesses[0];
  $("verdict-flag").replaceChildren(...(answer.abstained ? [] : [labelFlag(best.country, "flag big")]));
  $("verdict").textContent = headline(answer);
  $("sure").hidden = answer.abstained;
  $("verdict-probability").textContent = percent(best.probability);
  $("verdict-words").textContent = t(answer.words);
  $("reason").hidden = !answer.abstained;
  $("reason").textContent = answer.abstained ? reason(answer, facts) : "";
  $("unlike").hidden = !answer.unlike;
  $("caution").hidden = !facts.drawn_only;
  drawAmong(answer, kind);
  $("record").hidden = isRestricted(answer); // it counts answers that were not
  $("record").textContent = recordOf(best.country, facts.record);
  $("guesses").replaceChildren(...answer.guesses.map(guessRow));
  $("set").hidden = !answer.set;
  if (answer.set) drawSet(answer.set);
}

function drawSet({ percent: share, countries }) {
  const key = countries.length === 1 ? "answer.setOne" : "answer.set";
  $("set-title").textContent = t(key, { percent: percent(share / 100), count: countries.length });
  const chips = countries.slice(0, CHIPS).map(chip);
  if (countries.length > CHIPS)
    chips.push(make("li", { className: "more" }, t("answer.others", { count: countries.length - CHIPS })));
  $("set-countries").replaceChildren(...chips);
}

export const chip = (code) => make("li", {}, labelFlag(code), labelName(code));
