// How the server is, asked every two seconds while somebody looks, and how it was in the last minutes, of
// which the server itself remembers a state every ten seconds.
//
// Owns: the samples, and rates computed from them. Never: how they are drawn.

import { connection, fetchJson } from "./connection.js";
import { Store } from "./store.js";
import { addUp, counted, quantile, since } from "./times.js";

const INTERVAL = 2000;
/** After a longer gap, such as that before the page was opened, the server is asked what was meanwhile. */
const GAP = 15000;
const KEPT = 10 * 60 * 1000;

/**
 * latest: the answer of /api/status, null: none yet. error: why there is none, with `status` of HTTP.
 * samples: see `sampleOf`, the oldest first. events: what has happened to processes, the latest first.
 */
export const status = new Store({ latest: null, error: null, samples: [], events: [] });

let timer = 0;
/** When this page has got the last answer, by its own clock. */
let taken = -Infinity;
let previous = new Map();
let gone = new Map();

export function follow() {
  const look = () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible" && connection.value.phase === "open") ask();
  };
  document.addEventListener("visibilitychange", look);
  let phase = "";
  connection.listen((value) => {
    if (value.phase === "open" && phase !== "open") {
      if (value.realm !== status.value.latest?.realm) forget();
      look();
    }
    phase = value.phase;
  });
}

function forget() {
  previous = new Map();
  gone = new Map();
  taken = -Infinity;
  status.set({ latest: null, error: null, samples: [], events: [] });
}

async function ask() {
  const { realm, session } = connection.value;
  if (!session) return; // It is looked again when there is one.
  try {
    const asked = performance.now();
    const known = status.value.samples.at(-1)?.at ?? 0;
    const missed = asked - taken > GAP ? await missedSince(known, realm) : [];
    const called = performance.now();
    const [latest, roundTrip] = await Promise.all([
      fetchJson(`api/status?realm=${encodeURIComponent(realm)}`),
      session.call("fox.status").then(() => performance.now() - called, () => null),
    ]);
    if (realm === connection.value.realm) {
      take(missed, latest, roundTrip);
      taken = asked;
    }
  } catch (error) {
    status.update({ error });
  }
  if (document.visibilityState === "visible" && connection.value.phase === "open") {
    // Who may not know it is not asked again and again.
    timer = setTimeout(ask, status.value.error?.status === 403 ? 15000 : INTERVAL);
  }
}

/** The states since then that the server remembers, in the form of /api/status. known: milliseconds. */
async function missedSince(known, realm) {
  const after = Math.floor(known / 1000);
  const { bounds, states } = await fetchJson(`api/status/recent?after=${after}&realm=${encodeURIComponent(realm)}`);
  return states.filter(({ at }) => at * 1000 > known).map((state) => ({ ...state, bounds }));
}

/** missed: states before the latest one, which the page has not asked for, the oldest first. */
function take(missed, latest, roundTrip) {
  let { samples, events, latest: before } = status.value;
  for (const state of [...missed, latest]) {
    const sample = sampleOf(state, state === latest ? roundTrip : null);
    samples = [...samples, sample];
    events = [...eventsOf(state, before, sample.at), ...events];
    before = state;
  }
  samples = samples.filter(({ at }) => latest.at * 1000 - at < KEPT);
  status.set({ latest, error: null, samples, events: events.slice(0, 50) });
}

/**
 * A point of the charts: {at, roundTrip, realms: {name: rates}, processes: {name: {...}}, times: {name:
 * buckets}, bounds}. Rates are per second, since the process's last report, and there are none if it has
 * just started. times: histograms of what all processes together have measured meanwhile.
 */
function sampleOf(latest, roundTrip) {
  const at = latest.at * 1000;
  const sample = { at, roundTrip, realms: Object.create(null), processes: {}, times: {}, bounds: latest.bounds };
  const seen = new Map();
  for (const process of latest.processes) {
    const before = previous.get(process.name);
    const reported = latest.at - (process.age ?? 0);
    const isNew = !before || before.pid !== process.pid;
    if (!isNew && reported - before.reported < 0.5) {
      // No report since the last look: the rates are the same.
      seen.set(process.name, before);
      add(sample, process, before);
      continue;
    }
    const seconds = isNew ? 0 : reported - before.reported;
    const rates = seconds ? rate(process.counters, before.counters, seconds) : {};
    // A realm may be called __proto__.
    const realmRates = Object.create(null);
    for (const [realm, counters] of Object.entries(process.realms ?? {})) {
      if (seconds) realmRates[realm] = rate(counters, before.realms?.[realm], seconds);
    }
    const times = {};
    for (const [name, buckets] of Object.entries(process.histograms ?? {})) {
      if (seconds) times[name] = since(buckets, before.histograms[name]);
    }
    const now = {
      pid: process.pid,
      reported,
      seconds,
      counters: process.counters ?? {},
      realms: process.realms ?? {},
      histograms: process.histograms ?? {},
      rates,
      realmRates,
      times,
    };
    seen.set(process.name, now);
    add(sample, process, now);
  }
  previous = seen;
  return sample;
}

function rate(now = {}, before = {}, seconds) {
  return Object.fromEntries(
    Object.entries(now).map(([name, value]) => [
      name,
      Math.max(0, (value - (before[name] ?? 0)) / seconds),
    ]),
  );
}

function add(sample, process, { rates, realmRates, times, seconds }) {
  const own = { ...rates };
  for (const [name, buckets] of Object.entries(times)) {
    addUp((sample.times[name] ??= buckets.map(() => 0)), buckets);
    own[name] = counted(buckets) / seconds;
  }
  for (const [realm, values] of Object.entries(realmRates)) {
    const sum = (sample.realms[realm] ??= Object.create(null));
    for (const [name, value] of Object.entries(values)) {
      sum[name] = (sum[name] ?? 0) + value;
      own[name] = (own[name] ?? 0) + value;
    }
  }
  sample.processes[process.name] = {
    status: process.status,
    cores: process.status === "down" ? null : (process.cores ?? null),
    memory: process.memory ?? null,
    rates: own,
    times,
  };
}

/** What has happened between two answers: processes that went, came back, started anew. */
function eventsOf(latest, last, at) {
  const events = [];
  for (const process of latest.processes) {
    const before = last?.processes.find(({ name }) => name === process.name);
    if (!last) continue;
    const isDown = process.status === "down";
    const wasDown = !before || before.status === "down";
    if (isDown && !wasDown) {
      gone.set(process.name, at);
      events.push({ at, name: process.name, kind: "down", text: `${process.name} is down.` });
    } else if (!isDown && (wasDown || (before.pid && process.pid && before.pid !== process.pid))) {
      const since = gone.get(process.name);
      const after = since ? ` after ${((at - since) / 1000).toFixed(0)} s` : "";
      const text =
        process.status === "ok"
          ? `${process.name} is back${after}, as process ${process.pid}.`
          : `${process.name} has started again${after}: ${process.status}.`;
      events.push({ at, name: process.name, kind: "back", text });
      gone.delete(process.name);
    } else if (before && before.status !== process.status && process.status !== "down") {
      const kind = process.status === "ok" ? "back" : "trouble";
      const text = kind === "back" ? `${process.name} is well again.` : `${process.name} is ${process.status}.`;
      events.push({ at, name: process.name, kind, text });
    }
  }
  return events.reverse();
}

/** The points of a chart: [time, value] of each sample. */
export function series(samples, value) {
  return samples.map((sample) => [sample.at, value(sample) ?? null]);
}

/**
 * The points of a chart: the time, in milliseconds, that this share of what a histogram has counted has
 * not exceeded. process: its name; null: of all processes together.
 */
export function timesSeries(samples, histogram, share, process = null) {
  return series(samples, (sample) => {
    const times = process === null ? sample.times : sample.processes[process]?.times;
    return quantile(times?.[histogram], sample.bounds, share);
  });
}

/** The names of all realms that something was counted for. */
export function realmsOf(latest) {
  const names = new Set();
  for (const { realms } of latest?.processes ?? []) {
    for (const name of Object.keys(realms ?? {})) names.add(name);
  }
  return [...names].sort();
}

export const kindOf = (name) => name.replace(/-[^-]*$/, "");
