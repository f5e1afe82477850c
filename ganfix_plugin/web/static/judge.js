import { $, Work, announce, count, element, notice, onKeys, showDone, showProgress } from "./common.js";

const CHOICES = {
  left: { name: "Left", key: "←", keys: "ArrowLeft L" },
  same: { name: "Equal", key: "↓", keys: "ArrowDown E" },
  right: { name: "Right", key: "→", keys: "ArrowRight R" },
};
const SIDES = ["left", "right"];

const url = (seed, side) => `pairs/images/${seed}/${side}.png`;
const work = new Work({ path: "pairs/", ahead: 12, few: 6, kept: 48, urls: (seed) => SIDES.map((side) => url(seed, side)), show });
let choices = []; // of the pair that is shown, question by question
let done = 0;

async function start() {
  await work.open();
  work.answered = work.task.recent.map((seed) => ({ seed }));
  done = work.task.done;
  $("subtitle").textContent = work.task.rater;
  $("questions").replaceChildren(...work.task.questions.map(question));
  await work.refill();
}

function question({ name, text }, place) {
  const id = `question-${place}`;
  const buttons = Object.entries(CHOICES).map(([choice, { name, key, keys }]) => {
    const attributes = { type: "button", "data-choice": choice, "aria-keyshortcuts": keys };
    const hint = element("kbd", { "aria-hidden": "true" }, key);
    const button = element("button", attributes, `${name} `, hint);
    button.addEventListener("click", () => choose(place, choice));
    return button;
  });
  return element(
    "div",
    { class: "question", role: "group", "aria-labelledby": id },
    element("p", { id }, ...(name ? [element("strong", {}, `${name} `)] : []), text),
    element("div", { class: "choices" }, ...buttons),
  );
}

// The question that is to be answered.
const current = () => work.task.questions.findIndex((_, place) => !choices[place]);

function canChoose() {
  if (!work.waiting.length) return false;
  const seen = work.seen(work.waiting[0]);
  if (!seen) announce("The images are not here yet.");
  return seen;
}

// Questions are answered from the top, so that one key each is enough.
function choose(place, choice) {
  if (!canChoose()) return;
  choices[place] = choice;
  announce(`${CHOICES[choice].name}.`);
  if (current() < 0) save();
  else show();
}

function restEqual() {
  if (!canChoose()) return;
  work.task.questions.forEach((_, place) => (choices[place] ||= "same"));
  save();
}

function save() {
  const seed = work.waiting[0];
  const named = Object.fromEntries(work.task.questions.map(({ name }, place) => [name, choices[place]]));
  done += 1;
  choices = [];
  work.give([{ seed }], { seed, choices: named });
  announce(`Next pair. ${progressText()}`);
  show();
}

function undo() {
  const answered = work.task.questions.findLastIndex((_, place) => choices[place]);
  if (answered >= 0) {
    delete choices[answered];
    announce("Taken back.");
    return show();
  }
  if (!work.undo()) return;
  done -= 1;
  announce(`The pair before. ${progressText()}`);
  show();
}

const progressText = () => `${count(done)} of ${count(work.task.total)} pairs`;

function show() {
  const { finished } = work;
  showProgress(done, work.task.total, progressText());
  $("counts").textContent = progressText();
  for (const id of ["pair", "questions"]) $(id).hidden = finished;
  $("done").hidden = !finished;
  $("same").disabled = finished;
  $("undo").disabled = !work.answered.length && !choices.some(Boolean);
  if (finished) return showDone("You have compared all pairs. Thank you.");
  const seed = work.waiting[0];
  if (seed === undefined) return;
  for (const side of SIDES) {
    const image = work.images.get(url(seed, side));
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

const KEYS = { enter: restEqual, u: undo, backspace: undo };
for (const [choice, { keys }] of Object.entries(CHOICES)) {
  for (const key of keys.toLowerCase().split(" ")) KEYS[key] = () => choose(current(), choice);
}
onKeys((key) => work.task && KEYS[key]);

$("same").addEventListener("click", restEqual);
$("undo").addEventListener("click", undo);

start().catch((error) => notice(`Not yet: ${error.message}.`));
