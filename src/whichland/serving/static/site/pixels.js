// From a photo's file to upright RGB pixels, as images/decode.py gives them: {data: Uint8Array H×W×3, width, height}.

import { readFile, Unreadable } from "./files.js";

const FINER = 4; // times the pixels that are needed are left for the filter of the resampling
const BAND = 1 << 20; // pixels that are read from the browser at once

// {file, bitmap, width, height}: upright size; the pixels are not read yet.
export async function openPhoto(bytes, limits) {
  if (bytes.length > limits.bytes) throw new Unreadable(`${bytes.length} bytes are over the limit of ${limits.bytes}`);
  const file = readFile(bytes);
  if (file.size) checkPixels(...file.size, limits);
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob(file.pixels, { type: file.type }), { colorSpaceConversion: "none" });
  } catch {
    const known = file.type.slice("image/".length).toUpperCase();
    throw new Unreadable(known ? `broken ${known}` : "not an image that this browser can open");
  }
  checkPixels(bitmap.width, bitmap.height, limits);
  const [width, height] = file.orientation >= 5 ? [bitmap.height, bitmap.width] : [bitmap.width, bitmap.height];
  return { file, bitmap, width, height };
}

function checkPixels(width, height, limits) {
  if (width * height > limits.pixels)
    throw new Unreadable(`${width}×${height} pixels are over the limit of ${Math.round(limits.pixels / 1e6)} million`);
}

// The pixels of an open photo. A JPEG is read at 1/2, 1/4 or 1/8 as long as its shorter side keeps FINER times
// `shortSide`. libjpeg's scaled decoding gives the averages of neighbouring pixels (jidctred.c), and so does this.
export function pixelsOf({ file, bitmap }, shortSide) {
  const shorter = Math.min(bitmap.width, bitmap.height);
  const scale = file.type === "image/jpeg" && [8, 4, 2].find((by) => Math.ceil(shorter / by) >= FINER * shortSide);
  return upright(readScaled(bitmap, scale || 1), file.orientation);
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
