// Which view is shown: the part of the address behind #, such as #/keys?topic=home.door.

import { Store } from "./store.js";

export const route = new Store(read());

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path || "overview", query: Object.fromEntries(new URLSearchParams(query)) };
}

window.addEventListener("hashchange", () => route.set(read()));

export function link(view, query = {}) {
  const text = new URLSearchParams(query).toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

export function go(view, query) {
  location.hash = link(view, query);
}

/** Note in the address what the view shows, without a new entry in the browser's history. */
export function note(query) {
  const address = link(route.value.view, query);
  history.replaceState(null, "", address);
  route.set({ ...route.value, query });
}
