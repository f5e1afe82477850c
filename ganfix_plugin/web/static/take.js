// What was kept, to be taken along: seeds, latents, images, and the commands that make them.

import { $, announce, ask, count, element, notice } from "./common.js";
import { correction, kept, listen, query, settings, spec } from "./lab.js";

const FILES = [
  ["seeds.txt", "Seeds", false],
  ["w.npz", "Latents of the images as generated", false],
  ["w.npz", "Corrected latents", true],
  ["images.zip", "Images as generated", false],
  ["images.zip", "Corrected images", true],
];

export function startTake() {
  listen((what) => {
    $("take-count").textContent = kept().length || "";
    if (!$("take").hidden && what.some((name) => ["choices", "c", "options"].includes(name))) openTake();
  });
  $("take-count").textContent = kept().length || "";
}

export async function openTake() {
  const { name } = correction();
  const { count: number, seeds, commands } = await ask(`take?${query(spec(settings.c))}`);
  $("take-title").textContent = number ? `${count(number)} kept` : "Nothing is kept yet";
  $("take-note").textContent = number
    ? `Corrected means: by ${name}, as it is set now.`
    : "Keep images with K, in the grid or large.";
  $("take-seeds").value = seeds;
  const parts = [...document.querySelectorAll("#take > :not(h2, p)")];
  for (const part of parts) part.hidden = !number;
  $("downloads").replaceChildren(
    ...FILES.map(([file, text, corrected]) =>
      download(`take/${file}?${query(corrected ? spec(settings.c) : {})}`, file, text),
    ),
  );
  $("take-commands").replaceChildren(...commands.map(command));
}

// A file that cannot be had, such as latents of a correction of feature maps, says why.
export function download(address, file, text) {
  const button = element(
    "button",
    { type: "button", "data-file": file },
    `${text} `,
    element("span", { class: "quiet" }, file),
  );
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const response = await fetch(address, { cache: "no-store" });
      if (!response.ok) throw new Error((await response.json()).error);
      const link = element("a", { href: URL.createObjectURL(await response.blob()), download: file });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      notice("");
    } catch (error) {
      notice(`${error.message}.`);
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

function command({ what, command: text }) {
  const copy = element("button", { type: "button" }, "Copy");
  copy.addEventListener("click", () =>
    navigator.clipboard.writeText(text).then(
      () => announce("Copied."),
      () => announce("The browser does not allow it; select the text."),
    ),
  );
  return element(
    "div",
    {},
    element("p", {}, what),
    element("div", { class: "command" }, element("pre", { tabindex: 0 }, element("code", {}, text)), copy),
  );
}
