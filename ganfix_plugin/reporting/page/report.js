"use strict";
// Without this script the images stand side by side; with it they lie on each other.
const root = document.documentElement;
root.classList.add("live");

addEventListener("DOMContentLoaded", () => {
  for (const choice of document.querySelectorAll(".views input")) {
    if (choice.checked) root.dataset.view = choice.value; // a reload keeps it
    choice.addEventListener("change", () => (root.dataset.view = choice.value));
  }
  for (const pair of document.querySelectorAll(".slides")) slide(pair.querySelector(".frame"), pair.querySelector("input"));
  const dialog = document.querySelector("dialog");
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  for (const pair of document.querySelectorAll(".pair")) pair.querySelector(".enlarge").addEventListener("click", () => enlarge(dialog, pair));
});

// All pictures of one seed beside each other, as large as there is room.
function enlarge(dialog, pair) {
  const shots = [...pair.querySelectorAll(".shot")].map((shot) => shot.cloneNode(true));
  dialog.querySelector("div").replaceChildren(pair.querySelector("strong").cloneNode(true), ...shots);
  dialog.showModal();
}

// Left of the line is before, right of it after. The slider says where the line is; as long as an
// image is held, all of it is before.
function slide(frame, slider) {
  const show = () => {
    frame.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % before, ${100 - slider.value} % after`);
  };
  const put = (value) => {
    slider.value = value;
    show();
  };
  slider.addEventListener("input", show);
  frame.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // or the browser drags the image itself
    frame.setPointerCapture(event.pointerId);
    put(100);
  });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => put(0));
  show();
}
