// A photo before it is sent: upright, as large as the model needs, and its pixels alone, without what a camera wrote.

const HEAD = 1 << 18; // bytes in which XMP may stand, as the server looks for it
const QUALITY = 0.92;
const SEGMENTS = new Set([0xe0, 0xe2, 0xee]); // of a JPEG that decoders need: JFIF, colour profile, Adobe's transform
const LOSSLESS = /^image\/(png|gif|bmp)$/;

const made = new WeakMap(); // file to the promise of what is sent of it

// The photo as a blob, made once; the file itself where this browser cannot decode it.
export function prepared(file, shortSide) {
  if (!made.has(file)) made.set(file, prepare(file, shortSide));
  return made.get(file);
}

async function prepare(file, shortSide) {
  const sphere = statedSphere(await file.slice(0, HEAD).arrayBuffer());
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return file;
  }
  const needed = sphere ? (shortSide * Math.PI) / 2 : shortSide; // the views of a sphere are cut out of all of it
  const scale = Math.min(1, needed / Math.min(bitmap.width, bitmap.height));
  const bytes = scale === 1 && file.type === "image/jpeg" && !sphere && withoutWords(await file.arrayBuffer());
  if (bytes) return new Blob([bytes], { type: "image/jpeg" });
  const blob = await drawn(bitmap, scale, scale === 1 && LOSSLESS.test(file.type) ? "image/png" : "image/jpeg");
  bitmap.close();
  return sphere ? withSphere(blob, sphere) : blob;
}

function drawn(bitmap, scale, type) {
  const size = { width: Math.round(bitmap.width * scale) || 1, height: Math.round(bitmap.height * scale) || 1 };
  const canvas = Object.assign(document.createElement("canvas"), size);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // behind what is transparent, as the server has it
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, type, QUALITY));
}

// A JPEG without the segments that hold words; null where it has EXIF, which may turn the picture, or is none.
function withoutWords(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return null;
  const kept = [buffer.slice(0, 2)];
  for (let at = 2; at + 4 < view.byteLength; ) {
    const marker = view.getUint16(at);
    if (marker === 0xffda) return new Blob([...kept, buffer.slice(at)]);
    const end = at + 2 + view.getUint16(at + 2);
    if (marker < 0xffc0 || end > view.byteLength) return null;
    const kind = marker & 0xff;
    if (kind === 0xe1 && view.getUint32(at + 4) === 0x45786966) return null; // "Exif"
    const words = kind === 0xfe || (kind >= 0xe0 && kind <= 0xef && !SEGMENTS.has(kind));
    if (!words) kept.push(buffer.slice(at, end));
    at = end;
  }
  return null;
}

// What Photo Sphere XMP says of how a picture covers the sphere; null where it is none.
function statedSphere(head) {
  const text = new TextDecoder("latin1").decode(head);
  const stated = new Map([...text.matchAll(/GPano:(\w+)\s*(?:=\s*["']|>)\s*([\w.+-]+)/g)].map(([, name, value]) => [name, value]));
  if (stated.get("ProjectionType")?.toLowerCase() !== "equirectangular") return null;
  const sides = ["FullPano", "CroppedAreaImage"].flatMap((what) => [`${what}WidthPixels`, `${what}HeightPixels`]);
  return ["ProjectionType", ...sides, "CroppedAreaTopPixels"].filter((name) => stated.has(name)).map((name) => [name, stated.get(name)]);
}

// The same JPEG with these facts, and no others, in a segment of its own.
async function withSphere(blob, facts) {
  const said = facts.map(([name, value]) => `GPano:${name}="${value}"`).join(" ");
  const text =
    'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf=' +
    `"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" ${said}/>` +
    "</rdf:RDF></x:xmpmeta>";
  const body = new TextEncoder().encode(text);
  const length = body.length + 2;
  const bytes = await blob.arrayBuffer();
  const start = new Uint8Array([0xff, 0xd8, 0xff, 0xe1, length >> 8, length & 0xff]);
  return new Blob([start, body, bytes.slice(2)], { type: "image/jpeg" });
}
