// Tables and aggregates: their rows, how far aggregates are, and whether they are right.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { fetchJson, connection } from "../connection.js";
import { brief, isObject, number, parseJson, plural } from "../format.js";
import { Grid } from "../grid.js";
import { note, route } from "../route.js";
import { useStore } from "../store.js";
import { Badge, Empty, Field, Heading, Json, Problem, useId, usePolled, useSession } from "../ui.js";

const PAGE = 500;
/** Milliseconds after which rows are read anew, as long as nobody has asked for more of them. */
const EVERY = 3000;

export function Tables() {
  const { query } = useStore(route);
  const { data, error } = usePolled(async (session) => (await session.call("fox.table.list")).args[0], 5000);
  const chosen = data?.find(({ table }) => table === query.table) ?? data?.[0];
  return html`
    <${Heading} title="Tables" about="Keys with a schema, and aggregates that the server computes from them." />
    <${Problem} error=${error} />
    ${data?.length === 0 && html`
      <${Empty} title="This realm has no tables.">
        <p>Give it a schema: <code>fox schema set schema.json</code>, or <code>schema = "schema.json"</code> below its <code>[[realm]]</code>.</p>
      <//>`}
    ${data?.length > 0 && html`
      <ul class="choices" aria-label="Tables">
        ${data.map((one) => html`
          <li key=${one.table}>
            <button class=${one === chosen ? "choice chosen" : "choice"} aria-pressed=${one === chosen} onClick=${() => note({ table: one.table })}>
              <b>${one.table}</b>
              <span class="quiet">${plural(one.rows, "row")}</span>
              ${one.aggregate ? html`<${Badge} kind=${one.complete ? "good" : "wait"}>${one.complete ? "aggregate" : `being computed: ${one.scanned} of ${one.shards} shards`}<//>` : html`<${Badge} kind="plain">table<//>`}
            </button>
          </li>`)}
      </ul>`}
    ${chosen && html`<${Rows} key=${chosen.table} table=${chosen} />`}`;
}

function Rows({ table }) {
  const session = useSession();
  const [filter, setFilter] = useState("");
  const [wanted, setWanted] = useState(null);
  const [state, setState] = useState({ rows: [], more: true, after: null, error: null, known: false });
  const [opened, setOpened] = useState(null);
  const read = async (after) => {
    try {
      const options = { limit: PAGE, ...(wanted ? { filter: wanted } : {}), ...(after ? { after } : {}) };
      const { args, kwargs } = await session.call("fox.table.rows", [table.table, options]);
      setState((before) => ({ rows: after ? [...before.rows, ...args[0]] : args[0], more: kwargs.more, after: kwargs.after, error: null, known: true }));
    } catch (error) {
      setState((before) => ({ ...before, error, known: true }));
    }
  };
  const isFirstPage = useRef(true);
  isFirstPage.current = state.rows.length <= PAGE;
  useEffect(() => {
    if (!session) return undefined;
    read(null);
    const timer = setInterval(() => {
      if (document.visibilityState === "visible" && isFirstPage.current) read(null);
    }, EVERY);
    return () => clearInterval(timer);
  }, [session, wanted]);
  const fields = useMemo(() => {
    const names = new Set();
    for (const row of state.rows.slice(0, 100)) for (const name of Object.keys(row)) names.add(name);
    return [...names].slice(0, 8);
  }, [state.rows]);
  const columns = fields.map((name, index) => ({
    name,
    minor: index > 2,
    show: (row) => (typeof row[name] === "string" ? row[name] : row[name] === undefined ? "" : brief(row[name], 80)),
  }));
  const submit = (event) => {
    event.preventDefault();
    try {
      setWanted(parseJson(filter, "Filter", isObject, null));
    } catch (error) {
      setState((before) => ({ ...before, error }));
    }
  };
  return html`
    <form class="bar" onSubmit=${submit}>
      <${Field} label="Filter" placeholder='{"customer": "acme"}' value=${filter} onInput=${(event) => setFilter(event.target.value)} />
      <button type="submit">Apply</button>
      <button type="button" onClick=${() => read(null)}>Refresh</button>
      <p class="quiet" role="status">${state.known ? `${number(state.rows.length)} of ${number(table.rows)} rows are shown.` : ""}</p>
    </form>
    <${Problem} error=${state.error} />
    <div class="split">
      <div class="stack">
        ${state.rows.length > 0 && html`
          <${Grid} label=${`Rows of ${table.table}`} columns=${columns} rows=${state.rows} keyOf=${(row) => JSON.stringify(row)} onOpen=${setOpened} tall />
          ${state.more && html`<button onClick=${() => read(state.after)}>More rows</button>`}`}
        ${state.known && !state.rows.length && !state.error && html`
          <${Empty} title=${wanted ? "No row meets the filter." : "The table has no rows."}>
            <p>${table.aggregate ? "An aggregate has a row for each group of the rows of others." : html`Publish a document to <code>${table.table}</code>: <code>fox put ${table.table} '{…}'</code>`}</p>
          <//>`}
        ${table.aggregate && html`<${Verify} table=${table.table} />`}
      </div>
      ${opened && html`<${Row} row=${opened} close=${() => setOpened(null)} />`}
    </div>`;
}

function Row({ row, close }) {
  const heading = useId("row");
  return html`
    <section class="card details" aria-labelledby=${heading}>
      <header class="details-head"><h2 id=${heading}>Row</h2><button class="plain" onClick=${close} aria-label="Close the details">✕</button></header>
      <${Json} label="Row" value=${row} />
    </section>`;
}

function Verify({ table }) {
  const [state, setState] = useState(null);
  const { realm } = useStore(connection);
  const verify = async () => {
    setState({ running: true });
    try {
      const path = `api/aggregates/${encodeURIComponent(table)}?realm=${encodeURIComponent(realm)}`;
      setState({ found: await fetchJson(path) });
    } catch (error) {
      setState({ error });
    }
  };
  return html`
    <section class="card verify">
      <h3>Verify this aggregate</h3>
      <p class="quiet">This reads all rows that contribute, computes the aggregate anew, and compares.</p>
      <div class="buttons"><button onClick=${verify} disabled=${state?.running}>Verify</button><span role="status">${state?.running ? "Reading all rows…" : ""}</span></div>
      <${Problem} error=${state?.error} />
      ${state?.found && html`
        <div class=${`note ${state.found.wrong.length || state.found.left_out.length ? "bad" : "good"}`} role="status">
          <p><b>${state.found.wrong.length ? `${plural(state.found.wrong.length, "row is", "rows are")} wrong.` : "All rows are right."}</b>
            ${plural(state.found.rows, "row")}, made of ${plural(state.found.contributions, "contribution")}.</p>
          ${state.found.left_out.map((one) => html`<p key=${one}>${one}</p>`)}
        </div>
        ${state.found.wrong.length > 0 && html`<${Json} label="What is wrong" value=${state.found.wrong.slice(0, 100)} />`}`}
    </section>`;
}
