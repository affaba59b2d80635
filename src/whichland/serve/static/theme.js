// Loaded before anything is drawn, so that the page does not flash in the other colours.
(() => {
  try {
    const theme = localStorage.getItem("whichland.theme");
    if (theme) document.documentElement.dataset.theme = theme;
  } catch {
    // a browser that keeps nothing follows the system's colours
  }
})();
