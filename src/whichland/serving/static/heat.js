// A heat map over a photo: where it lies, how dense it is, and whether it is shown.

import { $, kept, labelName, t } from "./app.js";

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
  for (const image of document.querySelectorAll(".heat")) image.style.opacity = $("opacity").value / 100;
}

// As wide as there is room, but no higher than the window lets one see whole: how high that is, the style sheet says.
export function fitStage() {
  const { naturalWidth, naturalHeight } = $("photo");
  $("stage").style.setProperty("--ratio", naturalWidth / naturalHeight);
}

export function hideHeat() {
  for (const more of document.querySelectorAll(".more-views")) more.remove();
  $("heat").hidden = true;
  $("frame").hidden = true;
  $("views").hidden = true;
}

// The box of every view. One of a sphere may reach across its seam: it is drawn at both ends, and the stage cuts it.
const placed = (views) =>
  views.flatMap((view) => {
    const [left, top, right, bottom] = view.box;
    const boxes = right > 1.0001 ? [view.box, [left - 1, top, right - 1, bottom]] : [view.box];
    return boxes.map((box) => ({ ...view, box: box.map((part) => 100 * part) }));
  });

// The element of that id for the first view, copies of it for the others.
function elementFor(id, number) {
  if (!number) return $(id);
  const copy = $(id).cloneNode();
  copy.removeAttribute("id");
  copy.classList.add("more-views");
  $(id).parentElement.append(copy);
  return copy;
}

function place({ style }, [left, top, right, bottom]) {
  Object.assign(style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
}

// Frame all views that the model saw of a photo, and say so, unless it saw all of it.
export function showViews(views) {
  const several = views.length > 1;
  const all = placed(views);
  const framed = several || all.some(({ box: [left, top, right, bottom] }) => right - left < 98 || bottom - top < 98);
  all.forEach(({ box }, number) => {
    const frame = elementFor("frame", number);
    place(frame, box);
    frame.hidden = !framed;
    frame.classList.toggle("several", several);
  });
  $("views").hidden = !framed;
  $("views").textContent = several ? t("heat.views", { count: views.length }) : t("heat.frame");
}

// Lay the heat maps of all views, as the service answers them, over the photo.
export function showHeat(heat) {
  const names = {
    country: heat.country ? labelName(heat.country) : "", // a hint does not name it
    against: heat.against ? labelName(heat.against) : "",
    method: t(`method.${heat.method}`),
  };
  hideHeat();
  showViews(heat.views);
  placed(heat.views).forEach(({ box, png }, number) => {
    const image = elementFor("heat", number);
    place(image, box);
    image.src = `data:image/png;base64,${png}`;
    image.alt = number ? "" : t(heat.against ? "heat.versus" : "heat.alt", names);
    image.hidden = false;
  });
  const said = [t((heat.evidence ? "heat.caption" : "heat.nothing") + (heat.against ? "Versus" : ""), names)];
  if (heat.evidence) said.push(t("heat.where"));
  if (heat.verified === false) said.push(t("heat.unverified"));
  $("heat-caption").textContent = said.join(" ");
  setOpacity();
}
