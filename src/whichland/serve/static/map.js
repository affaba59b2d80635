// The map of the world, without tiles: countries shaded by odds, and pins.

import { countryName, language, make, percent, reduced, t } from "./app.js";

const L = window.L;
const WHOLE = [
  [-56, -168],
  [76, 180],
];

// From which odds on a country has which of the five shades; print-safe, as lightness alone tells them apart.
export const SHADES = [0, 0.01, 0.05, 0.2, 0.5];

let world = null; // GeoJSON, fetched once

async function fetchWorld() {
  world ??= await (await fetch("/static/world.json")).json();
  return world;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function shadeOf(odds) {
  return SHADES.findLastIndex((least) => odds >= least);
}

export class WorldMap {
  constructor(element, label) {
    this.element = element;
    const still = reduced();
    this.map = L.map(element, {
      attributionControl: false,
      zoomControl: false,
      zoomSnap: 0.25,
      minZoom: 0.5,
      maxZoom: 8,
      maxBounds: [
        [-85, -220],
        [85, 220],
      ],
      zoomAnimation: !still,
      fadeAnimation: !still,
      inertia: !still,
    });
    this.zoom = L.control.zoom().addTo(this.map);
    this.layers = new Map(); // code to layers
    this.pins = L.layerGroup().addTo(this.map);
    this.odds = null;
    element.setAttribute("role", "region");
    this.relabel(label);
    this.whole();
    new ResizeObserver(() => this.resized()).observe(element);
  }

  relabel(label) {
    this.label = label;
    this.element.setAttribute("aria-label", t(label));
  }

  async draw() {
    const found = await fetchWorld();
    const add = (code, layer) => {
      this.layers.set(code, [...(this.layers.get(code) ?? []), layer]);
      layer.bindTooltip(() => this.tip(code), { sticky: true });
    };
    L.geoJSON(found, {
      style: { weight: 0.6 },
      onEachFeature: (feature, layer) => add(feature.properties.code, layer),
    }).addTo(this.map);
    for (const { properties } of found.features)
      if (properties.small)
        add(properties.code, L.circleMarker(properties.at, { radius: 3, weight: 0.6 }).addTo(this.map));
    this.places = new Map(found.features.map(({ properties: p }) => [p.code, p.at]));
    this.recolour();
    return this;
  }

  tip(code) {
    const known = this.odds && code in this.odds;
    return countryName(code) + (known ? ` · ${percent(this.odds[code])}` : "");
  }

  // Shade the countries by odds; without odds, all alike.
  shade(odds) {
    this.odds = odds;
    this.recolour();
  }

  recolour() {
    const line = colour("--map-line");
    const plain = colour("--map-land");
    const none = colour("--map-none");
    const ramp = SHADES.map((_, at) => colour(`--map-${at}`));
    for (const [code, layers] of this.layers) {
      const known = this.odds && code in this.odds;
      const fill = known ? ramp[shadeOf(this.odds[code])] : this.odds ? none : plain;
      for (const layer of layers) layer.setStyle({ color: line, fillColor: fill, fillOpacity: 1 });
    }
  }

  // Put up pins: [{lat, lon, kind, label}]; kind is a class of style.css.
  setPins(pins) {
    this.pins.clearLayers();
    for (const { lat, lon, kind, label } of pins) {
      const icon = L.divIcon({ className: `pin ${kind}`, html: PIN, iconSize: [28, 36], iconAnchor: [14, 35] });
      L.marker([lat, lon], { icon, alt: label, keyboard: false, interactive: true })
        .bindTooltip(label, { offset: [0, -30], direction: "top" })
        .addTo(this.pins);
    }
  }

  // Straight lines between places, dashed.
  addLines(pairs) {
    for (const [from, to, kind] of pairs)
      L.polyline([from, to], { className: `line ${kind}`, weight: 2, dashArray: "5 6", interactive: false }).addTo(
        this.pins,
      );
  }

  whole() {
    this.shown = null;
    this.map.fitBounds(WHOLE, { animate: false });
  }

  // Show all of some places, not nearer than a continent.
  show(places, nearest = 5) {
    this.shown = [places, nearest];
    this.map.fitBounds(L.latLngBounds(places), { padding: [50, 50], maxZoom: nearest, animate: !reduced() });
  }

  resized() {
    this.map.invalidateSize({ animate: false });
    if (this.shown) this.show(...this.shown);
    else if (!this.moved) this.whole();
  }
}

const PIN =
  '<svg viewBox="0 0 28 36" width="28" height="36" aria-hidden="true" focusable="false">' +
  '<path d="M14 1C7 1 1.5 6.5 1.5 13.4 1.5 22.6 14 35 14 35s12.500-12.400 12.500-21.600C26.500 6.500 21 1 14 1z" stroke-width="1.500"/>' +
  '<circle cx="14" cy="13.500" r="4.800"/></svg>';

// The legend of the shades, as a list.
export function legend(list) {
  const digits = new Intl.NumberFormat(language, { style: "percent" });
  list.replaceChildren(
    ...SHADES.map((least, at) => {
      const next = SHADES[at + 1] ?? 1;
      const text = `${digits.format(least).replace(/\s*%/, "")}–${digits.format(next)}`;
      return make("li", {}, make("span", { className: `swatch shade-${at}` }), text);
    }),
    make("li", {}, make("span", { className: "swatch shade-none" }), t("map.unknown")),
  );
}
