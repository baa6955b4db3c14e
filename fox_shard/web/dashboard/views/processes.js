// Each process: how it is, its load and memory, and what it has refused.

import { html } from "../vendor/preact-htm.js";
import { Chart, Sparkline } from "../chart.js";
import { bytes, clock, duration, milliseconds, number, percent } from "../format.js";
import { kindOf, series, status, timesSeries } from "../status.js";
import { useStore } from "../store.js";
import { Badge, Facts, Heading, Problem } from "../ui.js";
import { Forbidden } from "./overview.js";

const BADGES = { ok: "good", degraded: "warn", starting: "wait", unavailable: "warn", down: "bad" };
const MEANINGS = {
  starting: "It runs, and loads its data.",
  unavailable: "It runs, and waits for the processes that it needs.",
  degraded: "It works, but something is wrong.",
  down: "It does not run. Its supervisor should start it again at once: look at its log.",
};
const ABOUT = {
  gateway: "accepts clients",
  shard: "owns topics, keys and procedures",
  coordinator: "knows all sessions",
  web: "serves HTTP and this page",
  worker: "runs reducers in Python, and webhooks",
  router: "is all of the server, in one process",
};

const MOST_LINES = 8;
/** Titles of charts, histograms, what kind of process measures them, what is said without any. */
const TIMES = [
  ["Deliveries, 99th percentile", "delivery_seconds", "gateway", "Nothing was delivered yet."],
  ["Calls, 99th percentile", "call_seconds", "gateway", "Nothing was called yet."],
  ["Commits, 99th percentile", "commit_seconds", "shard", "Nothing was stored yet."],
];

export function Processes() {
  const { latest, error, samples, events } = useStore(status);
  if (error?.status === 403) return html`<${Forbidden} />`;
  const processes = latest?.processes ?? [];
  const isOne = processes.some(({ name }) => name === "router");
  const busy = processes.filter(({ cores }) => cores >= 0.85);
  return html`
    <${Heading} title="Processes" about=${isOne ? "All of them are parts of one process, the router." : "Kill one and watch: the others go on, and its supervisor starts it again."} />
    <${Problem} error=${error} />
    ${busy.length > 0 && html`<${Busy} busy=${busy} all=${processes} />`}
    <div class="processes">
      ${processes.map((one) => html`<${Process} key=${one.name} process=${one} samples=${samples} />`)}
    </div>
    ${events.length > 0 && html`
      <section class="card" aria-labelledby="log">
        <h2 id="log">What has happened</h2>
        <ol class="events" aria-live="polite">
          ${events.map(({ at, kind, text }) => html`
            <li key=${`${at} ${text}`}><time>${clock(at)}</time><span class=${`mark ${kind}`} aria-hidden="true"></span>${text}</li>`)}
        </ol>
      </section>`}
    <div class="charts">
      <${Chart} title="Memory" format=${bytes} least=${1 << 20} binary=${true}
        lines=${processes.filter((one) => one.memory).slice(0, MOST_LINES).map(({ name }) => ({ name, points: series(samples, (one) => one.processes[name]?.memory || null) }))} />
      ${TIMES.map(([title, histogram, kind, empty]) => html`
        <${Chart} key=${title} title=${title} format=${milliseconds} least=${5} empty=${empty}
          lines=${processes.filter(({ name }) => kindOf(name) === kind).slice(0, MOST_LINES)
            .map(({ name }) => ({ name, points: timesSeries(samples, histogram, 0.99, name) }))} />`)}
    </div>`;
}

function Busy({ busy, all }) {
  const advice = ["gateway", "shard"].map((kind) => {
    const ofKind = all.filter(({ name }) => kindOf(name) === kind);
    const few = busy.filter(({ name }) => kindOf(name) === kind);
    if (!few.length) return null;
    const setting = kind === "gateway" ? "FOX_GATEWAYS" : "FOX_SHARDS";
    return few.length === ofKind.length
      ? html`<p key=${kind}>All ${kind}s are busy: one more would help, if there is a core for it (<code>${setting}</code> in <code>conf/fox.conf</code>).</p>`
      : html`<p key=${kind}>${few.map(({ name }) => name).join(", ")}: busy, while the other ${kind}s are not. ${kind === "gateway" ? "Some connections are much busier than the rest." : "Some topics or procedures are much busier than the rest."}</p>`;
  });
  return html`<div class="note warn">${advice}</div>`;
}

function Process({ process, samples }) {
  const { name, status: state, cores, memory, pid, unlinked = [], gauges = {}, about = {} } = process;
  const rates = samples.at(-1)?.processes[name]?.rates ?? {};
  const kind = kindOf(name);
  const meaning = about.reason ?? MEANINGS[state];
  const facts = {
    gateway: [
      ["sessions", number(gauges.sessions ?? about.sessions)],
      ["subscriptions", number(gauges.subscriptions)],
      ["messages", rates["wamp.messages_in"] === undefined ? null : `${number(rates["wamp.messages_in"] + rates["mqtt.messages_in"])} in, ${number(rates["wamp.messages_out"] + rates["mqtt.messages_out"])} out a second`],
      ["waits for slow clients", gauges.client_buffers ? bytes(gauges.client_buffers) : null],
    ],
    shard: [
      ["keys", number(gauges.keys ?? about.keys)],
      ["frames", rates.frames === undefined ? null : `${number(rates.frames)} a second`],
      ["commits", rates.commit_seconds ? `${number(rates.commit_seconds)} a second` : null],
      ["waiting calls", gauges.queue_depth ? number(gauges.queue_depth) : null],
      ["waiting publishes", gauges.waiting_publishes ? number(gauges.waiting_publishes) : null],
      ["events for reducers", gauges.reducer_queue ? number(gauges.reducer_queue) : null],
      ["for other shards", gauges.outbox_bytes ? bytes(gauges.outbox_bytes) : null],
    ],
    coordinator: [["sessions", number(about.sessions)]],
    web: [["connections", number(about.connections)], ["WebSockets", about.websockets === undefined ? null : number(about.websockets)], ["event streams", number(about.streams)]],
    worker: [["realms", number(about.realms)]],
  }[kind] ?? [];
  return html`
    <article class=${`card process ${state}`} aria-label=${name}>
      <header>
        <div><h2>${name}</h2><p class="quiet">${ABOUT[kind] ?? ""}</p></div>
        <${Badge} kind=${BADGES[state] ?? "warn"}>${state}<//>
      </header>
      ${meaning && html`<p class="trouble">${meaning}</p>`}
      ${unlinked.length > 0 && state !== "down" && html`<p class="trouble">Not linked to ${unlinked.join(", ")}.</p>`}
      ${Object.entries(about.stores ?? {}).map(([shard, why]) => html`<p key=${shard} class="trouble">${shard} cannot store: ${why}</p>`)}
      ${about.store && html`<p class="trouble">The store fails: ${about.store}</p>`}
      ${state !== "down" && html`
        <div class="load">
          ${cores !== undefined && html`
            <span class="load-text"><b>${percent(cores)}</b> of a core</span>
            <${Sparkline} top=${1} points=${series(samples, (one) => one.processes[name]?.cores)} />`}
        </div>
        <${Facts} facts=${[["memory", memory ? bytes(memory) : null], ...facts, ["up for", about.uptime === undefined ? null : duration(about.uptime)], ["process id", pid || null]]} />`}
      ${Object.keys(about.refused ?? {}).length > 0 && html`
        <details><summary>Refused because of a limit</summary>
          <${Facts} facts=${Object.entries(about.refused).map(([limit, count]) => [limit, number(count)])} />
        </details>`}
    </article>`;
}
