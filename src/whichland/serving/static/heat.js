// A heat map over a photo: where it lies, how dense it is, and whether it is shown.

import { $, countryName, kept, t } from "./app.js";

const ON = "whichland.heat";
const OPACITY = "whichland.opacity";

export const heatOn = () => $("heat-toggle").getAttribute("aria-checked") === "true";

// Bring the switch and the slider to life; `redraw` is called when the switch is turned.
export function startHeat(usual, redraw) {
  const turn = (on) => $("heat-toggle").setAttribute("aria-checked", String(on));
  turn((kept.get(ON) ?? (usual ? "on" : "off")) === "on");
  $("heat-toggle").addEventListener("click", () => {
    turn(!heatOn());
    kept.set(ON, heatOn() ? "on" : "off");
    redraw();
  });
  $("opacity").value = kept.get(OPACITY) ?? 75;
  $("opacity").addEventListener("input", () => {
    kept.set(OPACITY, $("opacity").value);
    setOpacity();
  });
}

export function turnHeatOn() {
  $("heat-toggle").setAttribute("aria-checked", "true");
}

function setOpacity() {
  $("heat").style.opacity = $("opacity").value / 100;
}

// As wide as there is room, but no higher than the window lets one see whole.
export function fitStage() {
  const { naturalWidth, naturalHeight } = $("photo");
  $("stage").style.maxWidth = `${(70 * naturalWidth) / naturalHeight}vh`;
}

export function hideHeat() {
  $("heat").hidden = true;
  $("frame").hidden = true;
}

// Lay a heat map, as the service answers it, over the photo.
export function showHeat(heat) {
  const names = {
    country: countryName(heat.country),
    against: heat.against ? countryName(heat.against) : "",
    method: t(`method.${heat.method}`),
  };
  const [left, top, right, bottom] = heat.box.map((part) => 100 * part);
  for (const element of [$("heat"), $("frame")])
    Object.assign(element.style, {
      left: `${left}%`,
      top: `${top}%`,
      width: `${right - left}%`,
      height: `${bottom - top}%`,
    });
  $("heat").src = `data:image/png;base64,${heat.png}`;
  $("heat").alt = t(heat.against ? "heat.versus" : "heat.alt", names);
  $("heat").hidden = false;
  const framed = right - left < 98 || bottom - top < 98;
  $("frame").hidden = !framed;
  const said = [t((heat.evidence ? "heat.caption" : "heat.nothing") + (heat.against ? "Versus" : ""), names)];
  if (framed) said.push(t("heat.frame"));
  if (heat.verified === false) said.push(t("heat.unverified"));
  $("heat-caption").textContent = said.join(" ");
  setOpacity();
}
