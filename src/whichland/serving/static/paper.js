// An answer on paper: in light colours whatever the screen's are, with a line that says what it is.

import { $ } from "./app.js";
import { fitMap } from "./probabilities.js";

// `headOf` gives the line.
export function listenToPrint(headOf) {
  const root = document.documentElement;
  let dark = false;
  const turn = (paper) => {
    root.toggleAttribute("data-paper", paper);
    root.toggleAttribute("data-dark", dark && !paper);
    document.dispatchEvent(new Event("whichland:theme")); // the map is coloured by script
    fitMap();
  };
  addEventListener("beforeprint", () => {
    $("printed").textContent = headOf();
    dark = root.hasAttribute("data-dark");
    turn(true);
  });
  addEventListener("afterprint", () => turn(false));
  $("print").addEventListener("click", () => print());
}
