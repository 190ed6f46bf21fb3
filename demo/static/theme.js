// Loaded before the page is drawn, so that a chosen scheme doesn't flash the other one first.
(() => {
  try {
    const scheme = localStorage.getItem("forum.theme");
    if (scheme === "light" || scheme === "dark") document.documentElement.dataset.theme = scheme;
  } catch {
    // storage is turned off: the system's scheme it is
  }
})();
