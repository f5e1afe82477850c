import { $, Images, Outbox, announce, ask, forgetToken, isForPage, notice, setUpHelp, shortcutsOn } from "./common.js";

const AHEAD = 12; // pairs asked for at a time
const REFILL = 6; // ask for more when fewer are waiting
const CHOICES = [
  { choice: "left", key: "←", keys: "ArrowLeft L", name: "Left" },
  { choice: "same", key: "↓", keys: "ArrowDown E", name: "Equal" },
  { choice: "right", key: "→", keys: "ArrowRight R", name: "Right" },
];

const images = new Images(4 * AHEAD);
let task, outbox;
let waiting = []; // seeds to come, the first one being shown
let given = []; // seeds in the order in which they were compared
let choices = []; // of the pair that is shown, question by question
let done = 0;
let asking = false;
let exhausted = false;

const url = (seed, side) => `pairs/images/${seed}/${side}.png`;

async function start() {
  forgetToken();
  setUpHelp();
  task = await ask("pairs/state");
  outbox = new Outbox(`${location.pathname}${task.key}`);
  while (outbox.all().length) await new Promise((resolve) => setTimeout(resolve, 50));
  task = await ask("pairs/state");
  given = task.recent;
  done = task.done;
  $("subtitle").textContent = task.rater;
  $("questions").replaceChildren(...task.questions.map(question));
  await refill();
  show();
}

function question(each, place) {
  const group = document.createElement("div");
  group.className = "question";
  group.setAttribute("role", "group");
  group.setAttribute("aria-labelledby", `question-${place}`);
  const text = document.createElement("p");
  text.id = `question-${place}`;
  if (each.name) {
    const name = document.createElement("strong");
    name.textContent = `${each.name} `;
    text.append(name);
  }
  text.append(each.text);
  const row = document.createElement("div");
  row.className = "choices";
  row.append(
    ...CHOICES.map(({ choice, key, keys, name }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.choice = choice;
      button.setAttribute("aria-keyshortcuts", keys);
      const hint = document.createElement("kbd");
      hint.textContent = key;
      hint.setAttribute("aria-hidden", "true");
      button.append(`${name} `, hint);
      button.addEventListener("click", () => choose(place, choice));
      return button;
    }),
  );
  group.append(text, row);
  return group;
}

async function refill() {
  if (asking || exhausted) return;
  asking = true;
  try {
    const { seeds } = await ask(`pairs/queue?n=${AHEAD + REFILL}`);
    const known = new Set([...waiting, ...outbox.seeds, ...given]);
    waiting.push(...seeds.filter((seed) => !known.has(seed)));
    exhausted = seeds.length < AHEAD + REFILL;
  } catch {
    setTimeout(() => refill().then(show), 1000);
  } finally {
    asking = false;
  }
  preload();
}

function preload() {
  for (const seed of waiting.slice(0, AHEAD)) {
    images.get(url(seed, "left"));
    images.get(url(seed, "right"));
  }
}

// Questions are answered from the top, so that one key each is enough.
function choose(place, choice) {
  if (!waiting.length) return;
  if (!seen()) return announce("The images are not here yet.");
  choices[place] = choice;
  const open = task.questions.findIndex((_, other) => !choices[other]);
  announce(`${CHOICES.find((each) => each.choice === choice).name}.`);
  if (open < 0) return save();
  show();
}

const current = () => task.questions.findIndex((_, place) => !choices[place]);

function save() {
  const seed = waiting.shift();
  const named = Object.fromEntries(task.questions.map((each, place) => [each.name, choices[place]]));
  outbox.put("POST", "pairs/answers", { seed, choices: named }, [seed]);
  given.push(seed);
  done += 1;
  choices = [];
  announce(`Next pair. ${progressText()}`);
  if (waiting.length < REFILL) refill().then(show);
  else preload();
  show();
}

// Nobody can compare what they have not seen.
function seen() {
  return ["left", "right"].every((side) => images.get(url(waiting[0], side)).seen);
}

function restEqual() {
  if (!waiting.length) return;
  if (!seen()) return announce("The images are not here yet.");
  task.questions.forEach((_, place) => (choices[place] ||= "same"));
  save();
}

function undo() {
  const answered = task.questions.findLastIndex((_, place) => choices[place]);
  if (answered >= 0) {
    delete choices[answered];
    announce("Taken back.");
    return show();
  }
  const last = given.pop();
  if (last === undefined) return announce("Nothing to undo.");
  outbox.put("DELETE", `pairs/answers/${last}`, undefined, [last]);
  done -= 1;
  waiting.unshift(last);
  announce(`The pair before. ${progressText()}`);
  show();
}

function progressText() {
  return `${done.toLocaleString("en")} of ${task.total.toLocaleString("en")} pairs`;
}

function show() {
  const finished = exhausted && !waiting.length;
  $("bar").max = task.total;
  $("bar").value = done;
  $("bar").textContent = progressText();
  $("counts").textContent = progressText();
  $("pair").hidden = finished;
  $("done").hidden = !finished;
  $("questions").hidden = finished;
  $("same").disabled = finished;
  $("undo").disabled = !given.length && !choices.some(Boolean);
  if (finished) {
    const fresh = $("done-text").textContent === "";
    $("done-text").textContent = "You have compared all pairs. Thank you.";
    if (fresh) $("done-title").focus();
    return;
  }
  const seed = waiting[0];
  if (seed === undefined) return;
  for (const side of ["left", "right"]) {
    const image = images.get(url(seed, side));
    image.alt = `Pair ${done + 1}, ${side} image`;
    if ($(side).firstChild !== image) $(side).replaceChildren(image);
  }
  $("stage").dataset.seed = seed;
  const here = current();
  [...$("questions").children].forEach((group, place) => {
    group.toggleAttribute("data-here", place === here);
    for (const button of group.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(choices[place] === button.dataset.choice));
    }
  });
}

const KEYS = {
  arrowleft: () => choose(current(), "left"),
  l: () => choose(current(), "left"),
  arrowright: () => choose(current(), "right"),
  r: () => choose(current(), "right"),
  arrowdown: () => choose(current(), "same"),
  e: () => choose(current(), "same"),
  enter: restEqual,
  u: undo,
  backspace: undo,
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (!task || !isForPage(event) || !shortcutsOn()) return;
  const act = KEYS[event.key.toLowerCase()];
  // A key that is held down must not answer by itself; Enter on a button is that button's.
  if (!act || event.repeat) return;
  if (event.key === "Enter" && event.target instanceof HTMLButtonElement) return;
  event.preventDefault();
  act();
});

$("same").addEventListener("click", restEqual);
$("undo").addEventListener("click", undo);

start().catch((error) => notice(`Not yet: ${error.message}.`));
