// Training photos that the model finds like the one in hand: thumbnail, country, whom to name, under which licence.

import { $, labelFlag, labelName, make, t } from "./app.js";

export const NEIGHBOURS = 6; // to ask for

export function drawNeighbours(neighbours) {
  $("near").hidden = !neighbours?.length;
  $("neighbours").replaceChildren(...(neighbours ?? []).map(tile));
}

function tile({ country, credit, license, thumbnail }, at) {
  const image = make("img", { src: `data:image/jpeg;base64,${thumbnail}`, alt: t("near.alt", { number: at + 1 }) });
  const place = make("p", { className: "place" }, labelFlag(country), labelName(country));
  return make("li", {}, image, place, make("p", { className: "credit" }, ...credited(credit ?? "", license)));
}

// The credit line, with the licence as a link to its text; most lines end with it, as "contributor 7, CC BY 4.0" does.
export function credited(credit, license) {
  if (!license) return [credit];
  const written = license.replace("-", " ").replace(/-(?=\d)/, " "); // CC-BY-SA-4.0 as CC BY-SA 4.0
  const end = [license, written].find((text) => credit.endsWith(text));
  const front = end ? credit.slice(0, -end.length) : credit && `${credit}, `;
  const link = textOf(license);
  const text = end ?? license;
  return [front, link ? make("a", { href: link, rel: "license noreferrer", target: "_blank" }, text) : text];
}

function textOf(license) {
  const [, kind, version] = /^CC-(BY(?:-[A-Z]+)*)-(\d\.\d)$/.exec(license) ?? [];
  if (kind) return `https://creativecommons.org/licenses/${kind.toLowerCase()}/${version}/`;
  return license === "CC0-1.0" ? "https://creativecommons.org/publicdomain/zero/1.0/" : null;
}
