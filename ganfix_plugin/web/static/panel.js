// The correction that is looked at, and its numbers.

import { $, announce, element } from "./common.js";
import { changed, correction, listen, set, settings, task } from "./lab.js";

const SHARE = 100; // shares are shown in percent

export function startPanel() {
  $("panel").open = matchMedia("(min-width: 1100px)").matches;
  $("corrections").replaceChildren(...task.corrections.map(radio));
  $("reset").addEventListener("click", () => {
    const { [correction().text]: gone, ...others } = settings.options;
    set({ options: others });
    announce("As at the start.");
  });
  listen((what) => (what.includes("c") || what.includes("options")) && show(what.includes("c")));
  show(true);
}

function radio({ name, text }, c) {
  const input = element("input", { type: "radio", name: "correction", value: c });
  input.addEventListener("change", () => choose(c));
  return element("label", { title: text }, input, ` ${name} `, element("kbd", {}, c + 1));
}

export function choose(c) {
  if (!task.corrections[c]) return;
  set({ c });
  announce(task.corrections[c].name);
}

function show(fresh) {
  const { name, text, help, options } = correction();
  document.querySelector(`#corrections input[value="${settings.c}"]`).checked = true;
  $("panel-name").textContent = name;
  $("correction-help").textContent = help;
  $("correction-help").title = text;
  if (!fresh && document.activeElement?.dataset?.key) return label();
  $("strength").replaceChildren(...options.filter(({ key }) => key === "strength").map(control));
  $("options").replaceChildren(...options.filter(({ key }) => key !== "strength").map(control));
  $("more").hidden = options.every(({ key }) => key === "strength");
  return label();
}

// A share is a slider; other numbers, which may have no end, are fields.
function control({ key, help, kind, low, high, value }) {
  const share = kind === "share";
  const now = changed(settings.c)[key] ?? value;
  const shape = share
    ? { type: "range", min: low * SHARE, max: high * SHARE, step: 1 }
    : { type: "number", min: low, max: high, step: kind === "whole" ? 1 : "any" };
  const input = element("input", { ...shape, "data-key": key, title: help });
  input.value = share ? parseFloat(now || 0) : now;
  input.addEventListener("input", () => {
    if (!input.checkValidity()) return;
    change(key, share ? `${input.value}%` : input.value);
  });
  const output = element("output", { "data-of": key });
  return element("label", { class: "control" }, element("span", {}, key), input, output);
}

function change(key, value) {
  const { text } = correction();
  set({ options: { ...settings.options, [text]: { ...changed(settings.c), [key]: value } } });
}

function label() {
  const { options } = correction();
  for (const { key, value } of options) {
    const [input, output] = ["input[data-key", "output[data-of"].map((what) =>
      document.querySelector(`${what}="${key}"]`),
    );
    const text = changed(settings.c)[key] ?? value;
    if (output) output.textContent = text && text === input.value ? "" : text || "not set"; // said once
  }
}

// Weaker or stronger, by a tenth.
export function strengthen(by) {
  const option = correction().options.find(({ key }) => key === "strength");
  if (!option) return announce(`${correction().name} has no strength.`);
  const now = parseFloat(changed(settings.c).strength ?? option.value);
  const next = `${Math.min(100, Math.max(0, Math.round(now + 10 * by)))}%`;
  change("strength", next);
  for (const input of document.querySelectorAll('[data-key="strength"]')) input.value = parseFloat(next);
  return announce(`Strength ${next}`);
}
