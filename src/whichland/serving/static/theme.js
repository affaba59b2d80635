// Loaded before anything is drawn, so that the page does not flash in the other colours.
(() => {
  const KEY = "whichland.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = "auto";
  try {
    theme = localStorage.getItem(KEY) ?? "auto";
    // photos of before are about to take the place of the first screen, see keep.js
    root.toggleAttribute("data-back", root.dataset.page === "photos" && sessionStorage.getItem("whichland.current") !== null);
  } catch {
    // a browser that keeps nothing follows the system
  }

  function apply() {
    root.dataset.theme = theme;
    root.toggleAttribute("data-dark", theme === "dark" || (theme === "auto" && system.matches));
    document.dispatchEvent(new Event("whichland:theme"));
  }

  // as the system, light, dark, and round again
  document.addEventListener("whichland:next-theme", () => {
    const order = ["auto", "light", "dark"];
    theme = order[(order.indexOf(theme) + 1) % order.length];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // it holds until the page is left
    }
    apply();
  });
  system.addEventListener("change", apply);
  apply();
})();

// Straight from a disk browsers run none of the page's other scripts, so it would stand there dead, without a word.
if (location.protocol === "file:")
  addEventListener("DOMContentLoaded", () => {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent =
      "Opened straight from a disk, this page cannot work. Start a host in its folder: python -m http.server, and open http://127.0.0.1:8000";
    document.getElementById("main").prepend(note);
  });
