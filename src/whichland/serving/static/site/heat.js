// Where in a crop the evidence for an answer lies, by covering parts of it (explanation/occlusion.py), and the picture
// of that (explanation/overlay.py).

import { resizeMap } from "./resample.js";

const GRID = 8; // places along each side
const BATCH = 4; // crops at once; other work goes between them
const STOPS = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"
  .split(" ")
  .map((stop) => [0, 2, 4].map((at) => parseInt(stop.slice(at, at + 2), 16)));

// `run` takes crops to logits, one list a crop; `target` is the number of a label, or of two: for one, against another.
export async function occlusion(run, crop, target) {
  const { data, width, height } = crop;
  const [before] = await run([crop]);
  const lines = (side) => Array.from({ length: GRID + 2 }, (_, at) => Math.round((side * at) / (GRID + 1)));
  const [rows, columns] = [lines(height), lines(width)];
  const grey = [0, 1, 2].map((channel) => {
    let sum = 0;
    for (let at = channel; at < data.length; at += 3) sum += data[at];
    return Math.round((3 * sum) / data.length);
  });
  const losses = new Float32Array(GRID * GRID);
  for (let start = 0; start < losses.length; start += BATCH) {
    const copies = Array.from({ length: Math.min(BATCH, losses.length - start) }, (_, at) => {
      const [y, x] = [Math.floor((start + at) / GRID), (start + at) % GRID];
      return covered(crop, columns[x], rows[y], columns[x + 2], rows[y + 2], grey);
    });
    const after = await run(copies);
    after.forEach((logits, at) => (losses[start + at] = Math.max(0, score(before, target) - score(logits, target))));
  }
  const cells = { data: new Float32Array((GRID + 1) ** 2), width: GRID + 1, height: GRID + 1 };
  const loss = (y, x) => losses[Math.min(Math.max(y, 0), GRID - 1) * GRID + Math.min(Math.max(x, 0), GRID - 1)];
  for (let y = 0; y <= GRID; y++)
    for (let x = 0; x <= GRID; x++)
      cells.data[y * (GRID + 1) + x] = (loss(y - 1, x - 1) + loss(y - 1, x) + loss(y, x - 1) + loss(y, x)) / 4;
  const map = resizeMap(cells, [width, height]);
  const peak = map.data.reduce((most, value) => Math.max(most, value), 0);
  if (peak > 0) map.data.forEach((value, at) => (map.data[at] = value / peak));
  return map;
}

function covered({ data, width, height }, left, top, right, bottom, grey) {
  const copy = { data: data.slice(), width, height };
  for (let y = top; y < bottom; y++)
    for (let x = left; x < right; x++) copy.data.set(grey, 3 * (y * width + x));
  return copy;
}

// The log odds of a label against all others, or of the first of a pair against the second.
function score(logits, target) {
  if (Array.isArray(target)) return logits[target[0]] - logits[target[1]];
  const others = Array.from(logits).filter((_, at) => at !== target);
  const peak = others.reduce((most, value) => Math.max(most, value));
  return logits[target] - peak - Math.log(others.reduce((sum, value) => sum + Math.exp(value - peak), 0));
}

// A view's map as it lies over the view's box; of a view of a sphere it is projected back.
function laid(map, { box: [left, top, right, bottom], heading, fov, rows }) {
  if (heading === null) return map;
  const { data, width, height } = map;
  const out = new Float32Array(data.length);
  const across = Math.tan((fov * Math.PI) / 360);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const column = left + ((x + 0.5) / width) * (right - left);
      const row = rows[0] + (top + ((y + 0.5) / height) * (bottom - top)) * (rows[1] - rows[0]);
      const turned = ((column - 0.5) * 2 * Math.PI - (heading * Math.PI) / 180 + 5 * Math.PI) % (2 * Math.PI);
      const longitude = turned - Math.PI;
      const latitude = (0.5 - row) * Math.PI;
      const along = Math.tan(longitude) / across;
      const down = -Math.tan(latitude) / Math.cos(longitude) / ((across * height) / width);
      if (Math.abs(along) >= 1 || Math.abs(down) >= 1 || Math.abs(longitude) >= Math.PI / 2) continue;
      out[y * width + x] = data[Math.trunc(((down + 1) / 2) * height) * width + Math.trunc(((along + 1) / 2) * width)];
    }
  return { data: out, width, height };
}

// A picture of a view's map to lay over the photo: the hotter, the less of the photo shows through. Base64 of a PNG.
export async function picture(map, view) {
  const { data, width, height } = laid(map, view);
  const image = new ImageData(width, height);
  data.forEach((value, at) => {
    const position = value * (STOPS.length - 1);
    const below = Math.min(Math.floor(position), STOPS.length - 2);
    const colour = STOPS[below].map((part, n) => part + (position - below) * (STOPS[below + 1][n] - part));
    image.data.set([...colour, 255 * value], 4 * at);
  });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  const url = new FileReaderSync().readAsDataURL(await canvas.convertToBlob());
  return url.slice(url.indexOf(",") + 1);
}
