// What both pages share: talking to the server, answers that wait for it, images, the live region.

export const $ = (id) => document.getElementById(id);

// The token came with the link; from now on the cookie does its work, and the link is not left
// lying in the address bar.
export function forgetToken() {
  if (location.search) history.replaceState(null, "", location.pathname);
}

export async function ask(path) {
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response.json();
}

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return response.statusText;
  }
}

// Says something to people who do not see the page.
export function announce(text) {
  $("live").textContent = text;
}

// Something stands in the way: shown until it is gone ("" takes it away).
export function notice(text) {
  $("notice").hidden = !text;
  if ($("notice").textContent !== text) $("notice").textContent = text;
}

// Answers on their way. They are in the browser's storage until the server has them on its disk, so
// neither a reload nor a dead server loses one, and each can be sent twice without harm.
export class Outbox {
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

  keep(waiting) {
    if (waiting.length) localStorage.setItem(this.key, JSON.stringify(waiting));
    else localStorage.removeItem(this.key);
    this.show();
  }

  put(method, path, body, seeds) {
    const id = `${Date.now()}-${Math.random()}`;
    this.keep([...this.all(), { id, method, path, body, seeds }]);
    this.flush();
  }

  // Seeds whose answers the server may not know of yet.
  get seeds() {
    return new Set(this.all().flatMap((each) => each.seeds));
  }

  show() {
    const waiting = this.all().length;
    const saved = $("saved");
    saved.dataset.state = waiting ? "waiting" : "saved";
    saved.textContent = waiting ? `${waiting} to save` : "All saved";
  }

  async flush() {
    if (this.flushing) return;
    this.flushing = true;
    let pause = 0;
    for (let next = this.all()[0]; next; next = this.all()[0]) {
      try {
        const response = await fetch(next.path, {
          method: next.method,
          headers: { "Content-Type": "application/json" },
          body: next.body === undefined ? undefined : JSON.stringify(next.body),
        });
        if (response.status === 403) {
          notice(
            "The server was started anew. Open the link that it printed; your last answers are " +
              "kept in this browser and will be saved then.",
          );
          throw new Error("forbidden");
        }
        if (response.status >= 500) throw new Error("server");
        // Anything else will not change by trying again.
        if (!response.ok) this.refused = `An answer was not taken: ${await reason(response)}`;
        notice(this.refused);
        this.keep(this.all().filter((each) => each.id !== next.id));
        pause = 0;
      } catch (error) {
        if (error.message !== "forbidden") {
          notice("The server does not answer. Your answers are kept in this browser; trying again …");
        }
        pause = Math.min(pause * 2 || 250, 2000);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
    this.flushing = false;
    this.show();
  }
}

// Images that will be needed soon, loaded and decoded already; the oldest are let go. One that the
// server could not give is asked for again until it can. Few are loaded at once: a browser has six
// connections to a server, and an answer must not wait for images that take long to render.
export class Images {
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
      await this.turn();
      try {
        image.src = url;
        await image.decode();
        image.seen = true;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 1000));
      } finally {
        this.next();
      }
      if (this.kept.get(url) !== image) return;
    }
  }

  turn() {
    if (this.free > 0) this.free -= 1;
    else return new Promise((resolve) => this.line.push(resolve));
  }

  next() {
    const waiting = this.line.shift();
    if (waiting) waiting();
    else this.free += 1;
  }
}

// Whether a key press is meant for the page and not for a field, a dialog or the browser.
export function isForPage(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (document.querySelector("dialog[open]")) return false;
  return !(event.target instanceof HTMLInputElement) || event.target.type !== "text";
}

export function setUpHelp() {
  const dialog = $("help");
  const toggle = $("shortcuts");
  toggle.checked = localStorage.getItem("ganfix/shortcuts") !== "off";
  toggle.addEventListener("change", () =>
    localStorage.setItem("ganfix/shortcuts", toggle.checked ? "on" : "off"),
  );
  $("open-help").addEventListener("click", () => dialog.showModal());
  $("close-help").addEventListener("click", () => dialog.close());
}

// Single keys can be switched off, for people whose speech or aids type them by accident.
export const shortcutsOn = () => $("shortcuts").checked;
