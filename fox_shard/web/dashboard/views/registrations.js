// Which procedures there are, who answers them, and how many calls wait.

import { html } from "../vendor/preact-htm.js";
import { number } from "../format.js";
import { status } from "../status.js";
import { useStore } from "../store.js";
import { Empty } from "../ui.js";
import { Registry } from "./registry.js";

const WHAT = {
  kind: "registration",
  title: "Registrations",
  named: "procedure",
  about: "Procedures and patterns that clients answer.",
  members: { procedure: "list_callees", one: "callee" },
  ask: async (session, id) => (await session.call("wamp.registration.get", [id])).args[0],
  columns: [
    { name: "Policy", width: "7rem", minor: true, show: ({ invoke }) => invoke },
    { name: "Callees", width: "4.5rem", right: true, show: (one) => number(one.x_callees) },
    { name: "Running", width: "5.5rem", right: true, minor: true, show: (one) => number(one.x_running) },
    { name: "Waiting", width: "4.5rem", right: true, show: (one) => html`<span class=${one.x_queued ? "loud" : ""}>${number(one.x_queued)}</span>` },
  ],
  facts: (one) => [
    ["invocation policy", one.invoke],
    ["calls that run", number(one.x_running)],
    ["calls that wait", number(one.x_queued)],
  ],
  empty: html`
    <${Empty} title="No procedure is registered.">
      <p>A client registers one, for example with <code>fox register com.example.upper -- tr a-z A-Z</code>; anybody can <a href="#/send">call</a> it then.</p>
    <//>`,
};

export function Registrations() {
  const { latest } = useStore(status);
  const depths = (latest?.processes ?? []).filter(({ gauges }) => gauges?.queue_depth);
  return html`
    <${Registry} what=${WHAT} />
    ${depths.length > 0 && html`<p class="quiet">Calls that wait for a callee, by shard: ${depths.map(({ name, gauges }) => `${name} ${number(gauges.queue_depth)}`).join(", ")}.</p>`}`;
}
