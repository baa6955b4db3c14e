// Topics and keys: a tree, a search, and one key whose value is watched and changed.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { duration, number, timeOf, visible } from "../format.js";
import { move, useWindow } from "../grid.js";
import { KeySearch, KeyTree } from "../keytree.js";
import { note, route } from "../route.js";
import { useStore } from "../store.js";
import { Empty, Field, Heading, Problem, sentence, useId, useSession, useSettled } from "../ui.js";
import { KeyDetails, NewKey } from "./key.js";

const EVERY = 5000;
/** Pages that may be asked for anew every time; beyond, somebody has to ask for it. */
const FEW_PAGES = 12;

export function Keys() {
  const session = useSession();
  const { query } = useStore(route);
  const [search, setSearch] = useState(query.search ?? "");
  const [making, setMaking] = useState(false);
  const wanted = useSettled(search.trim());
  const [turn, redraw] = useState(0);
  const changed = () => redraw((count) => count + 1);
  const tree = useMemo(() => session && new KeyTree(session, changed), [session]);
  const found = useMemo(() => (session && wanted ? new KeySearch(session, wanted, changed) : null), [session, wanted]);
  useEffect(() => {
    tree?.load("");
    if (tree && query.topic) tree.reveal(query.topic);
    const timer = setInterval(() => {
      if (tree && document.visibilityState === "visible" && tree.pages <= FEW_PAGES) tree.refresh();
    }, EVERY);
    return () => clearInterval(timer);
  }, [tree]);
  const rows = useMemo(() => (found ?? tree)?.rows() ?? [], [tree, found, turn]);
  const total = found ? found.length : rows.filter(({ depth }) => depth === 1).reduce((sum, { below = 0, key }) => sum + below + (key ? 1 : 0), 0);
  const open = (topic) => note({ ...(wanted ? { search: wanted } : {}), topic });
  const shownCount = found
    ? `${found.more ? "More than " : ""}${number(total)} found.`
    : rows.length ? `${rows.at(-1)?.kind === "more" ? "More than " : ""}${number(total)} keys.` : "";
  return html`
    <${Heading} title="Keys" about="The retained values of topics. What you open is shown live.">
      ${tree && tree.pages > FEW_PAGES && html`<button onClick=${() => tree.refresh()}>Refresh</button>`}
      <button class="primary" onClick=${() => setMaking(true)}>New key…</button>
    <//>
    <div class="bar">
      <${Field} label="Search" type="search" placeholder="part of a topic, or home.*.door" value=${search}
        onInput=${(event) => setSearch(event.target.value)} />
      <p class="quiet" role="status">${shownCount}</p>
    </div>
    <${Problem} error=${(found ?? tree)?.error} />
    <div class="split">
      ${rows.length
        ? html`<${Tree} rows=${rows} tree=${found ? null : tree} load=${(above) => (found ? found.load() : tree.load(above))} selected=${query.topic} open=${open} />`
        : (found ?? tree)?.error ? null : html`<${Nothing} wanted=${wanted} loading=${!session || (found ?? tree)?.more !== false && !rows.length && turn === 0} make=${() => setMaking(true)} />`}
      ${query.topic !== undefined && html`<${KeyDetails} key=${query.topic} topic=${query.topic} changed=${() => tree?.refresh()} close=${() => note(wanted ? { search: wanted } : {})} />`}
    </div>
    ${!wanted && rows.length > 0 && rows.every(({ topic }) => /^\$SYS(\.|$)/.test(topic)) && html`<${Nothing} make=${() => setMaking(true)} />`}
    ${making && html`<${NewKey} onClose=${() => setMaking(false)} made=${(topic) => {
      setMaking(false);
      tree?.refresh().then(() => tree.reveal(topic));
      open(topic);
    }} />`}`;
}

function Nothing({ wanted, loading, make }) {
  if (loading) return html`<p class="quiet">Asking the shards…</p>`;
  if (wanted) {
    return html`<${Empty} title="No key matches."><p>Search for a part of a topic, or for a pattern: <code>*</code> is one component, a last <code>#</code> any number.</p><//>`;
  }
  return html`
    <${Empty} title="There are no keys of clients yet.">
      <p>A message that is published with <code>retain</code> stays as its topic's key. <button class="link" onClick=${make}>Make one here</button>, or:</p>
      <pre>fox put home.kitchen.lamp on${"\n"}mosquitto_pub -t home/kitchen/lamp -m on -r</pre>
    <//>`;
}

/** The tree, of which only the visible rows are in the page. */
function Tree({ rows, tree, load, selected, open }) {
  const id = useId("tree");
  const { ref, first, last, reveal, page } = useWindow(rows.length, 30);
  const [active, setActive] = useState(0);
  const at = Math.min(active, rows.length - 1);
  const typed = useRef({ text: "", at: 0 });
  useEffect(() => {
    for (const row of rows.slice(first, last)) if (row.kind === "more") load(row.above);
  }, [first, last, rows]);
  const goTo = (index, isTyped = false) => {
    if (!isTyped) typed.current.text = "";
    setActive(index);
    reveal(index);
  };
  const press = (row) => {
    if (row.kind !== "entry") load(row.above);
    else if (row.key) open(row.topic);
    else tree?.toggle(row.topic);
  };
  const onKeyDown = (event) => {
    const row = rows[at];
    const to = move(event.key, at, rows.length, page);
    if (to !== null) goTo(to);
    else if (event.key === "Enter" || event.key === " ") press(row);
    else if (event.key === "ArrowRight" && row.below) row.isOpen ? goTo(at + 1) : tree?.toggle(row.topic, true);
    else if (event.key === "ArrowLeft" && row.isOpen) tree?.toggle(row.topic, false);
    else if (event.key === "ArrowLeft") {
      const above = rows.slice(0, at).findLastIndex(({ depth }) => depth < row.depth);
      if (above >= 0) goTo(above);
    } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) {
      // Typing leads to the next row that begins with it.
      const now = performance.now();
      typed.current = { text: (now - typed.current.at < 700 ? typed.current.text : "") + event.key.toLowerCase(), at: now };
      const begins = (one) => one.name?.toLowerCase().startsWith(typed.current.text);
      const next = rows.findIndex((one, index) => index >= at + (typed.current.text.length === 1 ? 1 : 0) && begins(one));
      if (next >= 0) goTo(next, true);
    } else return;
    event.preventDefault();
  };
  return html`
    <div class="tree" ref=${ref} role="tree" aria-label="Topics" tabindex="0" aria-activedescendant=${`${id}-${at}`} onKeyDown=${onKeyDown}>
      <div class="tree-body" role="presentation" style=${{ height: `${rows.length * 30}px` }}>
        ${rows.slice(first, last).map((row, offset) => {
          const index = first + offset;
          const classes = ["tree-row", row.kind];
          if (index === at) classes.push("active");
          if (row.topic === selected && row.key) classes.push("selected");
          return html`
            <div key=${row.topic} id=${`${id}-${index}`} class=${classes.join(" ")} role="treeitem"
              aria-level=${row.depth} aria-expanded=${row.below ? row.isOpen : undefined} aria-selected=${row.topic === selected}
              aria-posinset=${row.place} aria-setsize=${row.count}
              style=${{ transform: `translateY(${index * 30}px)`, paddingLeft: `${(row.depth - 1) * 18 + 6}px` }}
              onClick=${() => {
                goTo(index);
                press(row);
              }}>
              <${Row} row=${row} toggle=${() => {
                goTo(index);
                tree?.toggle(row.topic);
              }} />
            </div>`;
        })}
      </div>
    </div>`;
}

function Row({ row, toggle }) {
  if (row.kind === "more") return html`<span class="quiet">loading more…</span>`;
  if (row.kind === "error") return html`<span class="trouble">${sentence(row.error.message)}</span>`;
  const press = (event) => {
    event.stopPropagation();
    toggle();
  };
  return html`
    <span class=${`twisty ${row.below ? (row.isOpen ? "open" : "closed") : ""}`} aria-hidden="true" onClick=${row.below ? press : undefined}></span>
    <span class="tree-name">${visible(row.name) || html`<i>(empty)</i>`}</span>
    ${row.below > 0 && html`<span class="count">${number(row.below)}<span class="sr"> keys below</span></span>`}
    <span class="space"></span>
    ${row.key && html`<span class="tree-key">
      ${row.key.waiters ? html`<span class="tag">${number(row.key.waiters)} waiting</span>` : ""}
      ${row.key.weak ? html`<span class="tag">weak</span>` : ""}
      <span class="age">${duration((Date.now() - timeOf(row.key.publication)) / 1000)}</span>
    </span>`}`;
}
