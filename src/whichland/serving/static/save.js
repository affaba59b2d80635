// Answers as a file.

import { make } from "./app.js";

const COLUMNS = ["photo", "country", "probability", "abstained", "set", "lat", "lon"];

// A cell of a CSV; a table program would compute what begins like a formula.
function cell(value) {
  const text = String(value ?? "");
  const guarded = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

export function csv(photos) {
  const rows = photos
    .filter(({ answer }) => answer)
    .map(({ answer, file }) => {
      const { country, probability } = answer.guesses[0];
      const set = (answer.set?.countries ?? []).join(" ");
      return [file.name, country, probability, answer.abstained, set, answer.pin?.lat, answer.pin?.lon];
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
