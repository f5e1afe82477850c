// A path through seeds, frame by frame, uncorrected and corrected, and how much it jumps.

import { $, announce, ask, element } from "./common.js";
import { correction, listen, pressed, query, set, settings, spec } from "./lab.js";
import { download } from "./take.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDE, HIGH] = [600, 120];
const SIDES = ["before", "after"];
const FRAME_TIME = 1000 / 12;
let frames = []; // {before, after: images, jump: {before, after}}
let turn = 0;
let here = 0;
let playing = 0;

export function startPath() {
  $("per").value = settings.per;
  $("stops").addEventListener("change", () => {
    const seeds = $("stops")
      .value.split(",")
      .map((text) => text.trim());
    if (seeds.every((text) => /^\d{1,10}$/.test(text))) set({ path: seeds.map(Number) });
    else $("path-note").textContent = "Seeds are whole numbers, such as 3, 8, 21.";
  });
  $("per").addEventListener(
    "change",
    () => $("per").reportValidity() && set({ per: Number($("per").value) }),
  );
  $("scrub").addEventListener("input", () => showFrame(Number($("scrub").value)));
  $("play").addEventListener("click", play);
  listen((what) => {
    $("path-count").textContent = settings.path.length || "";
    if (!$("path").hidden && what.some((name) => ["path", "per", "c", "options"].includes(name))) openPath();
  });
  $("path-count").textContent = settings.path.length || "";
}

// Goes through all frames, one after the other, as long as nobody wants another path.
export async function openPath() {
  const mine = (turn += 1);
  stop();
  $("stops").value = settings.path.join(", ");
  $("path-name").textContent = correction().name;
  const { path, per } = settings;
  frames = [];
  here = 0;
  const most = Math.max(0, (path.length - 1) * per);
  $("scrub").max = most;
  $("sides").hidden = $("jumps").hidden = $("play").disabled = $("path-take").hidden = !most;
  if (!most) {
    $("path-note").textContent = "Put two or more images on the path: P on an image, or type their seeds.";
    return;
  }
  const where = { seeds: path.join(","), per };
  $("path-take").replaceChildren(
    ...[{}, spec(settings.c)].map((named, corrected) =>
      download(
        `path/w.npz?${query({ ...where, ...named })}`,
        "path.npz",
        corrected ? "Corrected latents" : "Latents as generated",
      ),
    ),
  );
  for (let number = 0; number <= most && mine === turn; number += 1) {
    const frame = await loadFrame(number, where);
    if (mine !== turn) return;
    if (typeof frame === "string")
      return void ($("path-note").textContent = `The path cannot be shown: ${frame}`);
    frames.push(frame);
    if (number === 0) showFrame(0);
    $("path-note").textContent = number < most ? `Frame ${number + 1} of ${most + 1} …` : summary();
    drawJumps(most);
  }
}

async function loadFrame(number, where) {
  const sides = { before: {}, after: spec(settings.c) };
  const frame = {};
  try {
    for (const [side, named] of Object.entries(sides)) {
      frame[side] = element("img", {
        alt: `Frame ${number + 1}, ${side === "before" ? "as generated" : correction().name}`,
      });
      frame[side].src = `path/${number}.png?${query({ ...where, ...named })}`;
      await frame[side].decode();
      frame[side].seen = true;
    }
    if (number) frame.jump = await ask(`path/${number}?${query({ ...where, ...spec(settings.c) })}`);
    return frame;
  } catch {
    return ask(`path/${number}.png?${query({ ...where, ...spec(settings.c) })}`).then(
      () => "try again",
      (error) => error.message,
    );
  }
}

function showFrame(number) {
  if (!frames[number]) return;
  here = number;
  $("scrub").value = number;
  $("scrub-text").textContent = `${number + 1} of ${Number($("scrub").max) + 1}`;
  $("scrub").setAttribute("aria-valuetext", $("scrub-text").textContent);
  for (const side of SIDES) $(`path-${side}`).replaceChildren(frames[number][side]);
  $("path").dataset.frame = number;
  document
    .getElementById("jump-here")
    ?.setAttribute("transform", `translate(${(WIDE * number) / Math.max(1, Number($("scrub").max))} 0)`);
}

export function stepFrame(by) {
  stop();
  showFrame(Math.min(Math.max(here + by, 0), frames.length - 1));
}

export function play() {
  if (playing) return stop();
  pressed("play", true);
  announce("Playing.");
  playing = setInterval(() => showFrame((here + 1) % frames.length), FRAME_TIME);
}

export function stop() {
  clearInterval(playing);
  playing = 0;
  pressed("play", false);
}

const largest = (side) => Math.max(0, ...frames.slice(1).map(({ jump }) => jump[side]));

function summary() {
  const [one, other] = SIDES.map(largest);
  const times = one ? `, ${(other / one).toFixed(2)} times as much` : "";
  return `From a frame to the next, pixels change by at most ${one.toFixed(2)} of 255 as generated, and by at most ${other.toFixed(2)} corrected${times}.`;
}

// Both sides' jumps as lines over the frames.
function drawJumps(most) {
  const high = Math.max(...SIDES.map(largest), 1e-6);
  const lines = SIDES.map((side) => {
    const points = frames
      .slice(1)
      .map(({ jump }, place) => `${(WIDE * (place + 1)) / most},${HIGH - (HIGH * jump[side]) / high}`);
    return shape("polyline", { class: side, points: points.join(" ") });
  });
  const cursor = shape("line", { id: "jump-here", y1: 0, y2: HIGH });
  const svg = shape(
    "svg",
    {
      viewBox: `-4 -4 ${WIDE + 8} ${HIGH + 8}`,
      role: "img",
      "aria-label": `Changes from frame to frame. ${summary()}`,
    },
    ...lines,
    cursor,
  );
  const legend = element(
    "p",
    { class: "quiet" },
    "Change from the frame before: ",
    element("span", { class: "before" }, "as generated"),
    ", ",
    element("span", { class: "after" }, correction().name),
  );
  $("jumps").replaceChildren(svg, legend);
  showFrame(here);
}

function shape(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
