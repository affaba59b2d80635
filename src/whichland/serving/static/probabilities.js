// The probabilities as a map, with the pin, and as a table.

import { $, COUNTRIES, countryName, labelFlag, labelName, language, make, percent, regional, t } from "./app.js";
import { legend, WorldMap } from "./map.js";

let map = null;
let drawn = null; // the answer that is asked for last

const degrees = (value, positive, negative) =>
  `${Math.abs(value).toLocaleString(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 })}° ${t(value < 0 ? negative : positive)}`;

// Where the pin lies, in words, and why it may lie in another country than the headline's.
function pinWords({ pin, guesses, abstained }) {
  if (!pin) return t("map.nopin");
  const lat = degrees(pin.lat, "map.north", "map.south");
  const place = { lat, lon: degrees(pin.lon, "play.east", "play.west"), country: pin.country ? countryName(pin.country) : "" };
  const said = [t(pin.country ? "map.pinIn" : "map.pin", place)];
  const first = guesses[0].country;
  if (COUNTRIES && pin.country && pin.country !== first && !abstained)
    said.push(t("map.pinElsewhere", { country: countryName(first) }));
  return said.join(" ");
}

export async function drawProbabilities(answer, { labels, disputed }) {
  drawn = answer;
  drawTable(answer);
  drawDisputed(answer, disputed);
  map ??= new WorldMap($("map"), "map.label");
  await map.draw().catch(() => {}); // the pin does without the countries; the next answer asks for them again
  if (drawn !== answer) return;
  map.relabel("map.label");
  const none = Object.fromEntries(labels.map(({ code }) => [code, 0])); // where the answer is within others
  const shades = COUNTRIES ? { ...none, ...answer.probabilities } : answer.levels.country ?? null; // labels may lie in no country
  map.shade(shades);
  legend($("legend"));
  $("legend").parentElement.hidden = !shades;
  const label = pinWords(answer);
  $("map-pin").textContent = label;
  map.setPins(answer.pin ? [{ lat: answer.pin.lat, lon: answer.pin.lon, kind: "best", label }] : []);
}

// Places of the named country, or of the pin's, of which states see differently whose they are.
function drawDisputed({ guesses, pin }, disputed) {
  const named = [COUNTRIES ? guesses[0].country : "", pin?.country ?? ""];
  const touched = disputed.filter(({ code, otherwise }) => named.some((one) => one === code || otherwise.includes(one)));
  $("disputed").hidden = !touched.length;
  const list = new Intl.ListFormat(regional());
  const row = ({ name, code, otherwise }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, t(name)),
      make("td", {}, countryName(code)),
      make("td", {}, list.format(otherwise.map(countryName))),
    );
  $("disputed-places").replaceChildren(...touched.map(row));
}

export const fitMap = () => map?.resized();

function drawTable(answer) {
  const row = ([code, probability]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, labelFlag(code), " ", labelName(code)),
      make("td", { className: "number" }, percent(probability)),
    );
  $("table").replaceChildren(...Object.entries(answer.probabilities).map(row));
}
