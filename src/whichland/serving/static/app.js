// What both pages share: language, colours, and how the service is asked.

import { WORDS } from "./words.js";

const LANGUAGE = "whichland.language";
const TOKEN = "whichland.token";
const PATIENCE = 5; // times that a busy server is asked again

export const $ = (id) => document.getElementById(id);

// What is kept in the browser; a browser that keeps nothing plays along until the page is closed.
export const kept = {
  get(key, store = localStorage) {
    try {
      return store.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value, store = localStorage) {
    try {
      if (value === null) store.removeItem(key);
      else store.setItem(key, value);
    } catch {
      // nothing to be done, and nothing breaks
    }
  },
};

export let language = pickLanguage();

function pickLanguage() {
  const wanted = [kept.get(LANGUAGE), ...navigator.languages.map((tag) => tag.slice(0, 2))];
  return wanted.find((tag) => tag in WORDS) ?? "en";
}

// The same with a region, which dates and lists ask for: these pages are written in British English.
export const regional = () => (language === "en" ? "en-GB" : language);

// What the model's labels are: "country", or the name of another level such as continent.
const KIND = document.documentElement.dataset.kind;
export const COUNTRIES = KIND === "country";

// A text in the reader's language; some have another form, under key.label, for labels that are no countries.
export function t(key, values = {}) {
  const text = (!COUNTRIES && WORDS[language][`${key}.label`]) || (WORDS[language][key] ?? WORDS.en[key] ?? key);
  return text.replace(/\{(\w+)\}/g, (_, name) => (name === "kind" ? KIND : values[name] ?? ""));
}

const english = new Map(); // the service's own names of its labels

export function learnNames(labels) {
  for (const { code, name } of labels) english.set(code, name);
}

export function countryName(code) {
  if (language === "en" && COUNTRIES && english.has(code)) return english.get(code);
  return new Intl.DisplayNames([language], { type: "region" }).of(code) ?? code;
}

export const labelName = (code) => (COUNTRIES ? countryName(code) : english.get(code) ?? code);

export const number = (value) => Math.round(value).toLocaleString(language);

export function percent(probability) {
  const round = (digits) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits });
  if (probability > 0.995 && probability < 1) return "> " + round(1).format(0.995);
  if (probability < 0.001) return "< " + round(1).format(0.001);
  return round(probability < 0.1 ? 1 : 0).format(probability);
}

export function flag(code, className = "flag") {
  const image = document.createElement("img");
  image.src = new URL(`flags/${code}.svg`, import.meta.url);
  image.alt = "";
  image.className = className;
  return image;
}

// The flag of a label that is a country; else an empty place.
export const labelFlag = (code, className) => (COUNTRIES ? flag(code, className) : document.createElement("span"));

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function say(text) {
  $("status").textContent = text;
}

// What did not work; with `again`, a button to try it once more.
export function showError(text, again = null) {
  $("error-text").textContent = text;
  $("error-again").hidden = !again;
  $("error-again").onclick = again;
  $("error").hidden = false;
}

export function clearError() {
  $("error").hidden = true;
  $("error-text").textContent = "";
}

export class Refused extends Error {
  constructor(status, message, translated = false) {
    super(message);
    this.status = status;
    this.translated = translated; // whether the message is in the reader's language
  }
}

// How a failed call is put to the reader.
export function kindly(error) {
  if (!(error instanceof Refused)) return t("error.offline");
  if (error.translated) return error.message;
  if (error.status === 413) return t("error.status413");
  if (error.status === 503) return t("error.busy");
  return t("error.other", { error: error.message });
}

const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// Ask the service. A busy one is asked again when it says so; one that wants a token gets it from the reader.
export async function ask(path, options = {}) {
  for (let busy = 0; ; ) {
    const token = kept.get(TOKEN, sessionStorage);
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const response = await fetch(path, { ...options, headers });
    if (response.ok) return response;
    if (response.status === 401) {
      await askToken(token);
      continue;
    }
    if (response.status === 503 && busy++ < PATIENCE) {
      const seconds = Math.min(Number(response.headers.get("Retry-After")) || 2, 30);
      say(t("busy.wait", { seconds }));
      await sleep(seconds);
      continue;
    }
    const body = await response.json().catch(() => ({}));
    if (body.results) return new Response(JSON.stringify(body)); // photos that could not be read, one by one
    throw new Refused(response.status, body.error ?? response.statusText);
  }
}

let asking = null; // several calls may want the token at once; it is asked for once

function askToken(refused) {
  if (refused !== kept.get(TOKEN, sessionStorage)) return Promise.resolve(); // another call has it already
  asking ??= new Promise((done, stop) => {
    const dialog = $("token");
    $("token-wrong").hidden = !refused;
    $("token-input").value = "";
    dialog.returnValue = "";
    dialog.addEventListener(
      "close",
      () => {
        asking = null;
        const given = $("token-input").value.trim();
        if (dialog.returnValue !== "send" || !given) return stop(new Refused(401, t("token.title")));
        kept.set(TOKEN, given, sessionStorage);
        done();
      },
      { once: true },
    );
    dialog.showModal();
  });
  return asking;
}

const redraws = []; // what must be drawn anew in another language or other colours

export function onChange(redraw) {
  redraws.push(redraw);
}

function translate() {
  document.documentElement.lang = language;
  document.title = t(`title.${document.documentElement.dataset.page}`);
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]"))
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  const theme = t(`theme.${document.documentElement.dataset.theme}`);
  $("theme").title = t("switch.theme", { theme });
  $("theme").setAttribute("aria-label", t("switch.theme", { theme }));
  redraws.forEach((redraw) => redraw());
}

export function start() {
  const choice = $("language");
  for (const [code, words] of Object.entries(WORDS))
    choice.append(make("option", { value: code, textContent: words.language, selected: code === language }));
  choice.addEventListener("change", () => {
    language = choice.value;
    kept.set(LANGUAGE, language);
    translate();
  });
  const [switches, head, foot] = [".switches", ".top", ".foot"].map((one) => document.querySelector(one));
  const narrow = matchMedia("(max-width: 30rem)"); // where the links fill the head
  const place = () => (narrow.matches ? foot : head).append(switches);
  narrow.addEventListener("change", place);
  place();
  $("theme").addEventListener("click", () => document.dispatchEvent(new Event("whichland:next-theme")));
  document.addEventListener("whichland:theme", translate);
  $("error-close").addEventListener("click", clearError);
  translate();
}

// Take in what answers: its labels, and what the foot of the page says of it.
export function about(info) {
  learnNames(info.labels);
  const foot = () =>
    ($("foot-model").textContent = t("foot.model", {
      version: info.version,
      count: info.labels.length,
      engine: info.engine,
    }));
  onChange(foot);
  foot();
  return info;
}

export const reduced = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
