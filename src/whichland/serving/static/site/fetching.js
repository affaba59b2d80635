// Files of the site that are packed by gzip, kept for visits without a network.

// Fetch a packed file and give its bytes; `onBytes` gets the number of each few that come. A server may have unpacked
// it on the way.
export async function fetchPacked(url, cacheName, onBytes = () => {}) {
  const response = await fetch(url); // on a later visit the service worker answers
  if (!response.ok) throw new Error(`${new URL(url).pathname}: ${response.status} ${response.statusText}`);
  const parts = [];
  for await (const part of partsOf(response.body)) {
    parts.push(part);
    onBytes(part.length);
  }
  const [file, kept] = [new Blob(parts), await openCache(cacheName)];
  // where the disk is full, the page only works with a network
  if (kept && !(await kept.match(url))) await kept.put(url, new Response(file)).catch(() => {});
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const packed = first === 0x1f && second === 0x8b;
  const plain = packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file;
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

// Pages that are not served over HTTPS or from this computer have no cache.
const openCache = (name) => (globalThis.caches ? caches.open(name).catch(() => null) : Promise.resolve(null));

async function* partsOf(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
