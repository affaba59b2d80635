// What the model sees of a photo, as model/views.py and images/preprocess.py cut it: [{box, heading, fov, rows, crop}],
// the box in fractions of the upright photo, the crop as pixels of the model's size.

import { sphereRows } from "./files.js";
import { pixelsOf } from "./pixels.js";
import { halve, resize } from "./resample.js";

const WIDE = 2; // times the shape of what the model sees
const MOST_VIEWS = 12;
const FOV = 90;
const OVERSAMPLED = 2;

const radians = (degrees) => (degrees / 180) * Math.PI;
const degrees = (angle) => (angle / Math.PI) * 180;
const modulo = (value, by) => ((value % by) + by) % by;

// To the nearest whole number, halves to the even one, as Python rounds.
function round(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

export function cutViews(photo, bytes, preprocess) {
  const rows = sphereRows(bytes, [photo.width, photo.height]);
  return rows ? viewsOfSphere(photo, preprocess, rows) : viewsOfPlane(photo, preprocess);
}

// The part of a photo that the model sees: left, top, right, bottom in pixels.
function cropBox({ size, crop_pct, crop_mode }, height, width) {
  const [rows, columns] = size;
  let [high, wide] = size.map((side) => Math.floor(side / crop_pct));
  if (crop_mode === "center" && high === wide) {
    const side = high;
    high = Math.max(side, Math.trunc((side * height) / width));
    wide = Math.max(side, Math.trunc((side * width) / height));
  } else if (crop_mode === "center") {
    const scale = Math.min(height / high, width / wide);
    [high, wide] = [round(height / scale), round(width / scale)];
  }
  const [top, left] = [round((high - rows) / 2), round((wide - columns) / 2)];
  const [down, across] = [height / high, width / wide];
  return [left * across, top * down, (left + columns) * across, (top + rows) * down];
}

function crop(image, preprocess, box = cropBox(preprocess, image.height, image.width)) {
  const [rows, columns] = preprocess.size;
  return resize(image, box, [columns, rows], preprocess.interpolation);
}

async function viewsOfPlane(photo, preprocess) {
  const { width, height } = photo;
  const pixels = await pixelsOf(photo, round(Math.max(...preprocess.size) / preprocess.crop_pct));
  const scale = 2 ** round(Math.log2(Math.max(width, height) / Math.max(pixels.width, pixels.height)));
  const shape = preprocess.size[1] / preprocess.size[0];
  const wide = preprocess.crop_mode !== "squash" && width > WIDE * shape * height;
  const pieces = wide ? sideBySide(width, height, shape) : [{ left: 0, top: 0, width, height }];
  const count = Math.min(pieces.length, MOST_VIEWS);
  return Array.from({ length: count }, (_, at) => {
    const piece = pieces[count > 1 ? round((at * (pieces.length - 1)) / (count - 1)) : 0];
    const [left, top, right, bottom] = cropBox(preprocess, piece.height, piece.width);
    const box = [piece.left + left, piece.top + top, piece.left + right, piece.top + bottom];
    return {
      box: [box[0] / width, box[1] / height, box[2] / width, box[3] / height],
      heading: null,
      fov: null,
      crop: crop(pixels, preprocess, box.map((side) => side / scale)),
    };
  });
}

// As many pieces of a shape as fit side by side into a photo, with even gaps.
function sideBySide(width, height, shape) {
  const count = Math.max(1, Math.trunc(width / (height * shape) + 1e-6));
  const edges = Array.from({ length: count + 1 }, (_, at) => round((width * at) / count));
  return edges.slice(1).map((edge, at) => {
    const wide = edge - edges[at];
    const across = Math.max(1, Math.min(wide, round(height * shape)));
    const down = Math.max(1, Math.min(height, round(wide / shape)));
    const [left, top] = [edges[at] + Math.floor((wide - across) / 2), Math.floor((height - down) / 2)];
    return { left, top, width: across, height: down };
  });
}

// The width at which a view's middle has as many pixels a degree as the panorama.
const nativeWidth = (width) => (width / Math.PI) * Math.tan(radians(FOV) / 2);

async function viewsOfSphere(photo, preprocess, rows) {
  const wanted = [preprocess.size[1] / preprocess.crop_pct, preprocess.size[0] / preprocess.crop_pct];
  const needed = (wanted[0] * Math.PI) / Math.tan(radians(FOV) / 2);
  let sphere = padded(await pixelsOf(photo, Math.ceil(needed * (rows[1] - rows[0]))), rows);
  const smaller = Math.min(1, nativeWidth(sphere.width) / wanted[0]);
  const size = wanted.map((side) => Math.max(1, round(side * smaller)));
  const fine = size.map((side) => OVERSAMPLED * side);
  const scale = fine[0] / nativeWidth(sphere.width);
  if (scale < 1) {
    const to = [sphere.width, sphere.height].map((side) => Math.max(1, round(side * scale)));
    sphere = resize(sphere, [0, 0, sphere.width, sphere.height], to, "lanczos");
  }
  const [left, top, right, bottom] = cropBox(preprocess, size[1], size[0]);
  const across = Math.tan(radians(FOV) / 2) / size[0];
  const [fov, high] = [right - left, bottom - top].map((side) => 2 * degrees(Math.atan(across * side)));
  return Array.from({ length: Math.floor(360 / FOV) }, (_, at) => {
    const heading = at * FOV;
    const start = modulo(0.5 + (heading - fov / 2) / 360, 1);
    const [from, to] = [-1, 1].map((side) => (0.5 + (side * high) / 360 - rows[0]) / (rows[1] - rows[0]));
    return {
      box: [start, Math.max(0, from), start + fov / 360, Math.min(1, to)],
      heading,
      fov,
      rows,
      crop: crop(halve(sphereView(sphere, heading, fine)), preprocess),
    };
  });
}

// A sphere with the rows that its camera left out, filled by their neighbours.
function padded(image, [from, to]) {
  if (from === 0 && to === 1) return image;
  const full = image.height / (to - from);
  const [above, below] = [round(from * full), round((1 - to) * full)];
  const step = 3 * image.width;
  const data = new Uint8Array(step * (above + image.height + below));
  const rows = [...Array(above).fill(0), ...Array(image.height).keys(), ...Array(below).fill(image.height - 1)];
  rows.forEach((row, at) => data.set(image.data.subarray(step * row, step * (row + 1)), step * at));
  return { data, width: image.width, height: rows.length };
}

// One view by the gnomonic projection, between the four nearest pixels (Snyder, Map Projections, 1987, section 22); in
// 32 bits where numpy computes so.
function sphereView({ data, width, height }, heading, [columns, rows]) {
  const out = new Uint8Array(3 * columns * rows);
  const focal = columns / 2 / Math.tan(radians(FOV) / 2);
  const turn = Math.fround((heading / 360) * width);
  for (let y = 0, to = 0; y < rows; y++) {
    const down = (y + 0.5 - rows / 2) / focal;
    for (let x = 0; x < columns; x++, to += 3) {
      const right = (x + 0.5 - columns / 2) / focal;
      const ahead = Math.fround((Math.atan2(right, 1) / (2 * Math.PI) + 0.5) * width - 0.5);
      const latitude = Math.atan2(-down, Math.hypot(right, 1));
      const row = Math.fround(Math.min(Math.max((0.5 - latitude / Math.PI) * height - 0.5, 0), height - 1));
      const column = modulo(Math.fround(ahead + turn), width);
      const [left, upper] = [Math.floor(column), Math.floor(row)];
      const [next, lower] = [(left + 1) % width, Math.min(upper + 1, height - 1)];
      const [part, rest, under] = [column - left, Math.fround(1 - (column - left)), row - upper];
      const near = left % width; // rounding may reach the width itself
      for (let channel = 0; channel < 3; channel++) {
        const at = (line, place) => data[3 * (line * width + place) + channel];
        const along = (line) => Math.fround(Math.fround(at(line, near) * rest) + Math.fround(at(line, next) * part));
        const [high, low] = [along(upper), along(lower)];
        out[to + channel] = high * (1 - under) + low * under + 0.5;
      }
    }
  }
  return { data: out, width: columns, height: rows };
}
