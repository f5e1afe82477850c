// The exploring page: which view is shown, and what the keys do.

import { $, announce, isForPage, notice, onKeys } from "./common.js";
import { current, fill, focusTile, goTo, move, startGrid } from "./grid.js";
import { begin, choose, set, settings, task, toPath } from "./lab.js";
import { look, openSeed, showBefore, shownSeed, startLarge } from "./large.js";
import { choose as correctBy, startPanel, strengthen } from "./panel.js";
import { openPath, play, startPath, stepFrame, stop } from "./path.js";
import { openTake, startTake } from "./take.js";

const VIEWS = ["grid", "one", "path", "take"];
let view = "grid";

async function start() {
  await begin();
  $("subtitle").textContent = [task.rater, task.generator].join(" · ");
  startPanel();
  startLarge({ back: () => show("grid"), go });
  startPath();
  startTake();
  startGrid((seed) => {
    goTo(seed);
    show("one", seed);
  });
  for (const name of ["grid", "path", "take"]) $(`to-${name}`).addEventListener("click", () => show(name));
}

function show(name, seed) {
  view = name;
  document.body.dataset.view = name;
  for (const other of VIEWS) $(other).hidden = other !== name;
  for (const other of ["grid", "path", "take"]) {
    if (other === name) $(`to-${other}`).setAttribute("aria-current", "page");
    else $(`to-${other}`).removeAttribute("aria-current");
  }
  notice("");
  stop();
  if (name === "grid") {
    fill();
    focusTile();
  } else if (name === "one") {
    openSeed(seed);
    $("one-title").focus();
  } else if (name === "path") openPath();
  else
    openTake().then(
      () => $("take-title").focus(),
      (error) => notice(`${error.message}.`),
    );
}

function go(key) {
  const seed = move(key);
  if (seed === undefined) return;
  if (view === "one") openSeed(seed);
  else focusTile();
}

// The seed that the keyboard is at.
const seedHere = () => (view === "one" ? shownSeed() : view === "grid" ? current() : undefined);
const ofSeed = (act) => () => seedHere() !== undefined && act(seedHere());

function resize(by) {
  set({ size: Math.min(256, Math.max(48, settings.size + by * 16)) });
  focusTile();
}

const KEYS = {
  k: ofSeed((seed) => choose(seed, "keep")),
  r: ofSeed((seed) => choose(seed, "reject")),
  p: ofSeed(toPath),
  n: ofSeed((seed) => {
    if (view !== "one") show("one", seed);
    $("note").focus();
  }),
  v: () => view === "one" && look(),
  c: () => set({ corrected: !settings.corrected }),
  "[": () => strengthen(-1),
  "]": () => strengthen(1),
  ",": () => strengthen(-1), // where brackets need more than a key
  ".": () => strengthen(1),
  "+": () => resize(1),
  "-": () => resize(-1),
  "/": () => {
    if (view !== "grid") show("grid");
    $("go").focus();
  },
  g: () => show("grid"),
  l: () => show("path"),
  t: () => show("take"),
};

onKeys((key) => {
  if (!task) return undefined;
  if (/^[1-9]$/.test(key) && task.corrections[key - 1]) return () => correctBy(key - 1);
  return KEYS[key];
});

// Keys that may be held down.
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (!task || !isForPage(event) || target.matches?.("input[type=range], input[type=radio]")) return;
  const moves = /^(Arrow|Home|End|Page)/.test(key);
  if (key === "Escape" && view !== "grid") show("grid");
  else if (key.toLowerCase() === "b" && view === "one" && $("shortcuts").checked) showBefore(true);
  else if (moves && view === "path")
    stepFrame({ ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[key] ?? 0);
  else if (moves && (view === "grid" || /^Arrow(Left|Right)|Home|End/.test(key))) go(key);
  else if (key === " " && view === "path" && !(target instanceof HTMLButtonElement)) play();
  else return;
  event.preventDefault();
});
document.addEventListener(
  "keyup",
  ({ key }) => key.toLowerCase() === "b" && view === "one" && showBefore(false),
);
for (const field of document.querySelectorAll("#note, #go, #stops")) {
  field.addEventListener("keydown", ({ key }) => key === "Escape" && $("stage").focus());
}

start().catch((error) => notice(`The page cannot be shown: ${error.message}`));
announce("");
