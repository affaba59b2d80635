// The ways in which photos come: chosen, taken with a phone, pasted, dropped anywhere.

import { $ } from "./app.js";

export function listenToFiles(take) {
  for (const id of ["choose", "add"]) $(id).addEventListener("click", () => $("files").click());
  $("camera").addEventListener("click", () => $("shot").click());
  $("camera").hidden = !matchMedia("(pointer: coarse)").matches;
  for (const id of ["files", "shot"])
    $(id).addEventListener("change", (event) => {
      if (event.target.files.length) take(event.target.files);
      event.target.value = ""; // so that the same photo can be chosen again
    });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files);
  });
  let over = 0; // dragenter and dragleave come for every element on the way
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) $("over").hidden = ++over === 0;
  });
  document.addEventListener("dragleave", (event) => {
    if (holdsFiles(event)) $("over").hidden = --over <= 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over = 0;
    $("over").hidden = true;
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
}
