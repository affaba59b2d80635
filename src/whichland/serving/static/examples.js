// Photos for those who have none at hand, each with whom to name.

import { $, ask, kindly, make, onChange, showError, t } from "./app.js";
import { credited } from "./neighbours.js";

// Show them; `take` gets the one that is chosen as a list of files, with the photo's credit.
export async function showExamples(take) {
  const { drawn, photos } = await (await ask("api/examples")).json();
  const draw = () => {
    $("examples-drawn").hidden = !drawn;
    $("example-list").replaceChildren(...tiles.map(({ tile }) => tile));
    tiles.forEach(({ image }, at) => (image.alt = t("examples.alt", { number: at + 1 })));
  };
  const tiles = photos.map((photo, at) => tileOf(photo, at + 1, drawn, take));
  onChange(draw);
  draw();
}

function tileOf({ credit, license }, number, drawn, take) {
  const image = make("img", { width: 150, height: 112 });
  ask(`api/examples/${number}?small=true`)
    .then((response) => response.blob())
    .then((blob) => (image.src = URL.createObjectURL(blob)))
    .catch(() => (image.hidden = true));
  const button = make("button", { type: "button" }, image);
  button.addEventListener("click", () => open(number, [credit, license], take));
  const line = drawn ? [] : [make("p", { className: "credit" }, ...credited(credit, license))];
  return { image, tile: make("li", {}, button, ...line) };
}

async function open(number, credit, take) {
  try {
    const blob = await (await ask(`api/examples/${number}`)).blob();
    take([new File([blob], `example-${number}.jpg`, { type: "image/jpeg" })], credit);
  } catch (error) {
    showError(kindly(error));
  }
}
