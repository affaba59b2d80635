// What a photo's file says besides its pixels: size, orientation, whether it is a sphere. As images/orientation.py and
// images/panorama.py read it. The browser is then given the pixels alone: without orientation and colour profile, which
// whichland reads itself or not at all, all browsers decode a file alike.

const XMP_BYTES = 1 << 18; // the start of a file, where its XMP lies
const SHAPE = 0.01; // how far from twice as wide as high a sphere may be
const ORIENTATION = 0x0112;
const WHOLE = { 1: "getInt8", 3: "getUint16", 4: "getUint32", 6: "getInt8", 8: "getInt16", 9: "getInt32" };
const STANDALONE = new Set([0x00, 0x01, 0xff, ...Array.from({ length: 10 }, (_, at) => 0xd0 + at)]);
const FRAMES = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf]);
const [APP0, APP1, APP14, APP15, COM, SCAN] = [0xe0, 0xe1, 0xee, 0xef, 0xfe, 0xda];
const PIXEL_CHUNKS = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND"]; // of a PNG

export class Unreadable extends Error {}

const latin = (bytes) => new TextDecoder("latin1").decode(bytes);
const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// {type, size: [width, height] as stored or null, orientation, pixels: parts of the file to decode}
export function readFile(bytes) {
  if (!bytes.length) throw new Unreadable("the file is empty");
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return readJpeg(bytes);
  if (latin(bytes.subarray(1, 4)) === "PNG") return readPng(bytes);
  if (latin(bytes.subarray(0, 4)) === "RIFF" && latin(bytes.subarray(8, 12)) === "WEBP") return readWebp(bytes);
  return { type: "", size: null, orientation: 1, pixels: [bytes] };
}

// [marker, start of its content, end] of each segment up to the first scan, as libjpeg finds them.
function* segments(bytes) {
  let at = 2;
  while ((at = bytes.indexOf(0xff, at)) >= 0 && at + 4 <= bytes.length) {
    const marker = bytes[at + 1];
    if (STANDALONE.has(marker)) {
      at += marker === 0xff ? 1 : 2;
      continue;
    }
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    if (length < 2) return;
    yield [marker, at + 4, Math.min(at + 2 + length, bytes.length)];
    if (marker === SCAN) return;
    at += 2 + length;
  }
}

function readJpeg(bytes) {
  const found = { type: "image/jpeg", size: null, orientation: null, pixels: [bytes.subarray(0, 2)] };
  let end = 0;
  for (const [marker, start, stop] of segments(bytes)) {
    end = stop;
    if (marker === SCAN) {
      found.pixels.push(bytes.subarray(start - 4));
      break;
    }
    const content = bytes.subarray(start, stop);
    if (FRAMES.has(marker)) {
      const frame = viewOf(content);
      found.size = [frame.getUint16(3), frame.getUint16(1)];
    }
    if (marker === APP1 && startsWithExif(content)) found.orientation ??= exifOrientation(content.subarray(6));
    const needed = marker === APP0 || marker === APP14 || (marker !== COM && (marker < APP0 || marker > APP15));
    if (needed) found.pixels.push(bytes.subarray(start - 4, stop));
  }
  found.orientation ??= 1;
  if (!found.size) throw new Unreadable("broken or truncated JPEG header");
  // browsers fill up with grey what is missing
  if (!latin(bytes.subarray(end)).includes("\xff\xd9"))
    throw new Unreadable("truncated JPEG: the end of the image is missing");
  return found;
}

// The orientation in the first directory of a TIFF block, 1 to 8; 1 where there is none or it is broken.
function exifOrientation(bytes) {
  const little = { II: true, MM: false }[latin(bytes.subarray(0, 2))];
  const block = viewOf(bytes);
  if (little === undefined || bytes.length < 8) return 1;
  const directory = block.getUint32(4, little);
  if (directory + 2 > bytes.length) return 1;
  const end = Math.min(directory + 2 + 12 * block.getUint16(directory, little), bytes.length - 11);
  for (let entry = directory + 2; entry < end; entry += 12) {
    if (block.getUint16(entry, little) !== ORIENTATION) continue;
    const read = WHOLE[block.getUint16(entry + 2, little)];
    const value = read ? block[read](entry + 8, little) : 1;
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

function readPng(bytes) {
  const file = viewOf(bytes);
  const found = { type: "image/png", size: null, orientation: 1, pixels: [bytes.subarray(0, 8)] };
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = file.getUint32(at);
    const name = latin(bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (name === "IHDR") found.size = [file.getUint32(at + 8), file.getUint32(at + 12)];
    if (name === "eXIf") found.orientation = exifOrientation(content);
    if (PIXEL_CHUNKS.includes(name)) found.pixels.push(bytes.subarray(at, at + 12 + length));
    at += 12 + length;
  }
  return found;
}

function readWebp(bytes) {
  const file = viewOf(bytes);
  const found = { type: "image/webp", size: null, orientation: 1, pixels: [] };
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = latin(bytes.subarray(at, at + 4));
    const length = file.getUint32(at + 4, true);
    const next = at + 8 + length + (length % 2);
    if (name === "EXIF") found.orientation = exifOrientation(withoutName(bytes.subarray(at + 8, at + 8 + length)));
    if (name === "VP8X") {
      const flags = bytes.slice(at, next);
      flags[8] &= ~0x2c; // neither ICC profile, EXIF nor XMP follows
      found.pixels.push(flags);
    } else if (!["ICCP", "EXIF", "XMP "].includes(name)) found.pixels.push(bytes.subarray(at, next));
    at = next;
  }
  const head = bytes.slice(0, 12);
  viewOf(head).setUint32(4, 4 + found.pixels.reduce((sum, part) => sum + part.length, 0), true);
  found.pixels.unshift(head);
  return found;
}

const startsWithExif = (bytes) => latin(bytes.subarray(0, 6)) === "Exif\0\0";
const withoutName = (exif) => (startsWithExif(exif) ? exif.subarray(6) : exif);

// Which part of a sphere's height a photo shows, as shares from the top; null where its file states no sphere.
export function sphereRows(bytes, [ownWidth, ownHeight]) {
  const xmp = latin(bytes.subarray(0, XMP_BYTES));
  if (!xmp.includes("GPano:")) return null;
  const stated = Object.fromEntries(
    [...xmp.matchAll(/GPano:(\w+)\s*(?:=\s*["']|>)\s*([\w.+-]+)/g)].map(([, name, value]) => [name, value]),
  );
  if (stated.ProjectionType?.toLowerCase() !== "equirectangular") return null;
  const pixels = (name) => (/^\d{1,6}$/.test(stated[`${name}Pixels`] ?? "") ? Number(stated[`${name}Pixels`]) : 0);
  let [width, height] = [pixels("FullPanoWidth"), pixels("FullPanoHeight")];
  let [shownWidth, shownHeight] = [pixels("CroppedAreaImageWidth"), pixels("CroppedAreaImageHeight")];
  const top = pixels("CroppedAreaTop");
  if (!(width && height && shownWidth && shownHeight)) {
    [width, height] = [ownWidth, ownHeight];
    [shownWidth, shownHeight] = [ownWidth, ownHeight];
  }
  const close = (a, b) => Math.abs(a - b) <= SHAPE * Math.max(a, b);
  if (!close(width, shownWidth) || !close(width, 2 * height) || top + shownHeight > 1.01 * height) return null;
  return [top / height, Math.min(1, (top + shownHeight) / height)];
}
