import { $, Work, announce, count, element, isForPage, notice, onKeys, showDone, showProgress } from "./common.js";

const TILES = 24; // of a grid
const NAMES = { artifact: "artifact", normal: "normal", skip: "skipped" };

const url = (seed) => `images/${seed}.png${inGrid && wide ? "?small" : ""}`;
const work = new Work({ path: "", ahead: TILES, few: 14, kept: 3 * TILES, urls: (seed) => [url(seed)], show });
let counts = {};
let inGrid = false;
let page = []; // the seeds of the grid
let here = 0; // the tile that the keyboard is at
let wide = false; // whether a grid is better off with reduced images

const answerOf = (seed) => work.answered.findLast((answer) => answer.seed === seed);
const spoken = (answer) => NAMES[answer.answer] + (answer.criterion ? `: ${answer.criterion}` : "");
const unanswered = () => page.filter((seed) => !answerOf(seed));

async function start() {
  await work.open();
  const { task } = work;
  work.answered = task.recent;
  counts = task.counts;
  document.title = `${task.title} · ganfix`;
  $("title").textContent = task.title;
  $("subtitle").textContent = [task.rater, ...(task.blind ? [] : [task.generator])].join(" · ");
  $("criteria").hidden = !task.criteria.length;
  $("criteria-list").replaceChildren(...task.criteria.map(criterionItem));
  await work.refill();
}

function criterionItem({ name, text }, place) {
  const parts = [element("kbd", {}, place + 1), element("strong", {}, name), element("span", {}, text)];
  const button = element("button", { type: "button", "aria-keyshortcuts": place + 1 }, ...parts);
  button.addEventListener("click", () => answer("artifact", name));
  return element("li", {}, button);
}

function answer(kind, criterion = "") {
  const seed = inGrid ? page[here] : work.waiting[0];
  if (seed === undefined) return;
  if (!work.seen(seed)) return announce("The image is not here yet.");
  give([seed], kind, criterion);
  announce(`${NAMES[kind]}${criterion ? `, ${criterion}` : ""}. ${progressText()}`);
  if (inGrid) nextTile();
  else show();
}

function give(seeds, kind, criterion = "") {
  for (const before of seeds.map(answerOf).filter(Boolean)) {
    counts[before.answer] -= 1;
    work.answered = work.answered.filter((other) => other.seed !== before.seed);
  }
  counts[kind] += seeds.length;
  const answers = seeds.map((seed) => ({ seed, answer: kind, criterion }));
  work.give(answers, answers);
}

function undo() {
  const last = work.undo();
  if (!last) return;
  counts[last.answer] -= 1;
  const place = page.indexOf(last.seed);
  if (inGrid && place < 0) turn();
  else if (inGrid) here = place;
  announce(`Taken back: ${NAMES[last.answer]}. ${progressText()}`);
  show();
  if (inGrid) focusTile();
}

function turn() {
  page = work.waiting.slice(0, TILES);
  here = 0;
}

function nextTile() {
  const places = page.map((_, place) => (here + 1 + place) % page.length);
  const next = places.find((place) => !answerOf(page[place]));
  if (next === undefined) turn();
  else here = next;
  show();
  focusTile();
}

function restNormal() {
  const seeds = unanswered();
  if (!seeds.every((seed) => work.seen(seed))) return announce("Not all images are here yet.");
  if (seeds.length) give(seeds, "normal");
  announce(`${seeds.length} normal, next page. ${progressText()}`);
  turn();
  show();
  focusTile();
}

function toggleView() {
  inGrid = !inGrid;
  if (inGrid) turn();
  work.preload();
  show();
  announce(inGrid ? "Grid" : "One large image");
  if (inGrid) focusTile();
}

const doneCount = () => counts.artifact + counts.normal + counts.skip;
const progressText = () => `${count(doneCount())} of ${count(work.task.total)}`;

function show() {
  showProgress(doneCount(), work.task.total, progressText());
  $("counts").textContent =
    `${progressText()} · ${counts.artifact} artifact · ${counts.normal} normal · ${counts.skip} skipped`;
  const finished = work.finished && !(inGrid && unanswered().length);
  $("large").hidden = inGrid || finished;
  $("grid").hidden = $("rest").hidden = !inGrid || finished;
  $("done").hidden = !finished;
  $("toggle-text").textContent = inGrid ? "Large" : "Grid";
  $("undo").disabled = !work.answered.length;
  const answering = "#artifact, #normal, #skip, #toggle-view, #criteria-list button";
  for (const button of document.querySelectorAll(answering)) button.disabled = finished;
  if (finished) {
    $("next-page").hidden = !work.task.next_page;
    if (work.task.next_page) $("next-page").href = work.task.next_page;
    showDone(`You have answered all ${count(work.task.total)} images. Thank you.`);
  } else if (inGrid) showGrid();
  else showLarge();
}

function showLarge() {
  const seed = work.waiting[0];
  if (seed === undefined) return;
  const image = work.images.get(url(seed));
  const words = `Image ${count(doneCount() + 1)} of ${count(work.task.total)}`;
  image.alt = work.task.blind ? words : `${words}, the generation of seed ${seed}`;
  $("caption").textContent = work.task.blind ? "" : `seed ${seed}`;
  if ($("frame").firstChild === image) return;
  $("frame").replaceChildren(image);
  // A test or a curious person can read how long it took until the image could be seen.
  const asked = performance.now();
  image.ready.then(() => {
    wide = image.naturalWidth > 256;
    $("frame").dataset.seed = seed;
    $("frame").dataset.waited = (performance.now() - asked).toFixed(1);
  });
}

function showGrid() {
  if (!page.length) turn();
  const tiles = [...$("tiles").children];
  const same = String(tiles.map((button) => button.dataset.seed)) === String(page);
  if (!same) $("tiles").replaceChildren(...page.map(tile));
  page.forEach((seed, place) => {
    const button = $("tiles").children[place];
    const label = answerOf(seed);
    button.dataset.answer = label?.answer ?? "";
    button.tabIndex = place === here ? 0 : -1;
    button.querySelector(".mark").textContent = label ? spoken(label) : "";
    const name = work.task.blind ? `Image ${place + 1}` : `Image ${place + 1}, seed ${seed}`;
    button.setAttribute("aria-label", `${name}: ${label ? spoken(label) : "not labelled"}`);
  });
}

function tile(seed) {
  const image = work.images.get(url(seed));
  image.alt = "";
  const mark = element("span", { class: "mark" });
  const button = element("button", { type: "button", class: "tile", "data-seed": seed }, image, mark);
  // By mouse: one click artifact, another normal.
  button.addEventListener("click", () => {
    here = page.indexOf(seed);
    const kind = answerOf(seed)?.answer === "artifact" ? "normal" : "artifact";
    give([seed], kind);
    announce(`${NAMES[kind]}. ${progressText()}`);
    show();
  });
  button.addEventListener("focus", () => {
    here = page.indexOf(seed);
    for (const other of $("tiles").children) other.tabIndex = other === button ? 0 : -1;
  });
  return button;
}

function focusTile() {
  $("tiles").children[here]?.focus();
}

function move(key) {
  const tiles = [...$("tiles").children];
  const columns = tiles.filter(({ offsetTop }) => offsetTop === tiles[0].offsetTop).length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const ends = { Home: 0, End: tiles.length - 1 };
  const target = ends[key] ?? here + steps[key];
  if (target < 0 || target >= tiles.length) return;
  here = target;
  focusTile();
}

document.addEventListener("keydown", (event) => {
  if (!inGrid || !isForPage(event) || !/^(Arrow|Home|End)/.test(event.key)) return;
  event.preventDefault();
  move(event.key);
});

const CLICKS = { undo, rest: restNormal, "toggle-view": toggleView };
for (const kind of Object.keys(NAMES)) CLICKS[kind] = () => answer(kind);
const KEYS = { a: "artifact", n: "normal", s: "skip", u: "undo", backspace: "undo", g: "toggle-view" };
for (const [id, act] of Object.entries(CLICKS)) $(id).addEventListener("click", act);
onKeys((key, event) => {
  if (!work.task) return undefined;
  if (inGrid && event.shiftKey && key === "n") return restNormal;
  const criterion = /^[1-9]$/.test(key) && work.task.criteria[key - 1];
  return criterion ? () => answer("artifact", criterion.name) : CLICKS[KEYS[key]];
});

start().catch((error) => notice(`The page cannot be shown: ${error.message}`));
