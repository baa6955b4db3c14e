// Who is connected: a list of any length, its search, the details of one, and its end.

import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { number, plural } from "../format.js";
import { Grid } from "../grid.js";
import { useDetails } from "../lazy.js";
import { note, route } from "../route.js";
import { useStore } from "../store.js";
import { Confirm, Empty, Facts, Field, Heading, Json, Problem, useId, usePolled, useSession, useSettled } from "../ui.js";

const EVERY = 4000;
/** Sessions whose details are looked through by a search. */
const SEARCHED = 20_000;

const textOf = (id, details) =>
  [id, details?.authid, details?.authrole, details?.authmethod, details?.transport?.peer, details?.transport?.protocol]
    .join(" ")
    .toLowerCase();

/** Where the client is; of those that come by HTTP, the server does not know the port. */
const addressOf = (details) => details?.transport?.peer?.replace(/:0$/, "");

export function Sessions() {
  const session = useSession();
  const { query } = useStore(route);
  const [search, setSearch] = useState("");
  const wanted = useSettled(search.trim().toLowerCase());
  const list = usePolled(async (one) => (await one.call("wamp.session.list")).args[0].sort((a, b) => a - b), EVERY);
  const { details, want } = useDetails(session, async (id) => (await session.call("wamp.session.get", [id])).args[0]);
  const ids = list.data ?? [];
  const known = ids.slice(0, SEARCHED).filter((id) => details.has(id)).length;
  if (wanted) want(ids.slice(0, SEARCHED));
  const shown = useMemo(
    () => (wanted ? ids.filter((id) => textOf(id, details.get(id)).includes(wanted)) : ids),
    [ids, wanted, known],
  );
  const open = query.session ? Number(query.session) : undefined;
  const columns = [
    { name: "Session", width: "minmax(10rem, 1.6fr)", show: (id) => html`${id}${id === session?.id ? html` <span class="tag">this page</span>` : ""}` },
    { name: "User", width: "minmax(7rem, 1.2fr)", show: (id) => details.get(id)?.authid ?? (details.has(id) ? "gone" : "…") },
    { name: "Role", minor: true, show: (id) => details.get(id)?.authrole },
    { name: "Protocol", minor: true, show: (id) => details.get(id)?.transport?.protocol },
    { name: "Address", minor: true, width: "minmax(9rem, 1fr)", show: (id) => addressOf(details.get(id)) },
  ];
  return html`
    <${Heading} title="Sessions" about=${list.data && `${plural(ids.length, "session")} of WAMP and MQTT clients in this realm.`} />
    <${Problem} error=${list.error} />
    <div class="bar">
      <${Field} label="Search" type="search" placeholder="user, role, address, id" value=${search} onInput=${(event) => setSearch(event.target.value)} />
      <p class="quiet" role="status">
        ${wanted ? `${number(shown.length)} found${known < Math.min(ids.length, SEARCHED) ? `; looked through ${number(known)} of ${number(ids.length)}` : ""}.` : ""}
      </p>
    </div>
    <div class="split">
      ${shown.length
        ? html`<${Grid} label="Sessions" columns=${columns} rows=${shown} keyOf=${(id) => id} selected=${open} tall
            onOpen=${(id) => note({ session: id })} onRange=${(first, last) => want(shown.slice(first, last))} />`
        : list.data && html`
            <${Empty} title=${wanted ? "No session matches." : "Nobody is connected."}>
              <p>${wanted ? "Search for a part of a user's name, a role, an address or an id." : html`Connect a client by WAMP or MQTT, for example with <code>fox sub '#'</code>.`}</p>
            <//>`}
      ${open !== undefined && html`<${Details} key=${open} id=${open} own=${session?.id} close=${() => note({})} />`}
    </div>`;
}

function Details({ id, own, close }) {
  const heading = useId("session");
  const [ending, setEnding] = useState(false);
  const { data, error } = usePolled(async (session) => (await session.call("wamp.session.get", [id])).args[0], 5000, [id]);
  const transport = data?.transport ?? {};
  return html`
    <section class="card details" aria-labelledby=${heading}>
      <header class="details-head"><h2 id=${heading}>Session ${id}</h2><button class="plain" onClick=${close} aria-label="Close the details">✕</button></header>
      ${error && !data && html`<p class="quiet">${error.uri === "wamp.error.no_such_session" ? "This session has ended." : ""}</p>`}
      ${error?.uri !== "wamp.error.no_such_session" && html`<${Problem} error=${error} />`}
      ${data && html`
        <${Facts} facts=${[
          ["user", data.authid], ["role", data.authrole], ["logged in by", data.authmethod], ["named by", data.authprovider],
          ["protocol", transport.protocol], ["address", addressOf(data)],
        ]} />
        <details><summary>All details</summary><${Json} label="All details" value=${data} /></details>
        <div class="buttons">
          ${id !== own && html`<button class="danger" onClick=${() => setEnding(true)}>End the session…</button>`}
        </div>`}
      ${ending && html`<${End} id=${id} user=${data?.authid} onClose=${() => setEnding(false)} />`}
    </section>`;
}

function End({ id, user, onClose }) {
  const session = useSession();
  const [reason, setReason] = useState("");
  const act = () => session.call("wamp.session.kill", [id], reason ? { reason } : {});
  return html`
    <${Confirm} title=${`End session ${id}?`} action="End the session" act=${act} onClose=${onClose}>
      <p>The client of ${user ?? "this session"} is disconnected. Its subscriptions, registrations, weak keys and locks end with it. It may connect again.</p>
      <${Field} label="Reason (a URI)" placeholder="wamp.close.killed" value=${reason} onInput=${(event) => setReason(event.target.value)}
        hint="WAMP clients are told it." />
    <//>`;
}
