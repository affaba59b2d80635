// Among which labels the answer is, and the region or continent that is certain where no country is.

import { $, COUNTRIES, countryName, make, onChange, percent, t } from "./app.js";

// What a group of labels is called in the reader's language.
function groupName(name) {
  if (name.startsWith("drives ")) return t(`among.${name}`);
  return name === "EU" ? countryName(name) : t(name);
}

export const among = () => $("among").value;

export function startAmong(groups, changed) {
  const names = Object.keys(groups);
  $("among").parentElement.hidden = !names.length;
  const list = () => {
    const chosen = among();
    const options = [["", t("among.all")], ...names.map((name) => [name, groupName(name)])];
    $("among").replaceChildren(...options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
  };
  onChange(list);
  list();
  $("among").addEventListener("change", changed);
}

export function drawAmong({ abstained, certain, outside }, kind) {
  const above = abstained && certain && certain.level !== kind;
  $("certain").hidden = !above;
  if (above) {
    const name = certain.level === "country" && !COUNTRIES ? countryName(certain.code) : groupName(certain.name);
    $("certain").textContent = t("answer.certain", { name, probability: percent(certain.probability) });
  }
  const restricted = Number.isFinite(outside);
  $("outside").hidden = !restricted;
  if (restricted) $("outside").textContent = t("answer.outside", { probability: percent(outside) });
}
