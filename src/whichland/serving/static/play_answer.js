// The player's answer: a pin on the map, or one of the deck's countries.

import { $, countryName, language, make, t } from "./app.js";

export class Choice {
  constructor(map) {
    this.map = map;
    this.open = false;
    map.onCountry = (code) => this.open && this.countries?.includes(code) && this.takeCountry(code);
    map.map.on("click", ({ latlng }) => this.open && !this.countries && this.takePin(latlng.wrap()));
    $("map").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.target !== $("map") || !this.open || this.countries) return;
      event.preventDefault();
      this.takePin(map.map.getCenter().wrap());
    });
    $("country").addEventListener("change", () => this.takeNamed($("country").value));
  }

  // Ask for an answer: a pin, or, with countries, one of those.
  ask(countries) {
    this.open = true;
    this.countries = countries;
    this.given = null; // {lat, lon} or {country}
    this.said = "";
    $("pin-form").hidden = false;
    $("map").classList.toggle("pinning", !countries);
    $("map").classList.toggle("choosing", Boolean(countries));
    $("guess").disabled = true;
    $("country").value = "";
    this.map.setPins([]);
    this.map.offer(countries);
    this.map.whole();
    this.draw();
  }

  close() {
    this.open = false;
    $("pin-form").hidden = true;
    $("map").classList.remove("pinning", "choosing");
  }

  take(given, said) {
    this.given = given;
    this.said = said;
    $("guess").disabled = false;
    this.draw();
  }

  takePin({ lat, lng }, named = "") {
    const pin = { lat: Math.max(-90, Math.min(90, lat)), lon: ((((lng + 180) % 360) + 360) % 360) - 180 };
    this.map.setPins([{ ...pin, kind: "you", label: t("play.you") }]);
    if (!named) $("country").value = "";
    this.take(pin, named);
  }

  takeCountry(code) {
    $("country").value = code;
    this.map.offer(this.countries, { [code]: "you" });
    this.take({ country: code }, code);
  }

  takeNamed(code) {
    if (!code) return;
    const [lat, lng] = this.map.places.get(code);
    if (this.countries) this.takeCountry(code);
    else this.takePin({ lat, lng }, code);
    this.map.show([[lat, lng]], 4);
  }

  // The words, and the countries to choose from, in the reader's language.
  draw() {
    const { given, said, countries } = this;
    const hint = t(countries ? "play.hintCountry" : "play.hint");
    const key = countries ? "play.chosen" : "play.pinned";
    $("pinned").textContent = !given ? hint : said ? t(key, { country: countryName(said) }) : t("play.pinnedAt", place(given));
    const named = (countries ?? [...this.map.places.keys()]).map((code) => [countryName(code), code]);
    named.sort(([a], [b]) => a.localeCompare(b, language));
    $("country").replaceChildren(
      make("option", { value: "", textContent: "–" }),
      ...named.map(([name, code]) => make("option", { value: code, textContent: name, selected: code === said })),
    );
  }
}

function place({ lat, lon }) {
  const degrees = (value) => Math.abs(value).toLocaleString(language, { maximumFractionDigits: 1 });
  return { lat: `${degrees(lat)}° ${lat < 0 ? "S" : "N"}`, lon: `${degrees(lon)}° ${t(lon < 0 ? "play.west" : "play.east")}` };
}
