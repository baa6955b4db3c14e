// What subscriptions and registrations have in common: ids in lists by policy, details by id.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { capitalized, dateAndTime, number, plural, visible } from "../format.js";
import { Grid } from "../grid.js";
import { useDetails } from "../lazy.js";
import { link, note, route } from "../route.js";
import { useStore } from "../store.js";
import { Empty, Facts, Field, Heading, Problem, useId, usePolled, useSession, useSettled } from "../ui.js";

const EVERY = 5000;
const SHOWN_SESSIONS = 200;

/**
 * what: {kind: "subscription" or "registration", named: "topic" or "procedure", title, about, members: {list, title}, columns, facts,
 * ask(session, id): details, empty}.
 */
export function Registry({ what }) {
  const session = useSession();
  const { query } = useStore(route);
  const [search, setSearch] = useState("");
  const wanted = useSettled(search.trim().toLowerCase());
  const list = usePolled(async (one) => {
    const lists = (await one.call(`wamp.${what.kind}.list`)).args[0];
    return [...lists.exact, ...lists.prefix, ...lists.wildcard];
  }, EVERY);
  const { details, want, refresh } = useDetails(session, (id) => what.ask(session, id));
  const ids = list.data ?? [];
  const inView = useRef([]);
  if (wanted) want(ids);
  // Numbers change: what somebody looks at is asked for again with each new list.
  useEffect(() => {
    if (list.data) refresh(inView.current);
  }, [list.data]);
  const known = ids.filter((id) => details.has(id)).length;
  const shown = useMemo(() => {
    const there = ids.filter((id) => details.get(id) !== null);
    if (!wanted) return there;
    return there.filter((id) => `${details.get(id)?.uri} ${details.get(id)?.match}`.toLowerCase().includes(wanted));
  }, [ids, wanted, known]);
  const open = query.id ? Number(query.id) : undefined;
  const columns = [
    { name: `${capitalized(what.named)} or pattern`, width: "minmax(8rem, 3fr)", show: (id) => details.get(id) ? html`<span class="topic">${visible(details.get(id).uri) || html`<i>(everything)</i>`}</span>` : "…" },
    { name: "Match", width: "6rem", minor: true, show: (id) => details.get(id)?.match },
    ...what.columns.map((column) => ({ ...column, show: (id) => (details.get(id) ? column.show(details.get(id)) : "") })),
  ];
  return html`
    <${Heading} title=${what.title} about=${list.data ? `${plural(ids.length, what.kind)} in this realm. ${what.about}` : what.about} />
    <${Problem} error=${list.error} />
    <div class="bar">
      <${Field} label="Search" type="search" placeholder=${`a part of the ${what.named} or pattern`} value=${search} onInput=${(event) => setSearch(event.target.value)} />
      <p class="quiet" role="status">${wanted ? `${number(shown.length)} found${known < ids.length ? `; looked through ${number(known)} of ${number(ids.length)}` : ""}.` : ""}</p>
    </div>
    <div class="split">
      ${shown.length
        ? html`<${Grid} label=${what.title} columns=${columns} rows=${shown} keyOf=${(id) => id} selected=${open} tall
            onOpen=${(id) => note({ id })} onRange=${(first, last) => {
              inView.current = shown.slice(first, last);
              want(inView.current);
            }} />`
        : list.data && (wanted ? html`<${Empty} title=${`No ${what.kind} matches.`}><p>Search for a part of a ${what.named} or pattern.</p><//>` : what.empty)}
      ${open !== undefined && html`<${Details} key=${open} id=${open} what=${what} close=${() => note({})} />`}
    </div>`;
}

function Details({ id, what, close }) {
  const heading = useId("one");
  const { data, error } = usePolled(
    async (session) => {
      const [about, members] = await Promise.all([
        what.ask(session, id),
        session.call(`wamp.${what.kind}.${what.members.procedure}`, [id]).then(({ args }) => args[0]),
      ]);
      return { about, members };
    },
    3000,
    [id],
  );
  return html`
    <section class="card details" aria-labelledby=${heading}>
      <header class="details-head"><h2 id=${heading} class="topic">${visible(data?.about.uri ?? `${what.kind} ${id}`)}</h2><button class="plain" onClick=${close} aria-label="Close the details">✕</button></header>
      <${Problem} error=${error} />
      ${data && html`
        <${Facts} facts=${[
          ["match", data.about.match],
          ["since", dateAndTime(Date.parse(data.about.created))],
          ...what.facts(data.about),
          ["id", html`<code>${id}</code>`],
        ]} />
        <h3>${plural(data.members.length, what.members.one)}</h3>
        <ul class="chips">
          ${data.members.slice(0, SHOWN_SESSIONS).map((session) => html`<li key=${session}><a href=${link("sessions", { session })}>${session}</a></li>`)}
        </ul>
        ${data.members.length > SHOWN_SESSIONS && html`<p class="quiet">and ${number(data.members.length - SHOWN_SESSIONS)} more</p>`}
        ${what.actions?.(data.about)}`}
    </section>`;
}
