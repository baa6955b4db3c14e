// The recorded events of a topic or pattern, the latest first, a page at a time.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { brief, dateAndTime, number, valueOf } from "../format.js";
import { Grid } from "../grid.js";
import { note, route } from "../route.js";
import { useStore } from "../store.js";
import { Empty, Field, Heading, MatchField, Problem, useSession } from "../ui.js";
import { EventDetails } from "./live.js";

const PAGE = 200;

/** A page of the history; before: the publication id before which it ends, 0: the end. */
async function page(session, topic, match, before) {
  // The history is asked for by a subscription of this session, whose events are not wanted.
  let id = 0;
  const unsubscribe = await session.subscribe(topic, { match }, () => {}, () => {});
  try {
    id = (await session.call("wamp.subscription.lookup", [topic, { match }])).args[0];
    const range = before ? { before_publication: before } : {};
    const { args, kwargs } = await session.call("wamp.subscription.get_events", [id], { limit: PAGE, reverse: true, ...range });
    return { events: args[0], more: kwargs.more };
  } finally {
    unsubscribe();
  }
}

export function History() {
  const session = useSession();
  const { query } = useStore(route);
  const [topic, setTopic] = useState(query.topic ?? "");
  const [match, setMatch] = useState(query.match ?? "exact");
  const [shown, setShown] = useState(null);
  const [error, setError] = useState(null);
  const [opened, setOpened] = useState(null);
  const read = async (wanted, by, before = 0) => {
    setError(null);
    try {
      const { events, more } = await page(session, wanted, by, before);
      setShown((known) => ({ topic: wanted, match: by, more, events: before ? [...known.events, ...events] : events }));
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => {
    if (session && query.topic) read(query.topic, query.match ?? "exact");
  }, [session]);
  const submit = (event) => {
    event.preventDefault();
    note({ topic, match });
    setOpened(null);
    read(topic, match);
  };
  const columns = [
    { name: "Time", width: "11rem", show: ({ timestamp }) => dateAndTime(Date.parse(timestamp)) },
    { name: "Topic", minor: true, show: ({ details }) => html`<span class="topic">${details.topic}</span>` },
    { name: "Value", width: "minmax(8rem, 2fr)", show: ({ args, kwargs }) => html`<code>${brief(valueOf(args ?? [], kwargs ?? {}))}</code>` },
  ];
  return html`
    <${Heading} title="History" about="Recorded events: of topics that the configuration names, and those published with trace." />
    <form class="card form" onSubmit=${submit}>
      <div class="row">
        <${Field} label="Topic or pattern" required placeholder="home.door.front" value=${topic} onInput=${(event) => setTopic(event.target.value)} />
        <${MatchField} value=${match} onChange=${setMatch} />
      </div>
      <div class="buttons"><button class="primary" type="submit" disabled=${!session}>Read</button></div>
    </form>
    <${Problem} error=${error} />
    ${shown && html`<p class="quiet" role="status">${number(shown.events.length)} events${shown.more ? ", the latest; there are earlier ones" : ""}.</p>`}
    ${!shown && !error && !query.topic && html`
      <${Empty} title="Nothing was read yet.">
        <p>Name a topic, or a pattern such as <code>home.#</code>, and press Read: you see its recorded events, the latest first.</p>
      <//>`}
    <div class="split">
      ${shown?.events.length > 0 && html`
        <div class="stack">
          <${Grid} label="Recorded events, the latest first" columns=${columns} rows=${shown.events} keyOf=${(one) => one.publication} selected=${opened?.publication}
            onOpen=${(one) => setOpened({ ...one, args: one.args ?? [], kwargs: one.kwargs ?? {}, topic: one.details.topic })} tall />
          ${shown.more && html`<button onClick=${() => read(shown.topic, shown.match, shown.events.at(-1).publication)}>Earlier ones</button>`}
        </div>`}
      ${shown?.events.length === 0 && html`
        <${Empty} title="Nothing is recorded of this topic.">
          <p>Record topics with <code>[[realm.history]]</code> in <code>conf/fox.toml</code>, or single events with the option <code>trace</code>: <code>fox pub ${shown.topic} 1 --options '{"trace": true}'</code></p>
        <//>`}
      ${opened && html`<${EventDetails} event=${opened} close=${() => setOpened(null)} />`}
    </div>`;
}
