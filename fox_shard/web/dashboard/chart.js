// Lines over time, as SVG.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { clock } from "./format.js";

const HEIGHT = 168;
const LEFT = 52, RIGHT = 8, TOP = 8, BOTTOM = 22;
const LONGEST = 5 * 60 * 1000;
const SHORTEST = 60 * 1000;
const TICKS = 4;

function useWidth() {
  const ref = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** The least round number that is not less: 1, 2, 4, 6 or 8 times a power of ten, or of 1024 for bytes. */
function roundUp(value, binary) {
  const base = binary ? 1024 ** Math.floor(Math.log(value) / Math.log(1024)) : 1;
  const power = 10 ** Math.floor(Math.log10(value / base));
  return base * power * [1, 2, 4, 6, 8, 10].find((factor) => factor * power * base >= value * 0.999999);
}

/** How long the lines are: as long as there are points. */
function spanOf(lines, end) {
  const begin = Math.min(...lines.flatMap(({ points }) => (points.length ? [points[0][0]] : [])));
  return Math.max(SHORTEST, Math.min(LONGEST, end - begin));
}

function path(points, x, y) {
  let text = "";
  let pen = "M";
  for (const [time, value] of points) {
    if (value === null) {
      pen = "M";
      continue;
    }
    text += `${pen}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  }
  return text;
}

/** Values without neighbours, which a line does not show: lines of no length, with round ends. */
function dots(points, x, y) {
  const isAlone = (index) => (points[index - 1]?.[1] ?? null) === null && (points[index + 1]?.[1] ?? null) === null;
  return points
    .filter(([, value], index) => value !== null && isAlone(index))
    .map(([time, value]) => `M${x(time).toFixed(1)} ${y(value).toFixed(1)}h0`)
    .join("");
}

const latestOf = (points) => points.at(-1)?.[1] ?? null;

/**
 * lines: [{name, points: [[milliseconds, value or null]]}]. format: writes a value. least: the
 * smallest end of the scale. binary: it has steps of 1024. empty: what is said while there are no points.
 */
export function Chart({ title, lines, format, least = 1, binary = false, empty = "Collecting the first values…" }) {
  const [ref, width] = useWidth();
  const [pointed, setPointed] = useState(null);
  const end = Math.max(...lines.map(({ points }) => points.at(-1)?.[0] ?? 0));
  const span = spanOf(lines, end);
  const minutes = Math.floor(span / 60000);
  const shown = lines.map(({ name, points }) => ({
    name,
    points: points.filter(([time]) => time >= end - span),
  }));
  const values = shown.flatMap(({ points }) => points.map(([, value]) => value ?? 0));
  const hasPoints = shown.some(({ points }) => points.some(([, value]) => value !== null));
  const top = roundUp(Math.max(least, ...values), binary);
  const x = (time) => LEFT + ((time - end + span) / span) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const summary = lines.map(({ name, points }) => `${name} ${format(latestOf(points))}`).join(", ");
  return html`
    <figure class="card chart">
      <figcaption>
        <h2>${title}</h2>
        <ul class="legend">
          ${lines.map(
            ({ name, points }, index) => html`
              <li key=${name}>
                <span class="swatch line-${index % 8}" aria-hidden="true"></span>${name}${" "}
                <b>${format(pointed === null ? latestOf(points) : valueAt(points, pointed))}</b>
              </li>`,
          )}
        </ul>
      </figcaption>
      <div class="plot" ref=${ref}>
        ${width > 0 && hasPoints
          ? html`
              <svg
                width=${width}
                height=${HEIGHT}
                role="img"
                aria-label=${`${title}, the last minutes; now: ${summary}`}
                onPointerMove=${(event) => {
                  const left = event.currentTarget.getBoundingClientRect().left;
                  const share = (event.clientX - left - LEFT) / (width - LEFT - RIGHT);
                  setPointed(share < 0 ? null : end - span + share * span);
                }}
                onPointerLeave=${() => setPointed(null)}
              >
                ${Array.from({ length: TICKS + 1 }, (_, step) => (top * step) / TICKS).map(
                  (value) => html`
                    <g key=${value}>
                      <line class="grid" x1=${LEFT} x2=${width - RIGHT} y1=${y(value)} y2=${y(value)} />
                      <text class="tick" x=${LEFT - 6} y=${y(value) + 4} text-anchor="end">
                        ${format(value)}
                      </text>
                    </g>`,
                )}
                ${Array.from({ length: minutes + 1 }, (_, ago) => ago)
                  .filter((ago) => width > 420 || minutes < 4 || ago % 2 === 0)
                  .map(
                    (ago) => html`
                      <text
                        key=${ago}
                        class="tick"
                        x=${x(end - ago * 60000)}
                        y=${HEIGHT - 4}
                        text-anchor=${ago === 0 ? "end" : x(end - ago * 60000) < LEFT + 16 ? "start" : "middle"}
                      >
                        ${ago === 0 ? "now" : `${ago} min`}
                      </text>`,
                  )}
                ${shown.map(
                  ({ name, points }, index) => html`
                    <g key=${name}>
                      <path class=${`line line-${index % 8}`} d=${path(points, x, y)} />
                      <path class=${`line dots line-${index % 8}`} d=${dots(points, x, y)} />
                    </g>`,
                )}
                ${pointed !== null &&
                html`
                  <line class="pointed" x1=${x(pointed)} x2=${x(pointed)} y1=${TOP} y2=${HEIGHT - BOTTOM} />
                  <text
                    class="tick"
                    x=${x(pointed)}
                    y=${TOP + 8}
                    dx=${x(pointed) > width / 2 ? -6 : 6}
                    text-anchor=${x(pointed) > width / 2 ? "end" : "start"}
                  >
                    ${clock(pointed)}
                  </text>`}
              </svg>`
          : html`<p class="quiet">${empty}</p>`}
      </div>
    </figure>`;
}

function valueAt(points, time) {
  let nearest = null;
  for (const point of points) {
    if (nearest === null || Math.abs(point[0] - time) < Math.abs(nearest[0] - time)) nearest = point;
  }
  return nearest?.[1] ?? null;
}

/** A small line without axes, beside a number that says the same. */
export function Sparkline({ points, top }) {
  const width = 96, height = 24;
  const end = points.at(-1)?.[0] ?? 0;
  const span = spanOf([{ points }], end);
  const x = (time) => width - ((end - time) / span) * width;
  const y = (value) => height - 1 - (Math.min(value, top) / top) * (height - 2);
  return html`
    <svg class="spark" width=${width} height=${height} aria-hidden="true">
      <path class="line line-0" d=${path(points.filter(([time]) => time >= end - span), x, y)} />
    </svg>`;
}
