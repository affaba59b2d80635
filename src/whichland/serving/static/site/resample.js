// Antialiased resampling, to the bit as Pillow does it: across, then down, with weights in fixed point for pixels of 8
// bits, in floating point for maps.

const BITS = 22; // of a weight, behind the point
const HALF = 1 << (BITS - 1);

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function bicubic(x) {
  const a = -0.5;
  const far = Math.abs(x);
  if (far < 1) return ((a + 2) * far - (a + 3)) * far * far + 1;
  return far < 2 ? (((far - 5) * far + 8) * far - 4) * a : 0;
}

// For each place that comes out: where its pixels begin, how many they are, and their weights.
function weightsOf(size, begin, end, out, filter) {
  const [from, to] = [Math.fround(begin), Math.fround(end)]; // as Pillow takes them
  const scale = Math.fround(to - from) / out;
  const wide = Math.max(scale, 1);
  const support = filter.support * wide;
  const most = Math.ceil(support) * 2 + 1;
  const [starts, counts, weights] = [new Int32Array(out), new Int32Array(out), new Float64Array(out * most)];
  for (let at = 0; at < out; at++) {
    const centre = from + (at + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(size, Math.trunc(centre + support + 0.5)) - start;
    let sum = 0;
    for (let n = 0; n < count; n++) sum += weights[at * most + n] = filter.weight((n + start - centre + 0.5) * (1 / wide));
    if (sum !== 0) for (let n = 0; n < count; n++) weights[at * most + n] /= sum;
    starts[at] = start;
    counts[at] = count;
  }
  return { starts, counts, weights, most };
}

const fixed = (weights) => Int32Array.from(weights, (of) => Math.trunc(of * 2 ** BITS + (of < 0 ? -0.5 : 0.5)));
const clip = (value) => (value < 0 ? 0 : value > 255 ? 255 : value);

// Resize the part `box` (left, top, right, bottom in pixels) of an image to [width, height].
export function resize({ data, width: wide, height: high }, [left, top, right, bottom], [width, height], name) {
  const filter = FILTERS[name];
  const further = filter.support * Math.max(1, (bottom - top) / height);
  const [first, last] = [Math.max(0, Math.floor(top - further)), Math.min(high, Math.ceil(bottom + further))];
  let pixels = data.subarray(3 * first * wide, 3 * last * wide);
  if (left || right !== width || width !== wide)
    pixels = acrossRows(pixels, wide, last - first, width, weightsOf(wide, left, right, width, filter));
  if (top - first || bottom - first !== height || height !== last - first)
    pixels = downColumns(pixels, width, height, weightsOf(last - first, top - first, bottom - first, height, filter));
  return { data: pixels, width, height };
}

function acrossRows(data, wide, rows, width, { starts, counts, weights, most }) {
  const out = new Uint8Array(3 * rows * width);
  const whole = fixed(weights);
  for (let y = 0, to = 0; y < rows; y++)
    for (let x = 0; x < width; x++, to += 3) {
      let [red, green, blue] = [HALF, HALF, HALF];
      let from = 3 * (y * wide + starts[x]);
      for (let n = x * most, end = n + counts[x]; n < end; n++, from += 3) {
        red += data[from] * whole[n];
        green += data[from + 1] * whole[n];
        blue += data[from + 2] * whole[n];
      }
      out[to] = clip(red >> BITS);
      out[to + 1] = clip(green >> BITS);
      out[to + 2] = clip(blue >> BITS);
    }
  return out;
}

function downColumns(data, width, height, { starts, counts, weights, most }) {
  const out = new Uint8Array(3 * height * width);
  const whole = fixed(weights);
  const step = 3 * width;
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < step; x++, to++) {
      let sum = HALF;
      let from = starts[y] * step + x;
      for (let n = y * most, end = n + counts[y]; n < end; n++, from += step) sum += data[from] * whole[n];
      out[to] = clip(sum >> BITS);
    }
  return out;
}

// Resize a map (Float32Array, one number a place) whole, between its neighbours.
export function resizeMap({ data, width: wide, height: high }, [width, height]) {
  const across = weightsOf(wide, 0, wide, width, FILTERS.bilinear);
  const down = weightsOf(high, 0, high, height, FILTERS.bilinear);
  const middle = new Float32Array(high * width);
  for (let y = 0; y < high; y++)
    for (let x = 0; x < width; x++) middle[y * width + x] = weighted(data, y * wide, 1, across, x);
  const out = new Float32Array(height * width);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) out[y * width + x] = weighted(middle, x, width, down, y);
  return { data: out, width, height };
}

// The weighted sum that place `at` of a line gets; the line begins at `first` and has a number every `step`.
function weighted(data, first, step, { starts, counts, weights, most }, at) {
  let sum = 0;
  for (let n = 0; n < counts[at]; n++) sum += weights[at * most + n] * data[first + (starts[at] + n) * step];
  return sum;
}

// Halve an image whose sides are even: the average of four pixels each.
export function halve({ data, width, height }) {
  const [columns, rows] = [width / 2, height / 2];
  const out = new Uint8Array(3 * columns * rows);
  for (let y = 0, to = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      for (let channel = 0; channel < 3; channel++, to++) {
        const from = 3 * (2 * y * width + 2 * x) + channel;
        const below = from + 3 * width;
        out[to] = (data[from] + data[from + 3] + data[below] + data[below + 3] + 2) >> 2;
      }
  return { data: out, width: columns, height: rows };
}
