// Rates and latencies over time, of one realm or all, and of each process.

import { html, useState } from "../vendor/preact-htm.js";
import { Chart } from "../chart.js";
import { bytes, milliseconds, number, percent } from "../format.js";
import { link } from "../route.js";
import { kindOf, realmsOf, series, status, timesSeries } from "../status.js";
import { useStore } from "../store.js";
import { Badge, Empty, Field, Heading, Problem, usePolled } from "../ui.js";

const ALL = "";
const MOST_LINES = 8;

/** Lines of what half of the times do not exceed, and 99 of 100. */
const medianAndMost = (samples, histogram) => [
  { name: "median", points: timesSeries(samples, histogram, 0.5) },
  { name: "99th percentile", points: timesSeries(samples, histogram, 0.99) },
];

const sumOf = (sample, realm, name) => {
  const realms = realm === ALL ? Object.values(sample.realms) : [sample.realms[realm]];
  const values = realms.map((one) => one?.[name]).filter((value) => value !== undefined);
  return values.length ? values.reduce((sum, value) => sum + value, 0) : null;
};

function Tile({ label, value, more, href }) {
  return html`
    <a class="tile" href=${href}>
      <span class="tile-label">${label}</span>
      <b>${value}</b>
      <span class="tile-more">${more}</span>
    </a>`;
}

const total = (processes, kind, name) => {
  const found = processes.filter((one) => kindOf(one.name) === kind && one.gauges?.[name] !== undefined);
  return found.length ? found.reduce((sum, one) => sum + one.gauges[name], 0) : null;
};

export function Overview() {
  const { latest, error, samples, events } = useStore(status);
  const [realm, setRealm] = useState(ALL);
  const sessions = usePolled(async (session) => (await session.call("wamp.session.count")).args[0], 5000);
  if (error?.status === 403) return html`<${Forbidden} />`;
  const realms = realmsOf(latest);
  const processes = latest?.processes ?? [];
  const well = processes.filter((one) => one.status === "ok").length;
  const last = samples.at(-1);
  const line = (name, metric) => ({ name, points: series(samples, (one) => sumOf(one, realm, metric)) });
  const twoLines = (name, direction) => ({
    name,
    points: series(samples, (one) => {
      const values = ["wamp", "mqtt"].map((protocol) => sumOf(one, realm, `${protocol}.${direction}`));
      return values[0] === null && values[1] === null ? null : (values[0] ?? 0) + (values[1] ?? 0);
    }),
  });
  const busiest = processes
    .filter((one) => one.cores !== undefined)
    .sort((one, other) => other.cores - one.cores)
    .slice(0, MOST_LINES)
    .map(({ name }) => name)
    .sort();
  return html`
    <${Heading} title="Overview">
      ${realms.length > 1 &&
      html`
        <${Field} as="select" label="Rates of" value=${realm} onChange=${(event) => setRealm(event.target.value)}>
          <option value=${ALL}>all realms</option>
          ${realms.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
        <//>`}
    <//>
    <${Problem} error=${error} />
    <div class="tiles">
      <${Tile} label="Processes" value=${latest ? `${well} of ${processes.length}` : "–"} href=${link("processes")}
        more=${latest && well < processes.length ? html`<${Badge} kind="bad">look<//>` : "are well"} />
      <${Tile} label="Sessions" value=${number(sessions.data ?? null)} more="in this realm" href=${link("sessions")} />
      <${Tile} label="Published" value=${number(last && sumOf(last, realm, "publishes"))} more="a second" href=${link("live")} />
      <${Tile} label="Delivered" value=${number(last && sumOf(last, realm, "deliveries"))} more="a second" href=${link("subscriptions")} />
      <${Tile} label="Calls" value=${number(last && sumOf(last, realm, "calls"))} more="a second" href=${link("registrations")} />
      <${Tile} label="Keys" value=${number(total(processes, "shard", "keys"))} more="in all realms" href=${link("keys")} />
    </div>
    ${events.length > 0 && html`<${Events} events=${events} />`}
    <div class="charts">
      <${Chart} title="Messages a second" format=${number} least=${10}
        lines=${[line("published", "publishes"), line("delivered", "deliveries"), line("calls", "calls")]} />
      <${Chart} title="Load of the processes" format=${percent} least=${0.2}
        lines=${busiest.map((name) => ({ name, points: series(samples, (one) => one.processes[name]?.cores) }))} />
      <${Chart} title="Bytes a second" format=${bytes} least=${1024} binary=${true}
        lines=${[twoLines("from clients", "bytes_in"), twoLines("to clients", "bytes_out")]} />
      <${Chart} title="Delivery times" format=${milliseconds} least=${5} empty="Nothing was delivered yet."
        lines=${medianAndMost(samples, "delivery_seconds")} />
      <${Chart} title="Call times" format=${milliseconds} least=${5}
        lines=${[...medianAndMost(samples, "call_seconds"), { name: "this page's call", points: series(samples, ({ roundTrip }) => roundTrip) }]} />
      <${Chart} title="Commit times" format=${milliseconds} least=${5} empty="Nothing was stored yet."
        lines=${medianAndMost(samples, "commit_seconds")} />
    </div>
    ${realms.length > 0 && html`<${Realms} realms=${realms} last=${last} />`}`;
}

function Events({ events }) {
  return html`
    <section class="card" aria-labelledby="happened">
      <h2 id="happened">What has happened</h2>
      <ol class="events" aria-live="polite">
        ${events.slice(0, 5).map(
          ({ at, kind, text }) => html`
            <li key=${`${at} ${text}`}>
              <time>${new Date(at).toLocaleTimeString("en-GB")}</time>
              <span class=${`mark ${kind}`} aria-hidden="true"></span>${text}
            </li>`,
        )}
      </ol>
    </section>`;
}

function Realms({ realms, last }) {
  const columns = [
    ["published", "publishes"], ["delivered", "deliveries"], ["dropped", "dropped_events"], ["calls", "calls"],
  ];
  return html`
    <section class="card scrolls" aria-labelledby="realms">
      <h2 id="realms">Realms</h2>
      <table>
        <thead><tr>
          <th scope="col">Realm</th>
          ${columns.map(([title]) => html`<th key=${title} scope="col" class="right">${title} / s</th>`)}
        </tr></thead>
        <tbody>
          ${realms.map((name) => html`
            <tr key=${name}>
              <th scope="row">${name}</th>
              ${columns.map(([title, metric]) => html`
                <td key=${title} class="right">${number(last?.realms[name]?.[metric] ?? null)}</td>`)}
            </tr>`)}
        </tbody>
      </table>
    </section>`;
}

export function Forbidden() {
  return html`
    <${Heading} title="Overview" />
    <${Empty} title="You may not see how the server is.">
      <p>This is for administrators: users whose role may call <code>fox.status</code>. Log in as one, or give your role the rule${" "}
        <code>{uri = "fox.status", allow = ["call"]}</code> in <code>conf/fox.toml</code>.</p>
    <//>`;
}
