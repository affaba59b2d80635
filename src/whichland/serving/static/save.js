// Answers as a file, and one as text for a message.

import { $, labelName, make, percent, t } from "./app.js";
import { spoken } from "./verdict.js";

const COLUMNS = ["photo", "country", "probability", "abstained", "set", "lat", "lon", "said"];

// A cell of a CSV; a table program would compute what begins like a formula.
function cell(value) {
  const text = String(value ?? "");
  const guarded = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

export function csv(photos) {
  const rows = photos
    .filter(({ answer }) => answer)
    .map(({ answer, file, said }) => {
      const { country, probability } = answer.guesses[0];
      const set = (answer.set?.countries ?? []).join(" ");
      return [file.name, country, probability, answer.abstained, set, answer.pin?.lat, answer.pin?.lon, said?.truth];
    });
  // with a mark of its encoding, without which some table programs misread names
  return `\ufeff${[COLUMNS, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

export function offer(name, blob) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

export const save = (photos) => offer("whichland.csv", new Blob([csv(photos)], { type: "text/csv" }));

// All answers as the service gave them, with what the reader said of them and what is known of the model; the training photos beside them stay out.
export function saveJson(photos, { name, version, model }) {
  const answered = photos.filter(({ answer }) => answer);
  const answers = answered.map(({ answer: { neighbours, ...answer }, file, said }) => ({ ...answer, name: file.name, said: said?.truth ?? null }));
  const text = JSON.stringify({ whichland: version, model: { name, ...model }, answers }, null, 2);
  offer("whichland.json", new Blob([text], { type: "application/json" }));
}

export const address = () => location.href.split(/[?#]/)[0];

export function asText({ answer, file }, { name, model }) {
  const guesses = answer.guesses.map(({ country, probability }) => `${labelName(country)} ${percent(probability)}`);
  const within = Number.isFinite(answer.outside) ? [`${t("among.label")}: ${$("among").selectedOptions[0].textContent}`] : [];
  const lines = [`${file.name}: ${spoken(answer, model)}`, guesses.join(" · "), ...within];
  return [...lines, `whichland, ${name}, ${address()}`].join("\n");
}

// Where a browser lets no page write to the clipboard, the text stands there to be copied by hand.
export async function copy(photo, info) {
  const text = asText(photo, info);
  try {
    await navigator.clipboard.writeText(text);
    $("copied").textContent = t("answer.copied");
  } catch {
    $("copied").textContent = text;
  }
}
