import { $, Images, Outbox, announce, ask, forgetToken, isForPage, notice, setUpHelp, shortcutsOn } from "./common.js";

const AHEAD = 24; // images asked for at a time, and tiles of a grid
const REFILL = 14; // ask for more when fewer are waiting
const NAMES = { artifact: "artifact", normal: "normal", skip: "skipped" };

const images = new Images(3 * AHEAD);
let task, outbox;
let waiting = []; // seeds to come, the first one being shown
let given = []; // answers in the order in which they were given: {seed, answer, criterion}
let counts = {};
let inGrid = false;
let page = []; // the seeds of the grid
let here = 0; // the tile that the keyboard is at
let asking = false;
let exhausted = false;
let wide = false; // whether a grid is better off with reduced images

const url = (seed) => `images/${seed}.png${inGrid && wide ? "?small" : ""}`;
const answerOf = (seed) => given.findLast((each) => each.seed === seed);
const spoken = (each) => NAMES[each.answer] + (each.criterion ? `: ${each.criterion}` : "");

async function start() {
  forgetToken();
  setUpHelp();
  task = await ask("state");
  outbox = new Outbox(`${location.pathname}${task.key}`);
  while (outbox.all().length) await new Promise((resolve) => setTimeout(resolve, 50));
  task = await ask("state");
  given = task.recent;
  counts = task.counts;
  document.title = `${task.title} · ganfix`;
  $("title").textContent = task.title;
  $("subtitle").textContent = [task.rater, ...(task.blind ? [] : [task.generator])].join(" · ");
  $("criteria").hidden = !task.criteria.length;
  $("criteria-list").replaceChildren(...task.criteria.map(criterionItem));
  await refill();
  show();
}

function criterionItem(criterion, place) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-keyshortcuts", place + 1);
  const key = document.createElement("kbd");
  key.textContent = place + 1;
  const name = document.createElement("strong");
  name.textContent = criterion.name;
  const text = document.createElement("span");
  text.textContent = criterion.text;
  button.append(key, name, text);
  button.addEventListener("click", () => answer("artifact", criterion.name));
  item.append(button);
  return item;
}

async function refill() {
  if (asking || exhausted) return;
  asking = true;
  try {
    const { seeds } = await ask(`queue?n=${AHEAD + REFILL}`);
    const known = new Set([...waiting, ...page, ...outbox.seeds, ...given.map((each) => each.seed)]);
    const fresh = seeds.filter((seed) => !known.has(seed));
    waiting.push(...fresh);
    exhausted = seeds.length < AHEAD + REFILL;
  } catch {
    setTimeout(() => refill().then(show), 1000);
  } finally {
    asking = false;
  }
  preload();
}

function preload() {
  for (const seed of waiting.slice(0, AHEAD)) images.get(url(seed));
}

// The seed that an answer is about.
const current = () => (inGrid ? page[here] : waiting[0]);

function answer(kind, criterion = "") {
  const seed = current();
  if (seed === undefined) return;
  // Nobody can judge what they have not seen.
  if (!images.get(url(seed)).seen) return announce("The image is not here yet.");
  give([{ seed, answer: kind, criterion }]);
  announce(`${NAMES[kind]}${criterion ? `, ${criterion}` : ""}. ${progressText()}`);
  if (inGrid) nextTile();
  show();
}

function give(answers) {
  for (const each of answers) {
    const before = answerOf(each.seed);
    if (before) {
      counts[before.answer] -= 1;
      given = given.filter((other) => other.seed !== each.seed);
    }
    counts[each.answer] += 1;
    given.push(each);
  }
  const seeds = answers.map((each) => each.seed);
  outbox.put("POST", "answers", answers, seeds);
  waiting = waiting.filter((seed) => !seeds.includes(seed));
  if (waiting.length < REFILL) refill().then(show);
  else preload();
}

function undo() {
  const last = given.pop();
  if (!last) return announce("Nothing to undo.");
  counts[last.answer] -= 1;
  outbox.put("DELETE", `answers/${last.seed}`, undefined, [last.seed]);
  waiting.unshift(last.seed);
  const place = page.indexOf(last.seed);
  if (inGrid && place < 0) turn();
  else if (inGrid) here = place;
  announce(`Taken back: ${NAMES[last.answer]}. ${progressText()}`);
  show();
  if (inGrid) focusTile();
}

function turn() {
  page = waiting.slice(0, AHEAD);
  here = 0;
}

function nextTile() {
  const open = (place) => page[place] !== undefined && !answerOf(page[place]);
  const places = page.map((_, place) => (here + 1 + place) % page.length);
  const next = places.find(open);
  if (next === undefined) turn();
  else here = next;
  show();
  focusTile();
}

function restNormal() {
  const open = page.filter((seed) => !answerOf(seed));
  if (!open.every((seed) => images.get(url(seed)).seen)) return announce("Not all images are here yet.");
  if (open.length) give(open.map((seed) => ({ seed, answer: "normal", criterion: "" })));
  announce(`${open.length} normal, next page. ${progressText()}`);
  turn();
  show();
  focusTile();
}

function toggleView() {
  inGrid = !inGrid;
  if (inGrid) turn();
  preload();
  show();
  announce(inGrid ? "Grid" : "One large image");
  if (inGrid) focusTile();
}

const doneCount = () => counts.artifact + counts.normal + counts.skip;

function progressText() {
  return `${doneCount().toLocaleString("en")} of ${task.total.toLocaleString("en")}`;
}

function show() {
  $("bar").max = task.total;
  $("bar").value = doneCount();
  $("bar").textContent = progressText();
  $("counts").textContent =
    `${progressText()} · ${counts.artifact} artifact · ${counts.normal} normal · ${counts.skip} skipped`;
  const finished = exhausted && !waiting.length && (!inGrid || !page.some((seed) => !answerOf(seed)));
  $("large").hidden = inGrid || finished;
  $("grid").hidden = !inGrid || finished;
  $("done").hidden = !finished;
  $("rest").hidden = !inGrid || finished;
  $("toggle-text").textContent = inGrid ? "Large" : "Grid";
  $("undo").disabled = !given.length;
  for (const id of ["artifact", "normal", "skip", "toggle-view"]) $(id).disabled = finished;
  for (const button of $("criteria-list").querySelectorAll("button")) button.disabled = finished;
  if (finished) showDone();
  else if (inGrid) showGrid();
  else showLarge();
}

function showLarge() {
  const seed = waiting[0];
  if (seed === undefined) return;
  const image = images.get(url(seed));
  const words = `Image ${(doneCount() + 1).toLocaleString("en")} of ${task.total.toLocaleString("en")}`;
  image.alt = task.blind ? words : `${words}, the generation of seed ${seed}`;
  $("caption").textContent = task.blind ? "" : `seed ${seed}`;
  if ($("frame").firstChild !== image) {
    $("frame").replaceChildren(image);
    // A test or a curious person can read how long it took until the image could be seen.
    const asked = performance.now();
    image.ready.then(() => {
      wide = image.naturalWidth > 256;
      $("frame").dataset.seed = seed;
      $("frame").dataset.waited = (performance.now() - asked).toFixed(1);
    });
  }
}

function showGrid() {
  if (!page.length) turn();
  const tiles = $("tiles");
  const same = tiles.children.length === page.length && page.every((seed, i) => tiles.children[i].dataset.seed === String(seed));
  if (!same) tiles.replaceChildren(...page.map(tile));
  page.forEach((seed, place) => {
    const button = tiles.children[place];
    const found = answerOf(seed);
    button.dataset.answer = found ? found.answer : "";
    button.tabIndex = place === here ? 0 : -1;
    button.querySelector(".mark").textContent = found ? spoken(found) : "";
    const name = task.blind ? `Image ${place + 1}` : `Image ${place + 1}, seed ${seed}`;
    button.setAttribute("aria-label", `${name}: ${found ? spoken(found) : "not labelled"}`);
  });
}

function tile(seed) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.dataset.seed = seed;
  const image = images.get(url(seed));
  image.alt = "";
  const mark = document.createElement("span");
  mark.className = "mark";
  button.append(image, mark);
  // By mouse: one click artifact, another normal.
  button.addEventListener("click", () => {
    here = page.indexOf(seed);
    const found = answerOf(seed);
    const kind = found && found.answer === "artifact" ? "normal" : "artifact";
    give([{ seed, answer: kind, criterion: "" }]);
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
  const columns = tiles.filter((each) => each.offsetTop === tiles[0].offsetTop).length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const ends = { Home: 0, End: tiles.length - 1 };
  const target = key in ends ? ends[key] : here + steps[key];
  if (target >= 0 && target < tiles.length) {
    here = target;
    focusTile();
  }
}

function showDone() {
  const fresh = $("done-text").textContent === "";
  $("done-text").textContent = `You have answered all ${task.total.toLocaleString("en")} images. Thank you.`;
  $("next-page").hidden = !task.next_page;
  if (task.next_page) $("next-page").href = task.next_page;
  if (fresh) $("done-title").focus();
}

const KEYS = {
  a: () => answer("artifact"),
  n: () => answer("normal"),
  s: () => answer("skip"),
  u: undo,
  backspace: undo,
  g: toggleView,
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (!task || !isForPage(event)) return;
  if (inGrid && /^(Arrow|Home|End)/.test(event.key)) {
    event.preventDefault();
    return move(event.key);
  }
  if (!shortcutsOn()) return;
  const key = event.key.toLowerCase();
  let act = inGrid && event.shiftKey && key === "n" ? restNormal : KEYS[key];
  const criterion = /^[1-9]$/.test(key) && task.criteria[key - 1];
  if (criterion) act = () => answer("artifact", criterion.name);
  // A key that is held down must not answer by itself.
  if (!act || event.repeat) return;
  event.preventDefault();
  act();
});

$("artifact").addEventListener("click", () => answer("artifact"));
$("normal").addEventListener("click", () => answer("normal"));
$("skip").addEventListener("click", () => answer("skip"));
$("undo").addEventListener("click", undo);
$("rest").addEventListener("click", restNormal);
$("toggle-view").addEventListener("click", toggleView);

start().catch((error) => notice(`The page cannot be shown: ${error.message}`));
