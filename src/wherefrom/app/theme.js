// Light, dark, or as the system has it; kept for the next visit.

import { by } from "/dom.js";

const NAMES = { "": "as the system", light: "light", dark: "dark" };
const KEY = "wherefrom-theme";
const root = document.documentElement;
const button = by("theme");

function put(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  button.lastElementChild.textContent = NAMES[theme];
}

function kept() {
  try {
    const held = localStorage.getItem(KEY) ?? "";
    return held in NAMES ? held : "";
  } catch {
    return "";
  }
}

export function startTheme() {
  put(kept());
  button.addEventListener("click", () => {
    const names = Object.keys(NAMES);
    const next = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
    put(next);
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // a browser that keeps nothing still shows it
    }
  });
}
