// How numbers, times and values are written.

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number with the digits that matter: 3.2, 47, 1,204, 1.2 M. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(1)} G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (size > 0 && size < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString("en");
}

export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let step = 0;
  while (value >= 1024 && step < SIZES.length - 1) {
    value /= 1024;
    step += 1;
  }
  return `${step && value < 10 ? value.toFixed(1) : Math.round(value)} ${SIZES[step]}`;
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

/** A duration in words: 3 s, 5 min, 2 h, 4 days. */
export function duration(seconds) {
  const rounded = Math.max(0, Math.round(seconds));
  if (rounded < 60) return `${rounded} s`;
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min`;
  if (rounded < 172800) return `${Math.floor(rounded / 3600)} h`;
  return `${Math.floor(rounded / 86400)} days`;
}

export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}

export function dateAndTime(milliseconds) {
  const date = new Date(milliseconds);
  return `${date.toLocaleDateString("en-CA")} ${date.toLocaleTimeString("en-GB")}`;
}

const EPOCH = 1704067200; // 2024-01-01, the beginning of the time in publication ids
const TICKS = 131072 * 64; // per second, times the shards (fox_shard/topics/ids.py)

/** When a publication was made, in milliseconds since 1970: its id contains the time. */
export function timeOf(publication) {
  return (EPOCH + publication / TICKS) * 1000;
}

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** The value of a publication, as MQTT clients get it (docs/semantics.md, Payloads). */
export function valueOf(args = [], kwargs = {}) {
  if (Object.keys(kwargs).length === 0) return args.length === 1 ? args[0] : args;
  return args.length ? { args, kwargs } : kwargs;
}

/** JSON on one line, cut off. */
export function brief(value, most = 200) {
  return visible(cut(write(value, most, ""), most));
}

/** JSON on many lines; of more than `most` characters it has the first ones, and some more. */
export function pretty(value, most) {
  return write(value, most, "  ");
}

const FULL = Symbol("full");

/** Write JSON until it has more than `most` characters: what is behind them may be millions, and costs nothing. */
function write(value, most, indent) {
  let text = "";
  const add = (part) => {
    text += part;
    if (text.length > most) throw FULL;
  };
  const each = (open, items, close, margin) => {
    const inner = indent && `${margin}${indent}`;
    let count = 0;
    add(open);
    for (const [name, item] of items) {
      add(`${count ? "," : ""}${inner}`);
      if (name !== null) add(`${JSON.stringify(name.slice(0, most + 1))}:${indent && " "}`);
      walk(item, inner);
      count += 1;
    }
    add(count ? `${margin}${close}` : close);
  };
  const walk = (one, margin) => {
    if (Array.isArray(one)) each("[", elements(one), "]", margin);
    else if (isObject(one)) each("{", members(one), "}", margin);
    else add(JSON.stringify(typeof one === "string" ? one.slice(0, most + 1) : one) ?? "null");
  };
  try {
    walk(value, indent && "\n");
  } catch (error) {
    if (error !== FULL) throw error;
  }
  return text;
}

function* elements(list) {
  for (const item of list) yield [null, item];
}

function* members(object) {
  for (const name in object) yield [name, object[name]];
}

/** A text, cut off. */
export function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

// Controls, and what joins, hides or turns the characters beside it; line ends of JSON are no part of these.
const INVISIBLE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;

/** A text of others, with escapes for characters that would make it look like another one. */
export function visible(text) {
  return (text ?? "").replace(INVISIBLE, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

/** What somebody has typed, as a value: JSON, or else text. */
export function parseValue(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What somebody has typed, as JSON of a kind; an empty text is `empty`. Throws a sentence. */
export function parseJson(text, what, isRight, empty) {
  if (!text.trim()) return empty;
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${what}: this is not JSON (${error.message}).`);
  }
  if (!isRight(value)) throw new Error(`${what}: this is JSON of another kind than is needed.`);
  return value;
}

export const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);
