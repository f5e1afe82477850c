// The grid: thousands of tiles, of which only those exist that are seen.

import { $, announce, ask, count, element } from "./common.js";
import {
  Loader,
  choiceOf,
  choiceText,
  choices,
  imageUrl,
  listen,
  query,
  set,
  settings,
  spec,
  task,
} from "./lab.js";

const GAP = 6;
const OVER = 1; // rows above and below that exist too, so that the focus can move there
const TALLEST = 16_000_000; // pixels; browsers clip what is much taller
const loader = new Loader(4);
const tiles = new Map(); // by place
const words = {}; // for a bad image, by score
let ranked = []; // seeds, as the server ranks them
let shown; // the seeds of the grid; undefined if it goes through all there are, one by one
let here = 0;
let onOpen;

const columns = () => Math.max(1, Math.floor(($("tiles").clientWidth + GAP) / (settings.size + GAP)));
const step = () => ($("tiles").clientWidth + GAP) / columns(); // tiles share what is left over
export const seedAt = (place) => (shown ? shown[place] : place);
const length = () =>
  shown ? shown.length : Math.min(task.last_seed + 1, Math.floor(TALLEST / step()) * columns());
export const current = () => seedAt(here);

export function startGrid(opened) {
  onOpen = opened;
  $("by").replaceChildren(...task.scores.map(({ name, title }) => element("option", { value: name }, title)));
  name();
  for (const id of ["by", "end", "only", "size"]) {
    $(id).value = settings[id];
    $(id).addEventListener("input", () => set({ [id]: id === "size" ? Number($(id).value) : $(id).value }));
  }
  $("corrected").checked = settings.corrected;
  $("corrected").addEventListener("change", () => set({ corrected: $("corrected").checked }));
  $("go").max = task.last_seed;
  $("go").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && $("go").reportValidity() && $("go").value) onOpen(Number($("go").value));
  });
  $("stage").addEventListener("scroll", fill);
  new ResizeObserver(fill).observe($("tiles"));
  listen((what) => {
    for (const id of ["by", "end", "only", "size"]) if (what.includes(id)) $(id).value = settings[id];
    $("corrected").checked = settings.corrected;
    name();
    if (what.some((name) => ["by", "end"].includes(name))) rank(true);
    else if (what.some((name) => ["only", "size", "corrected", "c", "options"].includes(name)))
      arrange(what.includes("only"));
    else if (what.includes("choices")) mark();
  });
  rank(true);
}

// The ends of a ranking are called by what its score finds, once that is known.
function name() {
  const word = words[settings.by];
  for (const [end, much, unknown] of [
    ["high", "most", "from the top"],
    ["low", "least", "from the bottom"],
  ])
    $("end").querySelector(`[value="${end}"]`).textContent = word ? `${much} ${word} first` : unknown;
}

// Asks for the order, again until all are scored. What was there first stays under people's hands.
let asking = 0;
async function rank(fresh) {
  const turn = (asking += 1);
  if (settings.end === "seed") return arrange(fresh);
  const order = await ask(`order?${query({ by: settings.by, end: settings.end })}`).catch(() => null);
  if (turn !== asking || settings.end === "seed") return;
  const complete = order && (order.done === order.total || order.failed);
  const untouched = $("stage").scrollTop === 0 && here === 0;
  if (order) {
    words[settings.by] = order.word;
    name();
    const first = fresh || !ranked.length;
    if (first || (complete && untouched)) {
      ranked = order.seeds;
      arrange(fresh);
    }
    $("ranked").textContent = rankedText(order);
    if (complete) announce($("ranked").textContent);
    if (complete && !first && !untouched) offer(order.seeds);
  }
  if (!complete) setTimeout(() => turn === asking && rank(fresh && !order), 1000);
}

function offer(seeds) {
  const button = element("button", { type: "button" }, "Show them in this order");
  button.addEventListener("click", () => {
    ranked = seeds;
    button.remove();
    arrange(true);
    focusTile();
  });
  $("ranked").append(" ", button);
}

const FILTERS = {
  keep: ([choice]) => choice === "keep",
  reject: ([choice]) => choice === "reject",
  note: ([, note]) => note,
};

function arrange(fresh) {
  const endless = settings.end === "seed";
  const allowed = FILTERS[settings.only];
  if (allowed) {
    const places = new Map(endless ? [] : ranked.map((seed, place) => [seed, place]));
    const place = (seed) => places.get(seed) ?? task.total + seed;
    shown = [...choices].filter(([, choice]) => allowed(choice)).map(([seed]) => seed);
    shown.sort((a, b) => place(a) - place(b));
  } else shown = endless ? undefined : ranked;
  if (endless) $("ranked").textContent = "All seeds, one after another.";
  if (fresh) {
    here = 0;
    $("stage").scrollTop = 0;
  }
  clear();
  fill();
}

function rankedText({ done, total, failed, how }) {
  if (failed) return `Cannot be ranked so: ${failed}`;
  if (done === total) return `${count(total)} seeds by ${how}`;
  return how
    ? `Scored ${count(done)} of ${count(total)} seeds …`
    : "Measuring what this score needs; the terminal says how far it is …";
}

function clear() {
  for (const place of [...tiles.keys()]) remove(place);
}

function remove(place) {
  const button = tiles.get(place);
  loader.drop(button.querySelector("img"));
  button.remove();
  tiles.delete(place);
}

// Makes the tiles that are seen, and takes away all others.
export function fill() {
  if ($("grid").hidden || !task) return;
  const total = length();
  const [wide, high] = [columns(), step()];
  $("tiles").style.height = `${Math.ceil(total / wide) * high}px`;
  const top = $("stage").scrollTop - $("tiles").offsetTop + $("stage").offsetTop;
  const first = Math.max(0, Math.floor(top / high) - OVER) * wide;
  const last = Math.min(total, (Math.ceil((top + $("stage").clientHeight) / high) + OVER) * wide);
  const focused = document.activeElement?.dataset?.place;
  for (const place of [...tiles.keys()]) {
    if ((place < first || place >= last) && String(place) !== focused) remove(place);
  }
  const seen = (place) =>
    Math.floor(place / wide) * high + high > top &&
    Math.floor(place / wide) * high < top + $("stage").clientHeight;
  for (let place = first; place < last; place += 1) {
    if (!tiles.has(place)) tiles.set(place, tile(place));
    const button = tiles.get(place);
    const [row, column] = [Math.floor(place / wide), place % wide];
    button.style.cssText = `left:${column * high}px;top:${row * high}px;width:${high - GAP}px;height:${high - GAP}px`;
    if (seen(place)) loader.load(button.querySelector("img"), url(seedAt(place)));
    if (!button.isConnected) $("tiles").append(button);
  }
  mark();
  const none = settings.only ? "Nothing of that kind yet." : "";
  if (!total && none) $("ranked").textContent = none;
}

const url = (seed) => imageUrl(seed, { small: 1, ...(settings.corrected ? spec(settings.c) : {}) });

function tile(place) {
  const image = element("img", { alt: "" });
  const button = element(
    "button",
    { type: "button", class: "tile", "data-place": place, "data-seed": seedAt(place) },
    image,
    element("span", { class: "mark" }),
  );
  button.addEventListener("click", () => {
    here = place;
    onOpen(seedAt(place));
  });
  button.addEventListener("focus", () => {
    here = place;
    mark();
  });
  return button;
}

function mark() {
  for (const [place, button] of tiles) {
    const seed = seedAt(place);
    const [choice, note] = choiceOf(seed);
    button.dataset.choice = choice;
    button.tabIndex = place === here ? 0 : -1;
    button.querySelector(".mark").textContent = choiceText(seed);
    button.querySelector(".mark").hidden = !choice && !note;
    button.setAttribute("aria-label", [`Seed ${seed}`, choiceText(seed)].filter(Boolean).join(", "));
  }
  if (!tiles.has(here)) tiles.values().next().value?.setAttribute("tabindex", 0);
}

// Puts the keyboard on a place, which is scrolled into view.
export function focusTile(place = here) {
  here = Math.min(Math.max(place, 0), length() - 1);
  const high = step();
  const top = Math.floor(here / columns()) * high + $("tiles").offsetTop - $("stage").offsetTop;
  const stage = $("stage");
  if (top < stage.scrollTop) stage.scrollTop = top;
  if (top + high > stage.scrollTop + stage.clientHeight) stage.scrollTop = top + high - stage.clientHeight;
  fill();
  tiles.get(here)?.focus({ preventScroll: true });
}

// Where an arrow or its kin leads from here; the large image follows it too.
export function move(key, rows = 1) {
  const wide = columns();
  const page = Math.max(1, Math.floor($("stage").clientHeight / step())) * wide;
  const steps = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -wide * rows,
    ArrowDown: wide * rows,
    PageUp: -page,
    PageDown: page,
  };
  const ends = { Home: 0, End: length() - 1 };
  const target = ends[key] ?? here + steps[key];
  if (target < 0 || target >= length()) return announce("There are no more.");
  here = target;
  return seedAt(here);
}

// Goes on from a seed, if the grid has it.
export function goTo(seed) {
  const place = shown ? shown.indexOf(seed) : seed;
  if (place >= 0) here = place;
}
