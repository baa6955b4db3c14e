// Light or dark: as the system has it, or as somebody has chosen here.

import { Store } from "./store.js";

const KEY = "fox-shard-theme";
const NEXT = { system: "light", light: "dark", dark: "system" };

export const theme = new Store(localStorage.getItem(KEY) ?? "system");

function apply(value) {
  if (value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

export function nextTheme() {
  const value = NEXT[theme.value] ?? "system";
  localStorage.setItem(KEY, value);
  apply(value);
  theme.set(value);
}

apply(theme.value);
