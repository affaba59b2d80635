// The map of the world, without tiles: countries shaded by probability, and pins.

import { ask, countryName, language, make, percent, reduced, t } from "./app.js";

const L = window.L;
const WHOLE = [
  [-56, -168],
  [76, 180],
];

const EDGE = 40; // degrees on either side of the antimeridian that are drawn at both ends of the map

// How far a place is moved for each time that it is drawn.
const turns = (lon) => [0, ...(lon > 180 - EDGE ? [-360] : []), ...(lon < EDGE - 180 ? [360] : [])];

// Longitudes moved by whole turns, so that they lie as near to each other as they do on the globe.
export function together(lons) {
  const sorted = [...lons].sort((a, b) => a - b);
  const gaps = sorted.map((lon, at) => (sorted[at + 1] ?? sorted[0] + 360) - lon);
  const after = gaps.indexOf(Math.max(...gaps));
  if (after === sorted.length - 1) return lons; // the widest gap lies across the antimeridian
  const middle = (sorted[after + 1] + sorted[after] + 360) / 2;
  const turned = lons.map((lon) => (lon <= sorted[after] ? lon + 360 : lon));
  return middle > 180 ? turned.map((lon) => lon - 360) : turned;
}

// From which probability on a country has which of the five shades; print-safe, as lightness alone distinguishes them.
export const SHADES = [0, 0.01, 0.05, 0.2, 0.5];

let world = null; // the promise of GeoJSON, fetched once; again where that failed

export function fetchWorld() {
  world ??= ask(new URL("world.json", import.meta.url))
    .then((response) => response.json())
    .catch((error) => {
      world = null;
      throw error;
    });
  return world;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function shadeOf(probability) {
  return SHADES.findLastIndex((least) => probability >= least);
}

export class WorldMap {
  // A map that is `free` takes the wheel and one finger for itself; others leave them to the page.
  constructor(element, label, { free = false } = {}) {
    this.element = element;
    const still = reduced();
    this.map = L.map(element, {
      attributionControl: false,
      zoomControl: false,
      zoomSnap: 0.1,
      zoomDelta: 0.5,
      minZoom: 0,
      maxZoom: 8,
      maxBounds: [
        [-85, -180 - EDGE],
        [85, 180 + EDGE],
      ],
      dragging: free || !matchMedia("(pointer: coarse)").matches,
      scrollWheelZoom: free,
      zoomAnimation: !still,
      fadeAnimation: !still,
      inertia: !still,
    });
    this.zoom = L.control.zoom().addTo(this.map);
    this.addReset();
    if (!free) this.leaveWheel();
    // the middle is marked for those who pin by keyboard alone
    for (const [event, keyed] of [["keydown", true], ["pointerdown", false]])
      element.addEventListener(event, () => element.classList.toggle("keyed", keyed), { capture: true });
    // Leaflet passes over a view that is asked for while it still moves to another: it is taken up after that.
    this.map.on("zoomanim", () => (this.moving = true));
    this.map.on("zoomend", () => {
      this.moving = false;
      if (this.late) this.fit();
    });
    this.layers = new Map(); // code to layers
    this.pins = L.layerGroup().addTo(this.map);
    this.probabilities = null;
    this.offered = null; // the countries that can be chosen; null: all
    this.marks = {}; // code to kind, as of pins
    element.setAttribute("role", "region");
    this.relabel(label);
    this.whole();
    new ResizeObserver(() => this.resized()).observe(element);
  }

  relabel(label) {
    this.label = label;
    this.element.setAttribute("aria-label", t(label));
    const buttons = this.element.querySelectorAll(".leaflet-control-zoom a");
    [...buttons].forEach((button, at) => {
      button.title = t(["map.zoomIn", "map.zoomOut", "map.reset"][at]);
      button.setAttribute("aria-label", button.title);
    });
  }

  // A third button below those that zoom: the whole map again.
  addReset() {
    const button = make("a", { href: "#", className: "reset", textContent: "⤢" });
    button.setAttribute("role", "button");
    L.DomEvent.on(button, "click", L.DomEvent.stop).on(button, "click", () => this.whole());
    this.zoom.getContainer().append(button);
  }

  // The wheel zooms only together with Ctrl or ⌘; else it scrolls the page. Not passive: Firefox would zoom the page, too.
  leaveWheel() {
    const wheel = this.map.scrollWheelZoom;
    const choose = (event) => (event.ctrlKey || event.metaKey ? wheel.enable() : wheel.disable());
    this.element.addEventListener("wheel", choose, { capture: true, passive: false });
  }

  // Draw the countries, unless they are there. What is shaded, pinned or shown meanwhile stays.
  async draw() {
    const found = await fetchWorld();
    if (this.places) return this;
    const countries = L.featureGroup();
    const add = (code, layer) => {
      layer.code = code;
      this.layers.set(code, [...(this.layers.get(code) ?? []), layer]);
      countries.addLayer(layer);
    };
    L.geoJSON(found, {
      style: { weight: 0.6 },
      onEachFeature: (feature, layer) => add(feature.properties.code, layer),
    });
    for (const turn of [-360, 360])
      L.geoJSON(nearEdge(found, turn), {
        style: { weight: 0.6 },
        coordsToLatLng: ([lon, lat]) => [lat, lon + turn],
        onEachFeature: (feature, layer) => add(feature.properties.code, layer),
      });
    for (const { properties } of found.features)
      if (properties.small)
        add(properties.code, L.circleMarker(properties.at, { radius: 2.5, weight: 0.6 }));
    // One tooltip for all: Leaflet's own listens for the focus of every country, which makes browsers stop the Tab
    // key at each of them.
    const tip = L.tooltip({ direction: "top", offset: [0, -8] });
    countries.on("mousemove", ({ latlng, layer }) => {
      tip.setLatLng(latlng).setContent(make("span", { textContent: this.tip(layer.code) })).addTo(this.map);
    });
    countries.on("mouseout", () => tip.remove());
    countries.on("click", ({ layer }) => this.onCountry?.(layer.code));
    countries.addTo(this.map);
    this.places = new Map(found.features.map(({ properties: p }) => [p.code, p.at]));
    this.recolour();
    return this;
  }

  tip(code) {
    const known = this.probabilities && code in this.probabilities;
    return countryName(code) + (known ? ` · ${percent(this.probabilities[code])}` : "");
  }

  // Shade the countries by probability; without probabilities, all alike.
  shade(probabilities) {
    this.probabilities = probabilities;
    this.recolour();
  }

  // Say which countries can be chosen, and mark some: {code: kind}, with the colours of pins.
  offer(codes, marks = {}) {
    this.offered = codes && new Set(codes);
    this.marks = marks;
    this.recolour();
  }

  recolour() {
    const line = colour("--map-line");
    const plain = colour("--map-land");
    const none = colour("--map-none");
    const ramp = SHADES.map((_, at) => colour(`--map-${at}`));
    for (const [code, layers] of this.layers) {
      const known = this.probabilities && code in this.probabilities;
      const marked = this.marks[code];
      const closed = this.offered && !this.offered.has(code);
      const fill = marked ? colour(`--${marked}`) : closed ? none : known ? ramp[shadeOf(this.probabilities[code])] : this.probabilities ? none : plain;
      // points of countries that the model does not know would only litter the map
      const away = !marked && (closed || (this.probabilities && !known));
      for (const layer of layers) {
        const shown = away && layer instanceof L.CircleMarker ? 0 : 1;
        if (layer instanceof L.CircleMarker) layer.setRadius(this.offered && !closed ? 6 : 2.5);
        layer.setStyle({ color: line, fillColor: fill, fillOpacity: shown, opacity: shown });
      }
    }
  }

  // Put up pins: [{lat, lon, kind, label}]; kind is a class of style.css.
  setPins(pins) {
    this.pins.clearLayers();
    for (const { lat, lon, kind, label } of pins.flatMap(turned)) {
      const target = kind === "truth";
      const icon = target
        ? L.divIcon({ className: `pin ${kind}`, html: TARGET, iconSize: [26, 26], iconAnchor: [13, 13] })
        : L.divIcon({ className: `pin ${kind}`, html: PIN, iconSize: [28, 36], iconAnchor: [14, 35] });
      L.marker([lat, lon], { icon, alt: label, keyboard: false, zIndexOffset: target ? 1000 : 0 })
        .bindTooltip(label, { offset: [0, target ? -10 : -30], direction: "top" })
        .addTo(this.pins);
    }
  }

  // Straight lines between places, dashed, the shorter way round.
  addLines(pairs) {
    for (const [from, to, kind] of pairs) {
      const lons = together([from[1], to[1]]);
      for (const turn of lons.some((lon, at) => lon !== [from, to][at][1]) ? [-360, 0, 360] : [0])
        L.polyline([[from[0], lons[0] + turn], [to[0], lons[1] + turn]], {
          className: `line ${kind}`, weight: 2, dashArray: "5 6", interactive: false,
        }).addTo(this.pins);
    }
  }

  whole() {
    this.shown = null;
    this.fit();
  }

  // Show all of some places, not nearer than a continent.
  show(places, nearest = 5) {
    const lons = together(places.map(([, lon]) => lon));
    this.shown = [places.map(([lat], at) => [lat, lons[at]]), nearest];
    this.fit();
  }

  // Bring into view what is to be shown.
  fit() {
    this.late = this.moving;
    if (this.late) return;
    this.map.invalidateSize({ pan: false });
    if (!this.shown) return this.map.fitBounds(WHOLE, { animate: false });
    const [places, nearest] = this.shown;
    const edge = Math.min(50, this.element.clientHeight / 5);
    this.map.fitBounds(L.latLngBounds(places), {
      paddingTopLeft: [edge + 20, Math.max(edge, 40)], // of the buttons, and of a pin
      paddingBottomRight: [edge, edge],
      maxZoom: nearest,
      animate: !reduced(),
    });
  }

  // Keep in view what was; a map that is hidden has no size to fit anything into.
  resized() {
    const { clientWidth, clientHeight } = this.element;
    const size = `${clientWidth} ${clientHeight}`;
    if (!clientWidth || size === this.size) return;
    this.size = size;
    this.fit();
  }
}

const TARGET =
  '<svg viewBox="0 0 26 26" width="26" height="26" aria-hidden="true" focusable="false">' +
  '<circle class="ring" cx="13" cy="13" r="9.5" stroke-width="4"/><circle class="bull" cx="13" cy="13" r="3.5"/></svg>';

const PIN =
  '<svg viewBox="0 0 28 36" width="28" height="36" aria-hidden="true" focusable="false">' +
  '<path d="M14 1C7 1 1.5 6.5 1.5 13.4 1.5 22.6 14 35 14 35s12.5-12.4 12.5-21.6C26.5 6.5 21 1 14 1z" stroke-width="1.5"/>' +
  '<circle cx="14" cy="13.5" r="4.8"/></svg>';

// A pin as often as it is drawn.
const turned = (pin) => turns(pin.lon).map((turn) => ({ ...pin, lon: pin.lon + turn }));

// The parts of countries that lie near the antimeridian on the side that is drawn again by this turn.
function nearEdge({ features }, turn) {
  const near = ([outline]) => outline.some(([lon]) => turns(lon).includes(turn));
  const cut = ({ geometry, properties }) => {
    const coordinates = (geometry?.coordinates ?? []).filter(near);
    return { type: "Feature", properties, geometry: { type: "MultiPolygon", coordinates } };
  };
  return features.filter(({ properties }) => properties.code !== "AQ").map(cut).filter(({ geometry }) => geometry.coordinates.length);
}

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
