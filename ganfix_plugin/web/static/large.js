// One image large: after and before, what changed, where the score looks, its scores, a choice.

import { $, announce, ask, element, notice } from "./common.js";
import {
  Loader,
  choiceOf,
  choose,
  correction,
  imageUrl,
  listen,
  pressed,
  query,
  set,
  settings,
  spec,
  takeNote,
  task,
  toPath,
} from "./lab.js";

const VIEWS = ["image", "change", "heat"];
const columns = new Loader(2);
let seed;
let view = "image";
let drawing = false;
let again = false;
const before = element("img", { class: "before" });
const after = () => $("frame").querySelector(".after");

export const shownSeed = () => seed;

export function startLarge(actions) {
  $("frame").append(before);
  const { back, go } = actions;
  const clicks = {
    back,
    previous: () => go("ArrowLeft"),
    next: () => go("ArrowRight"),
    keep: () => choose(seed, "keep"),
    reject: () => choose(seed, "reject"),
    add: () => toPath(seed),
  };
  for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
  for (const name of VIEWS) $(`view-${name}`).addEventListener("click", () => look(name));
  $("hold").addEventListener("click", () => showBefore($("frame").dataset.side !== "before"));
  $("frame").addEventListener("pointerdown", (event) => {
    event.preventDefault(); // or the browser drags the image itself
    $("frame").setPointerCapture(event.pointerId);
    showBefore(true);
  });
  for (const end of ["pointerup", "pointercancel"]) $("frame").addEventListener(end, () => showBefore(false));
  $("note").addEventListener("change", () => takeNote(seed, $("note").value.trim()));
  $("note").addEventListener("keydown", (event) => event.key === "Enter" && $("one-title").focus());
  $("columns").replaceChildren(
    column(undefined, "as generated"),
    ...task.corrections.map(({ name }, c) => column(c, name)),
  );
  listen((what) => {
    if (seed === undefined || $("one").hidden) return;
    if (what.includes("c") || what.includes("options")) redraw();
    if (what.includes("choices") || what.includes("path")) mark();
    if (what.includes("by") && view === "heat") draw();
  });
}

function column(c, name) {
  const image = element("img", { alt: "" });
  const button = element("button", { type: "button" }, image, element("span", {}, name));
  button.addEventListener("click", () => (c === undefined ? showBefore(true) : set({ c })));
  return button;
}

// Shows a seed, in the place of another.
export function openSeed(wanted) {
  if (document.activeElement === $("note")) $("note").blur();
  seed = wanted;
  $("one-title").textContent = `Seed ${seed}`;
  $("caption").textContent = "";
  $("scores").hidden = true;
  $("note").value = choiceOf(seed)[1];
  showBefore(false);
  before.alt = `Seed ${seed} as generated`;
  before.hidden = true;
  load(before, imageUrl(seed)).then((good) => (before.hidden = !good));
  mark();
  redraw();
}

async function load(image, url) {
  image.seen = false;
  image.src = url;
  try {
    await image.decode();
    image.seen = true;
    return true;
  } catch {
    if (image.getAttribute("src") === url) await ask(url).catch((error) => notice(`${error.message}.`));
    return false;
  }
}

export function look(name = VIEWS[(VIEWS.indexOf(view) + 1) % VIEWS.length]) {
  view = name;
  for (const other of VIEWS) pressed(`view-${other}`, other === view);
  announce($(`view-${view}`).firstChild.textContent.trim());
  draw();
}

export function showBefore(on) {
  if (on) $("frame").dataset.side = "before";
  else delete $("frame").dataset.side;
  pressed("hold", on);
  caption();
}

function redraw() {
  draw();
  const addresses = [undefined, ...task.corrections.keys()].map((c) =>
    imageUrl(seed, { small: 1, ...spec(c) }),
  );
  [...$("columns").children].forEach((button, place) => {
    button.setAttribute("aria-pressed", String(place - 1 === settings.c));
    columns.load(button.querySelector("img"), addresses[place]);
  });
}

const address = () =>
  imageUrl(seed, {
    view: view === "image" ? undefined : view,
    ...(view === "heat" ? { by: settings.by } : spec(settings.c)),
  });

// The latest that was asked for; a slider that moves on meanwhile is followed when that is there.
async function draw() {
  again = true;
  if (drawing) return;
  drawing = true;
  while (again) {
    again = false;
    const [of, image] = [seed, element("img", { class: "after", alt: `Seed ${seed}: ${describe()}` })];
    const asked = performance.now();
    const slow = setTimeout(
      () =>
        ($("caption").textContent =
          "… the first time, a correction or score is measured; the terminal says how far it is"),
      1500,
    );
    const good = await load(image, address());
    clearTimeout(slow);
    if (good && of === seed) {
      notice("");
      after()?.remove();
      $("frame").prepend(image);
      $("frame").dataset.seed = of;
      $("frame").dataset.waited = (performance.now() - asked).toFixed(1);
      $("frame").dataset.drawn = Number($("frame").dataset.drawn ?? 0) + 1;
      if (!again) tell(of);
    }
  }
  drawing = false;
}

const describe = () =>
  ({
    image: `corrected by ${correction().name}`,
    change: `what ${correction().name} changed`,
    heat: "where the score looks",
  })[view];

let change;
// What is known of it in numbers.
async function tell(of) {
  const told = await ask(`seeds/${of}?${query(spec(settings.c))}`).catch(() => null);
  if (!told || of !== seed) return;
  change = told.change;
  caption();
  $("scores").hidden = !told.scores.length;
  $("scores").tBodies[0].replaceChildren(...told.scores.map(row));
}

function row({ title, value, percentile }) {
  const meter = element("meter", { min: 0, max: 100, value: percentile, "aria-hidden": "true" });
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, title),
    element("td", {}, value.toPrecision(4) * 1),
    element("td", {}, `${percentile.toFixed(1)} % `, meter),
  );
}

function caption() {
  const { name } = correction();
  const side = $("frame").dataset.side === "before" ? "as generated" : describe();
  const how =
    change === 0 ? `${name} leaves it as it is` : change ? `changed by ${change.toFixed(1)} of 255` : "";
  $("caption").textContent = [side, how].filter(Boolean).join(" · ");
}

function mark() {
  const [choice] = choiceOf(seed);
  pressed("keep", choice === "keep");
  pressed("reject", choice === "reject");
  pressed("add", settings.path.includes(seed));
}
