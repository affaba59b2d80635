// From a photo's file to upright RGB pixels, as images/decode.py gives them: {data: Uint8Array H×W×3, width, height}.

import { readFile, Unreadable } from "./files.js";

const FINER = 4; // times the pixels that are needed are left for the filter of the resampling
const BAND = 1 << 20; // pixels that are read from the browser at once

// {file, bitmap, width, height}: upright size; `bitmap` is null where nothing has been decoded yet.
export async function openPhoto(bytes, limits) {
  if (bytes.length > limits.bytes) throw new Unreadable(`${bytes.length} bytes are over the limit of ${limits.bytes}`);
  const file = readFile(bytes);
  if (file.size) checkPixels(...file.size, limits);
  const bitmap = file.size ? null : await decoded(file);
  const size = file.size ?? [bitmap.width, bitmap.height];
  checkPixels(...size, limits);
  const [width, height] = file.orientation >= 5 ? size.toReversed() : size;
  return { file, bitmap, width, height };
}

// The parts of a file as one: Firefox decodes no JPEG from a blob of several.
const joined = (parts) => new Blob(parts).arrayBuffer();

async function decoded({ type, pixels }) {
  try {
    return await createImageBitmap(new Blob([await joined(pixels)], { type }), { colorSpaceConversion: "none" });
  } catch {
    const known = type.slice("image/".length).toUpperCase();
    throw new Unreadable(known ? `broken ${known}` : "not an image that this browser can open");
  }
}

function checkPixels(width, height, limits) {
  if (width * height > limits.pixels)
    throw new Unreadable(`${width}×${height} pixels are over the limit of ${Math.round(limits.pixels / 1e6)} million`);
}

// The pixels of an open photo. A JPEG is decoded at 1/2, 1/4 or 1/8 as long as its shorter side keeps FINER times
// `shortSide`. Browsers that do not let libjpeg do that give all pixels; scaled decoding makes the averages of
// neighbours (jidctred.c), and so does this.
export async function pixelsOf({ file, bitmap, width, height }, shortSide) {
  const shorter = Math.min(width, height);
  const scale = file.type === "image/jpeg" && [8, 4, 2].find((by) => Math.ceil(shorter / by) >= FINER * shortSide);
  const small = scale && (await decodedSmaller(file, scale));
  const pixels = small || bitmap || (await decoded(file));
  const image = readScaled(pixels, small ? 1 : scale || 1);
  pixels.close();
  return upright(image, file.orientation);
}

// A JPEG as libjpeg decodes it at 1/scale, which Chromium can be asked for; null in other browsers.
async function decodedSmaller({ size, pixels }, scale) {
  if (!(await (asksLibjpeg ??= tryLibjpeg()))) return null;
  return decodedAt(await joined(pixels), size.map((side) => Math.ceil(side / scale)));
}

async function decodedAt(data, [desiredWidth, desiredHeight]) {
  const decoder = new ImageDecoder({
    type: "image/jpeg", data, desiredWidth, desiredHeight, colorSpaceConversion: "none",
  });
  try {
    const { image } = await decoder.decode();
    const asked = image.displayWidth === desiredWidth && image.displayHeight === desiredHeight;
    const bitmap = asked ? await createImageBitmap(image) : null;
    image.close();
    return bitmap;
  } catch {
    return null; // what is broken is said when all of it is decoded
  } finally {
    decoder.close();
  }
}

let asksLibjpeg = null; // a promise of whether it is libjpeg that decodes smaller here

// Firefox shrinks what it has decoded, by a filter that reaches beyond the 8 × 8 pixels of a block. libjpeg does not: of
// four even blocks it makes four pixels of their colours.
async function tryLibjpeg() {
  if (!globalThis.ImageDecoder) return false;
  const canvas = new OffscreenCanvas(16, 16);
  const context = canvas.getContext("2d");
  const greys = [60, 190, 150, 100];
  greys.forEach((grey, at) => {
    context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
    context.fillRect(8 * (at % 2), 8 * (at >> 1), 8, 8);
  });
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 1 });
  const small = await decodedAt(await blob.arrayBuffer(), [2, 2]);
  if (!small) return false;
  const { data } = readScaled(small, 1);
  return greys.every((grey, at) => Math.abs(data[3 * at] - grey) <= 1);
}

function readScaled(bitmap, scale) {
  const { width, height } = bitmap;
  const rows = scale * Math.max(1, Math.floor(BAND / (width * scale)));
  const canvas = new OffscreenCanvas(width, Math.min(rows, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = { width: Math.ceil(width / scale), height: Math.ceil(height / scale) };
  image.data = new Uint8Array(3 * image.width * image.height);
  for (let top = 0; top < height; top += rows) {
    const high = Math.min(rows, height - top);
    context.fillStyle = "white"; // what is transparent lies on white
    context.fillRect(0, 0, width, high);
    context.drawImage(bitmap, 0, -top);
    average(context.getImageData(0, 0, width, high), scale, image, Math.floor(top / scale));
  }
  return image;
}

// Write the averages of scale × scale pixels into rows of an image, from `first` on; pixels at an edge count again.
// Halves are rounded up and down in turns: always up, smooth pictures would come out an eighth of a step too bright.
function average({ data, width, height }, scale, image, first) {
  let to = 3 * first * image.width;
  for (let y = 0; y < height; y += scale)
    for (let x = 0; x < width; x += scale, to += 3) {
      if (scale === 1) {
        const from = 4 * (y * width + x);
        image.data[to] = data[from];
        image.data[to + 1] = data[from + 1];
        image.data[to + 2] = data[from + 2];
        continue;
      }
      const half = (scale * scale) / 2 - (((x + y) / scale) & 1);
      let [red, green, blue] = [half, half, half];
      for (let down = 0; down < scale; down++)
        for (let across = 0; across < scale; across++) {
          const from = 4 * (Math.min(y + down, height - 1) * width + Math.min(x + across, width - 1));
          red += data[from];
          green += data[from + 1];
          blue += data[from + 2];
        }
      image.data[to] = red / (scale * scale);
      image.data[to + 1] = green / (scale * scale);
      image.data[to + 2] = blue / (scale * scale);
    }
}

// Undo the EXIF orientation (TIFF 6.0, tag 274).
function upright(image, orientation) {
  if (orientation === 1) return image;
  const { data, width, height } = image;
  const turned = orientation >= 5;
  const [columns, rows] = turned ? [height, width] : [width, height];
  const flipX = [2, 3, 7, 6].includes(orientation); // of what comes out
  const flipY = [3, 4, 7, 8].includes(orientation);
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < rows; y++)
    for (let x = 0; x < columns; x++, to += 3) {
      const [across, down] = [flipX ? columns - 1 - x : x, flipY ? rows - 1 - y : y];
      const from = 3 * (turned ? across * width + down : down * width + across);
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  return { data: out, width: columns, height: rows };
}
