// The end of a round: its table, what is kept of the player in this browser, and the result to send to friends.

import { $, countryName, flag, kept, make, number, say, t } from "./app.js";

const RECORD = "whichland.record"; // {rounds, won, you, model} over all rounds that were finished
const DAYS = "whichland.days"; // {deck, last, days, best}: days in a row on which the photos of the day were played
const STREAK = "whichland.streak"; // the longest streak of countries
const NEAR = 1000; // kilometres

const read = (key) => JSON.parse(kept.get(key) ?? "null");
export const total = (ends, who) => ends.reduce((sum, end) => sum + (end ? end[who].points : 0), 0);
const rightOnes = (ends) => ends.filter((end) => end?.you.right);
const fooledOnes = (ends) => rightOnes(ends).filter((end) => !end.model.right && !end.hinted);
export const streakOf = (ends) => ({ right: rightOnes(ends).length, fooled: fooledOnes(ends).length });

// Take a finished round into what is kept, once.
export function countRound({ mode, round, ends }) {
  if (mode === "streak") {
    const { right, fooled } = streakOf(ends);
    return kept.set(STREAK, JSON.stringify(Math.max(right + fooled, read(STREAK) ?? 0)));
  }
  const [you, model] = [total(ends, "you"), total(ends, "model")];
  const record = read(RECORD) ?? { rounds: 0, won: 0, you: 0, model: 0 };
  record.rounds++;
  record.won += you > model ? 1 : 0;
  record.you += you;
  record.model += model;
  kept.set(RECORD, JSON.stringify(record));
  if (mode !== "daily") return;
  const before = read(DAYS);
  const days = before?.deck === round.deck && before.last === round.number - 1 ? before.days + 1 : 1;
  const best = Math.max(days, before?.best ?? 0);
  kept.set(DAYS, JSON.stringify({ deck: round.deck, last: round.number, days, best }));
}

export function drawOver(played) {
  const { mode, ends } = played;
  $("result").textContent = headline(played);
  $("pasted").textContent = resultText(played);
  $("squares").textContent = t(mode === "streak" ? "play.squaresStreak" : "play.squares");
  const cell = (value) => make("td", { className: "number" }, value);
  const earned = (end, who) => (!end ? "–" : mode === "streak" ? t(end[who].right ? "play.right" : "play.wrong") : number(end[who].points));
  // what was earned, below the flag of the country that was named or that the pin lay in
  const answered = (end, who) => {
    const code = end?.[who].country;
    return make("td", { className: "number" }, ...(code ? [Object.assign(flag(code), { alt: countryName(code) }), " "] : []), earned(end, who));
  };
  $("results").replaceChildren(
    ...ends.map((end, at) => {
      const country = end ? [flag(end.truth.country), " ", countryName(end.truth.country)] : [t("play.left")];
      return make("tr", {}, cell(String(at + 1)), make("th", { scope: "row" }, ...country), answered(end, "you"), answered(end, "model"));
    }),
  );
  $("total").hidden = mode === "streak";
  const sums = ["you", "model"].map((who) => cell(number(total(ends, who))));
  $("total").replaceChildren(make("tr", {}, make("td"), make("th", { scope: "row" }, t("play.total")), ...sums));
  $("record").textContent = recordText(mode);
  $("forget").hidden = ![RECORD, DAYS, STREAK].some((key) => kept.get(key));
}

function headline({ mode, ends }) {
  if (mode === "streak") return t("play.overStreak", streakOf(ends));
  const [you, model] = [total(ends, "you"), total(ends, "model")];
  const key = you > model ? "play.overYou" : you < model ? "play.overModel" : "play.overEven";
  return t(key, { you: number(you), model: number(model) });
}

function recordText(mode) {
  const record = read(RECORD);
  const said = [];
  if (mode === "streak") said.push(t("play.bestStreak", { best: number(read(STREAK) ?? 0) }));
  else if (record) {
    const sums = { rounds: number(record.rounds), won: number(record.won), you: number(record.you), model: number(record.model) };
    said.push(t(record.rounds === 1 ? "play.recordOne" : "play.record", sums));
  }
  const days = mode === "daily" && read(DAYS);
  if (days) said.push(t(days.days === 1 ? "play.daysOne" : "play.days", { days: number(days.days), best: number(days.best) }));
  return said.join(" ");
}

// A photo in one square, which says how near the player came and not where that was.
function square(end) {
  if (!end) return "⬜";
  if (end.you.right) return "🟩";
  return end.you.km !== null && end.you.km < NEAR ? "🟨" : "🟥";
}

// The result in one line, without a word of what was to be seen.
export function resultText({ mode, round, ends }) {
  if (mode === "streak") return t("play.pasteStreak", streakOf(ends));
  return t(mode === "daily" ? "play.pasteDaily" : "play.paste", {
    number: round.number,
    squares: ends.map(square).join(""),
    you: number(total(ends, "you")),
    model: number(total(ends, "model")),
  });
}

// Send the result by whatever the phone offers for that; elsewhere copy it.
export async function share(played) {
  const text = resultText(played);
  const url = location.href;
  if (navigator.share && matchMedia("(pointer: coarse)").matches) {
    const sent = await navigator.share({ text, url }).then(() => true, (error) => error.name === "AbortError");
    if (sent) return;
  }
  try {
    await navigator.clipboard.writeText(`${text}\n${url}`);
    say(t("play.shared"));
  } catch {
    say(t("play.sharePlain", { text, link: url }));
  }
}

export function forget() {
  for (const key of [RECORD, DAYS, STREAK]) kept.set(key, null);
}
