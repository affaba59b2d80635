// The photos of this tab with their answers, kept in this browser: a page that is loaded again still has them.

import { kept } from "./app.js";

const TAB = "whichland.tab";
const CURRENT = "whichland.current"; // the id of the photo in hand
const DAY = 86_400_000; // milliseconds, after which what closed tabs have left is removed
const FIELDS = ["id", "file", "credit", "answer", "asked", "said", "consent", "receipt", "shared"];

const tab = kept.get(TAB, sessionStorage) ?? `${Date.now()} ${Math.random()}`;
kept.set(TAB, tab, sessionStorage);

let opened = null; // promise of the database; of null in a browser that keeps nothing

function database() {
  opened ??= new Promise((done) => {
    const asked = indexedDB.open("whichland", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("photos", { keyPath: ["tab", "id"] });
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => done(null);
  }).catch(() => null);
  return opened;
}

// What `work` asks of the store, once that is through; null where it cannot be done, such as for want of room.
async function inStore(work) {
  const found = await database();
  if (!found) return null;
  return new Promise((done) => {
    const transaction = found.transaction("photos", "readwrite");
    const asked = work(transaction.objectStore("photos"));
    transaction.oncomplete = () => done(asked?.result ?? null);
    transaction.onabort = () => done(null);
  });
}

export function keep(photo) {
  const fields = Object.fromEntries(FIELDS.map((name) => [name, photo[name] ?? null]));
  return inStore((store) => store.put({ ...fields, tab, at: Date.now() }));
}

export const drop = (photos) =>
  inStore((store) => {
    for (const { id } of photos) store.delete([tab, id]);
    store.transaction.commit(); // at once: a page that is left now would take back what has only been asked
  });

export const keepCurrent = (photo) => kept.set(CURRENT, photo && String(photo.id), sessionStorage);

// The photos as they were kept, and the id of the one that was in hand.
export async function restored() {
  await inStore((store) => {
    store.openCursor().onsuccess = ({ target: { result: cursor } }) => {
      if (cursor?.value.at < Date.now() - DAY) cursor.delete();
      cursor?.continue();
    };
  });
  const photos = await inStore((store) => store.getAll(IDBKeyRange.bound([tab, 0], [tab, Infinity])));
  return [photos ?? [], Number(kept.get(CURRENT, sessionStorage))];
}
