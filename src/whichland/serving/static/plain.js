// A page without photos: language, colours, and the address of this service in its examples.

import { $, about, onChange, start } from "./app.js";
import { info } from "./answers_http.js";

for (const place of document.querySelectorAll(".address")) place.textContent = new URL(".", location.href).href;
start();
if (document.documentElement.dataset.page === "programs")
  info()
    .then(about)
    .catch(() => ($("foot-model").textContent = "")); // the page is true without it
