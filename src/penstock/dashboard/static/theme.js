// The chosen theme, set before the first paint; without a choice the system's is followed.
"use strict";
(() => {
  const NAME = "penstock-theme";
  const THEMES = ["system", "light", "dark"];
  const root = document.documentElement;

  function stored() {
    try {
      return localStorage.getItem(NAME);
    } catch {
      return null; // storage may be forbidden
    }
  }

  function set(theme) {
    root.dataset.theme = THEMES.includes(theme) ? theme : "system";
  }

  function next() {
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    set(theme);
    try {
      localStorage.setItem(NAME, theme);
    } catch {
      /* it is then not remembered */
    }
    return theme;
  }

  set(stored());
  window.penstockTheme = { next };
})();
