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
});

// Left of the line is before, right of it after. The slider says where the line is; dragging across
// the image moves the slider.
function slide(frame, slider) {
  const show = () => {
    frame.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % before, ${100 - slider.value} % after`);
  };
  const follow = (event) => {
    const box = frame.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    show();
  };
  slider.addEventListener("input", show);
  frame.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // or the browser drags the image itself
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });
  show();
}
