// The keys of a realm as a tree, level by level: only what somebody has opened is asked for.
//
// Owns: what is known of each level, and the rows that the tree consists of. Never: how they are drawn.

const PAGE = 1000;

class Level {
  constructor(topic) {
    this.topic = topic;
    this.entries = new Map();
    this.after = "";
    this.more = true;
    this.loading = false;
    this.error = null;
  }
}

export class KeyTree {
  #session;
  #changed;
  #levels = new Map();
  #open = new Set();

  /** changed: called when there is something new to draw. */
  constructor(session, changed) {
    this.#session = session;
    this.#changed = changed;
  }

  isOpen(topic) {
    return this.#open.has(topic);
  }

  toggle(topic, open = !this.#open.has(topic)) {
    if (open) {
      this.#open.add(topic);
      if (!this.#levels.has(topic)) this.load(topic);
    } else {
      this.#open.delete(topic);
    }
    this.#changed();
  }

  /** Open all levels above a topic. */
  reveal(topic) {
    const parts = topic.split(".");
    for (let length = 1; length < parts.length; length += 1) {
      const above = parts.slice(0, length).join(".");
      if (!this.isOpen(above)) this.toggle(above, true);
    }
  }

  /** Ask for the next page of a level. */
  async load(topic) {
    const level = this.#levels.get(topic) ?? new Level(topic);
    this.#levels.set(topic, level);
    if (level.loading || !level.more) return;
    level.loading = true;
    try {
      const { args, kwargs } = await this.#session.call("fox.key.level", [topic, { after: level.after, limit: PAGE }]);
      this.#add(level, args[0]);
      level.more = kwargs.more;
      level.after = kwargs.after ?? "";
      level.error = null;
    } catch (error) {
      level.error = error;
      level.more = false;
    }
    level.loading = false;
    this.#changed();
  }

  /** Ask anew for what is known, as far as it was loaded. */
  async refresh() {
    const open = [...this.#levels.values()].filter(({ topic }) => topic === "" || this.isOpen(topic));
    for (const level of this.#levels.values()) if (!open.includes(level)) this.#levels.delete(level.topic);
    await Promise.all(open.map((level) => this.#reload(level)));
    this.#changed();
  }

  async #reload(old) {
    if (old.loading) return;
    const level = new Level(old.topic);
    level.loading = true;
    try {
      do {
        const { args, kwargs } = await this.#session.call("fox.key.level", [old.topic, { after: level.after, limit: PAGE }]);
        this.#add(level, args[0]);
        level.more = kwargs.more;
        level.after = kwargs.after ?? "";
      } while (level.more && level.entries.size < old.entries.size);
    } catch (error) {
      // What is known stays, as while a shard is down.
      old.error = error;
      return;
    }
    level.loading = false;
    this.#levels.set(old.topic, level);
  }

  /** Why the first level, or its latest state, is not known; null: it is. */
  get error() {
    return this.#levels.get("")?.error ?? null;
  }

  /** How many pages a refresh asks for. */
  get pages() {
    let pages = 0;
    for (const { entries } of this.#levels.values()) pages += Math.ceil(entries.size / PAGE) || 1;
    return pages;
  }

  #add(level, found) {
    for (const one of found) {
      // A key and what is below it are one entry, and come one after the other.
      const entry = level.entries.get(one.topic) ?? { topic: one.topic, key: null, below: 0 };
      if (one.keys === undefined) entry.key = one;
      else entry.below = one.keys;
      level.entries.set(one.topic, entry);
    }
  }

  /** All visible rows: {kind: "entry" | "more" | "error", level: depth, …}. */
  rows() {
    const rows = [];
    this.#collect("", 1, rows);
    return rows;
  }

  #collect(topic, depth, rows) {
    const level = this.#levels.get(topic);
    if (!level) return;
    const count = level.entries.size;
    let place = 0;
    for (const entry of level.entries.values()) {
      place += 1;
      const isOpen = entry.below > 0 && this.isOpen(entry.topic);
      const name = topic ? entry.topic.slice(topic.length + 1) : entry.topic;
      rows.push({ kind: "entry", ...entry, name, depth, isOpen, place, count: level.more ? -1 : count });
      if (isOpen) this.#collect(entry.topic, depth + 1, rows);
    }
    if (level.error && topic) rows.push({ kind: "error", topic: `${topic} error`, error: level.error, depth });
    else if (level.more) rows.push({ kind: "more", topic: `${topic} more`, above: topic, depth });
  }
}

/** The keys that a search finds, a page at a time; like `KeyTree`, but without levels. */
export class KeySearch {
  #session;
  #changed;
  #text;
  #found = [];
  #after = "";
  #loading = false;
  more = true;
  error = null;

  constructor(session, text, changed) {
    this.#session = session;
    this.#text = text;
    this.#changed = changed;
    this.load();
  }

  async load() {
    if (this.#loading || !this.more) return;
    this.#loading = true;
    const isPattern = /[*#]/.test(this.#text);
    const [topic, what] = isPattern ? [this.#text, {}] : ["", { contains: this.#text }];
    try {
      const { args, kwargs } = await this.#session.call("fox.key.list", [topic, { ...what, after: this.#after, limit: PAGE }]);
      this.#found.push(...args[0]);
      this.more = kwargs.more;
      this.#after = kwargs.after ?? "";
    } catch (error) {
      this.error = error;
      this.more = false;
    }
    this.#loading = false;
    this.#changed();
  }

  get length() {
    return this.#found.length;
  }

  rows() {
    const count = this.more ? -1 : this.#found.length;
    const rows = this.#found.map((key, index) => ({
      kind: "entry", topic: key.topic, key, below: 0, name: key.topic, depth: 1, isOpen: false, place: index + 1, count,
    }));
    if (this.more) rows.push({ kind: "more", topic: " more", above: null, depth: 1 });
    return rows;
  }
}
