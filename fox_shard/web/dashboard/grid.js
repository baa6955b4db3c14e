// A table of any length, of which only the visible rows are in the page.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { cut, visible } from "./format.js";
import { useId } from "./ui.js";

const ROW = 36;
const BEYOND = 8;
/** Characters of a cell; there is room for fewer. */
const LONGEST = 400;

/** The range of rows that are visible, and what the scrolling element needs. */
export function useWindow(count, rowHeight = ROW) {
  const ref = useRef(null);
  const [view, setView] = useState({ top: 0, height: 480 });
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    const look = () => setView({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  const first = Math.max(0, Math.min(count, Math.floor(view.top / rowHeight)) - BEYOND);
  const last = Math.min(count, Math.ceil((view.top + view.height) / rowHeight) + BEYOND);
  const reveal = (index) => {
    const element = ref.current;
    if (!element) return;
    const start = index * rowHeight;
    const header = element.querySelector("[data-header]")?.offsetHeight ?? 0;
    if (start < element.scrollTop) element.scrollTop = start;
    else if (start + rowHeight > element.scrollTop + element.clientHeight - header) {
      element.scrollTop = start + rowHeight - element.clientHeight + header;
    }
  };
  const page = Math.max(1, Math.floor(view.height / rowHeight) - 2);
  return { ref, first, last, reveal, page };
}

/** The index to which a key leads, or null. */
export function move(key, index, count, page) {
  const to = {
    ArrowDown: index + 1,
    ArrowUp: index - 1,
    PageDown: index + page,
    PageUp: index - page,
    Home: 0,
    End: count - 1,
  }[key];
  return to === undefined ? null : Math.max(0, Math.min(count - 1, to));
}

/**
 * columns: [{name, width (of CSS grid), show(row), minor: left out on narrow screens, right: aligned}].
 * rows: all of them. keyOf(row): what names it. onOpen(row): by Enter or a click. onRange(first, last):
 * which rows are visible. selected: the key of the open row.
 */
export function Grid({ label, columns, rows, keyOf, onOpen, onRange, selected, tall }) {
  const id = useId("grid");
  const { ref, first, last, reveal, page } = useWindow(rows.length);
  const [active, setActive] = useState(0);
  const at = Math.min(active, rows.length - 1);
  useEffect(() => onRange?.(first, last), [first, last, rows]);
  const widths = columns.map(({ width = "minmax(6rem, 1fr)" }) => width).join(" ");
  const major = columns
    .filter(({ minor }) => !minor)
    .map(({ width = "minmax(4rem, 1fr)" }) => width)
    .join(" ");
  const columnStyle = { "--columns": widths, "--columns-narrow": major };
  const onKeyDown = (event) => {
    if (event.key === "Enter" || event.key === " ") {
      if (onOpen && rows[at]) {
        event.preventDefault();
        onOpen(rows[at]);
      }
      return;
    }
    const to = move(event.key, at, rows.length, page);
    if (to === null) return;
    event.preventDefault();
    setActive(to);
    reveal(to);
  };
  return html`
    <div
      class=${tall ? "grid-box tall" : "grid-box"}
      ref=${ref}
      role="grid"
      tabindex="0"
      aria-label=${label}
      aria-rowcount=${rows.length + 1}
      aria-colcount=${columns.length}
      aria-activedescendant=${rows.length ? `${id}-${at}` : undefined}
      style=${columnStyle}
      onKeyDown=${onKeyDown}
    >
      <div class="grid-row header" role="row" aria-rowindex="1" data-header>
        ${columns.map(
          ({ name, minor, right }) => html`
            <div key=${name} role="columnheader" class=${cellClass(minor, right)}>${name}</div>`,
        )}
      </div>
      <div class="grid-body" role="rowgroup" style=${{ height: `${rows.length * ROW}px` }}>
        ${rows.slice(first, last).map((row, offset) => {
          const index = first + offset;
          const key = keyOf(row);
          const classes = ["grid-row"];
          if (index === at) classes.push("active");
          if (selected !== undefined && key === selected) classes.push("selected");
          if (onOpen) classes.push("opens");
          return html`
            <div
              key=${key}
              id=${`${id}-${index}`}
              class=${classes.join(" ")}
              role="row"
              aria-rowindex=${index + 2}
              aria-selected=${selected !== undefined ? key === selected : undefined}
              style=${{ transform: `translateY(${index * ROW}px)` }}
              onClick=${() => {
                setActive(index);
                onOpen?.(row);
              }}
            >
              ${columns.map(
                ({ name, show, minor, right }) => html`
                  <div key=${name} role="gridcell" class=${cellClass(minor, right)}>${shown(show(row))}</div>`,
              )}
            </div>`;
        })}
      </div>
    </div>`;
}

function shown(content) {
  return typeof content === "string" ? visible(cut(content, LONGEST)) : content;
}

function cellClass(minor, right) {
  return ["cell", minor ? "minor" : "", right ? "right" : ""].join(" ");
}
