// What a model knows: which labels, from which photos, since when, and how often it was right.

import { labelName, language, make, number, percent, regional, t } from "./app.js";
import { chip } from "./verdict.js";

const day = (date) => new Intl.DateTimeFormat(regional(), { dateStyle: "long", timeZone: "UTC" }).format(new Date(date));

function trained({ photos, sources, trained: date, architecture }) {
  const names = Object.entries(sources).map(([name, count]) => t("knows.source", { name: sourceName(name), count: number(count) }));
  const said = [];
  if (photos) said.push(t(names.length ? "knows.photosOf" : "knows.photos", { photos: number(photos), names: names.join(", ") }));
  if (date) said.push(t("knows.date", { date: day(date) }));
  said.push(t("knows.architecture", { architecture }));
  return said.join(" ");
}

const sourceName = (name) => (name === "synthetic" ? t("knows.drawn") : name);

function right(record) {
  if (!record) return t("record.none");
  const values = { share: percent(record.top1), of: t(`record.${record.split === "test" ? "test" : "val"}`, { count: number(record.photos) }) };
  if (record.low === null) return t("knows.right", values);
  return t("knows.rightWithin", { ...values, low: percent(record.low), high: percent(record.high) });
}

// Fill every place that says so: the labels by name, and the facts.
export function drawKnows({ labels, model }) {
  const codes = labels.map(({ code }) => code).sort((a, b) => labelName(a).localeCompare(labelName(b), language));
  for (const place of document.querySelectorAll(".knows")) {
    place.querySelector("summary").textContent = t("knows.must", { count: number(codes.length) });
    place.querySelector(".chips").replaceChildren(...codes.map(chip));
    place.querySelector(".facts").replaceChildren(make("p", {}, trained(model)), make("p", {}, right(model.record)));
  }
}
