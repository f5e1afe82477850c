// What the parts of the exploring page share: what the server has, what was chosen, the settings, the
// addresses of images, and who wants to hear of a change.

import { $, announce, open } from "./common.js";

export let task;
let outbox;
export const choices = new Map(); // by seed: [choice, note]
export const settings = {
  by: "",
  end: "high",
  only: "",
  size: 128,
  corrected: false,
  c: 0,
  options: {}, // by correction: what was set otherwise than at the start
  path: [],
  per: 12,
};
const listeners = new Set();

export async function begin() {
  ({ task, outbox } = await open(""));
  for (const [seed, choice] of Object.entries(task.choices)) choices.set(Number(seed), choice);
  Object.assign(settings, JSON.parse(localStorage.getItem(key()) || "{}"));
  if (!task.scores.some(({ name }) => name === settings.by)) settings.by = task.by;
  if (!task.corrections[settings.c]) settings.c = 0;
}

const key = () => `ganfix/${location.pathname}${task.key}/settings`;

// Changes settings, for good, and tells everybody which.
export function set(changed) {
  Object.assign(settings, changed);
  localStorage.setItem(key(), JSON.stringify(settings));
  tell(Object.keys(changed));
}

export const listen = (listener) => listeners.add(listener);
const tell = (what) => listeners.forEach((listener) => listener(what));

export const correction = () => task.corrections[settings.c];
// Corrections are told apart by what the command line said, whatever their number.
export const changed = (c) => settings.options[task.corrections[c].text] ?? {};

export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return new URLSearchParams(pairs).toString();
}

// How requests name a correction; none without a number.
export function spec(c) {
  if (c === undefined) return {};
  const options = Object.entries(changed(c)).map(([name, value]) => [`o.${name}`, value]);
  return { c, ...Object.fromEntries(options) };
}

export const imageUrl = (seed, values = {}) => `images/${seed}.png?${query(values)}`;

const WORDS = { keep: "kept", reject: "rejected" };
export const choiceOf = (seed) => choices.get(seed) ?? ["", ""];
export const kept = () => [...choices].filter(([, [choice]]) => choice === "keep").map(([seed]) => seed);

export function choiceText(seed) {
  const [choice, note] = choiceOf(seed);
  return [WORDS[choice], note && `note: ${note}`].filter(Boolean).join(", ");
}

// Keeps or rejects; the same again takes it back.
export function choose(seed, choice) {
  const [before, note] = choiceOf(seed);
  put(seed, before === choice ? "" : choice, note);
  announce(`Seed ${seed} ${WORDS[choiceOf(seed)[0]] ?? "neither kept nor rejected"}.`);
}

export function takeNote(seed, note) {
  if (choiceOf(seed)[1] !== note) put(seed, choiceOf(seed)[0], note);
}

function put(seed, choice, note) {
  choices.delete(seed); // the last one chosen comes last
  if (choice || note) choices.set(seed, [choice, note]);
  outbox.put("POST", "choices", [seed], [{ seed, choice, note }]);
  tell(["choices"]);
}

export function toPath(seed) {
  const on = settings.path.includes(seed);
  set({ path: on ? settings.path.filter((other) => other !== seed) : [...settings.path, seed] });
  announce(on ? `Seed ${seed} is off the path.` : `Seed ${seed} is on the path.`);
}

// Loads images that are seen now, few at once, since a browser has six connections to a server and an
// answer must not wait for images; what is let go is not asked for.
export class Loader {
  constructor(most) {
    this.free = most;
    this.line = new Map(); // from an image to its address
  }

  load(image, url) {
    if (image.dataset.url === url) return;
    image.dataset.url = url;
    image.seen = false;
    this.line.set(image, url);
    this.next();
  }

  drop(image) {
    this.line.delete(image);
    delete image.dataset.url;
    if (!image.seen) image.removeAttribute("src");
    image.letGo?.(); // or its place would stay taken: what is decoded of no address never ends
  }

  async next() {
    while (this.free > 0 && this.line.size) {
      const [image, url] = this.line.entries().next().value;
      this.line.delete(image);
      this.free -= 1;
      this.one(image, url).finally(() => {
        this.free += 1;
        this.next();
      });
    }
  }

  async one(image, url) {
    try {
      image.src = url;
      await Promise.race([image.decode(), new Promise((resolve) => (image.letGo = resolve))]);
      if (image.dataset.url !== url) return;
      image.seen = true;
      image.dispatchEvent(new CustomEvent("seen"));
    } catch {
      if (image.dataset.url !== url) return; // let go meanwhile
      await new Promise((resolve) => setTimeout(resolve, 1000));
      if (image.dataset.url === url) this.line.set(image, url);
    }
  }
}

export const pressed = (id, on) => $(id).setAttribute("aria-pressed", String(on));
