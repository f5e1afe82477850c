// What all pages share: the server, answers that wait for it, images, keys, the live region.

export const $ = (id) => document.getElementById(id);
export const count = (number) => number.toLocaleString("en");
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

export async function ask(path) {
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Error(await reason(response));
  return response.json();
}

const reason = (response) => response.json().then(({ error }) => error).catch(() => response.statusText);

// Says something to people who do not see the page.
export function announce(text) {
  $("live").textContent = text;
}

// Something stands in the way: shown until it is gone ("" takes it away).
export function notice(text) {
  $("notice").hidden = !text;
  if ($("notice").textContent !== text) $("notice").textContent = text;
}

export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function showProgress(done, total, text) {
  $("bar").max = total;
  $("bar").value = done;
  $("bar").textContent = text;
}

export function showDone(text) {
  const fresh = $("done-text").textContent === "";
  $("done-text").textContent = text;
  if (fresh) $("done-title").focus();
}

// Answers on their way. They are in the browser's storage until the server has them on its disk, so
// neither a reload nor a dead server loses one, and each can be sent twice without harm.
class Outbox {
  constructor(key) {
    this.key = `ganfix/${key}`;
    this.flushing = false;
    this.refused = "";
    this.show();
    this.flush();
  }

  all() {
    return JSON.parse(localStorage.getItem(this.key) || "[]");
  }

  keep(requests) {
    if (requests.length) localStorage.setItem(this.key, JSON.stringify(requests));
    else localStorage.removeItem(this.key);
    this.show();
  }

  put(method, path, seeds, body) {
    const id = `${Date.now()}-${Math.random()}`;
    this.keep([...this.all(), { id, method, path, body, seeds }]);
    this.flush();
  }

  show() {
    const waiting = this.all().length;
    $("saved").dataset.state = waiting ? "waiting" : "saved";
    $("saved").textContent = waiting ? `${waiting} to save` : "All saved";
  }

  async flush() {
    if (this.flushing) return;
    this.flushing = true;
    let wait = 0;
    for (let next = this.all()[0]; next; next = this.all()[0]) {
      const { method, path, body } = next;
      const headers = { "Content-Type": "application/json" };
      const sent = fetch(path, { method, headers, body: JSON.stringify(body) });
      const response = await sent.catch(() => ({ status: 503 }));
      if (response.status === 403 || response.status >= 500) {
        const trying = "Your answers are kept in this browser; trying again …";
        notice(
          response.status === 403
            ? "The server was started anew. Open the link that it printed; your last answers are " +
                "kept in this browser and will be saved then."
            : response.status === 507
              ? `The server cannot keep them: ${await reason(response)}. ${trying}`
              : `The server does not answer. ${trying}`,
        );
        wait = Math.min(wait * 2 || 250, 2000);
        await pause(wait);
        continue;
      }
      // Anything else will not change by trying again.
      if (!response.ok) this.refused = `An answer was not taken: ${await reason(response)}`;
      notice(this.refused);
      this.keep(this.all().filter((request) => request.id !== next.id));
      wait = 0;
    }
    this.flushing = false;
    this.show();
  }
}

// Images that will be needed soon, loaded and decoded already; the oldest are let go. One that the
// server could not give is asked for again until it can. Few are loaded at once: a browser has six
// connections to a server, and an answer must not wait for images that take long to render.
class Images {
  constructor(most) {
    this.most = most;
    this.kept = new Map();
    this.free = 4;
    this.line = [];
  }

  get(url) {
    let image = this.kept.get(url);
    if (!image) {
      image = new Image();
      image.ready = this.load(image, url);
    }
    this.kept.delete(url);
    this.kept.set(url, image);
    while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
    return image;
  }

  async load(image, url) {
    while (!image.seen) {
      if (this.free > 0) this.free -= 1;
      else await new Promise((resolve) => this.line.push(resolve));
      try {
        image.src = url;
        await image.decode();
        image.seen = true;
      } catch {
        await pause(1000);
      } finally {
        if (this.line.length) this.line.shift()();
        else this.free += 1;
      }
      if (this.kept.get(url) !== image) return;
    }
  }
}

// What the server has for a page, when all that waited for it is saved.
export async function open(path) {
  // The token came with the link; from now on the cookie does its work, and the link is not left
  // lying in the address bar.
  if (location.search) history.replaceState(null, "", location.pathname);
  setUpHelp();
  const { key } = await ask(`${path}state`);
  const outbox = new Outbox(`${location.pathname}${key}`);
  while (outbox.all().length) await pause(50);
  return { outbox, task: await ask(`${path}state`) };
}

// What a rater has to do on a page and did: seeds to come, the first one being shown, and answers
// {seed, …} in the order in which they were given. `urls` are the images of a seed; `show` draws.
export class Work {
  waiting = [];
  answered = [];
  asking = false;
  exhausted = false;

  constructor({ path, ahead, few, kept, urls, show }) {
    Object.assign(this, { path, ahead, few, urls, show, images: new Images(kept) });
  }

  async open() {
    Object.assign(this, await open(this.path));
  }

  get finished() {
    return this.exhausted && !this.waiting.length;
  }

  async refill() {
    if (this.asking || this.exhausted) return;
    this.asking = true;
    const most = this.ahead + this.few;
    try {
      const { seeds } = await ask(`${this.path}queue?n=${most}`);
      const saving = this.outbox.all().flatMap((request) => request.seeds);
      const old = new Set([...this.waiting, ...saving, ...this.answered.map(({ seed }) => seed)]);
      this.waiting.push(...seeds.filter((seed) => !old.has(seed)));
      this.exhausted = seeds.length < most;
    } catch {
      setTimeout(() => this.refill(), 1000);
    } finally {
      this.asking = false;
    }
    this.preload();
    this.show();
  }

  preload() {
    for (const url of this.waiting.slice(0, this.ahead).flatMap(this.urls)) this.images.get(url);
  }

  // Nobody can judge what they have not seen.
  seen(seed) {
    return this.urls(seed).every((url) => this.images.get(url).seen);
  }

  give(answers, body) {
    const seeds = answers.map(({ seed }) => seed);
    this.answered.push(...answers);
    this.outbox.put("POST", `${this.path}answers`, seeds, body);
    this.waiting = this.waiting.filter((seed) => !seeds.includes(seed));
    if (this.waiting.length < this.few) this.refill();
    else this.preload();
  }

  // The answer that was given last, taken back.
  undo() {
    const last = this.answered.pop();
    if (!last) return announce("Nothing to undo.");
    this.outbox.put("DELETE", `${this.path}answers/${last.seed}`, [last.seed]);
    this.waiting.unshift(last.seed);
    return last;
  }
}

// Whether a key press is meant for the page and not for a field, a dialog or the browser.
export function isForPage(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (document.querySelector("dialog[open]")) return false;
  return !event.target.matches?.("input[type=text], input[type=number], textarea, select");
}

// Single keys can be switched off, for people whose speech or aids type them by accident.
function setUpHelp() {
  const toggle = $("shortcuts");
  toggle.checked = localStorage.getItem("ganfix/shortcuts") !== "off";
  toggle.addEventListener("change", () =>
    localStorage.setItem("ganfix/shortcuts", toggle.checked ? "on" : "off"),
  );
  $("open-help").addEventListener("click", () => $("help").showModal());
  $("close-help").addEventListener("click", () => $("help").close());
}

// Lets single keys act: `actOf` tells what a key does, if anything.
export function onKeys(actOf) {
  document.addEventListener("keydown", (event) => {
    if (!isForPage(event) || !$("shortcuts").checked) return;
    const act = event.key === "?" ? () => $("help").showModal() : actOf(event.key.toLowerCase(), event);
    // A key that is held down must not answer by itself; Enter on a button is that button's.
    if (!act || event.repeat) return;
    if (event.key === "Enter" && event.target instanceof HTMLButtonElement) return;
    event.preventDefault();
    act();
  });
}
