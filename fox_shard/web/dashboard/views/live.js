// The events of a pattern as they come, with a filter and a pause.
//
// The router sends all that match. So if many do, the page subscribes only for a part of each second: what
// it shows then is a sample, and costs the server little.

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { brief, clock, cut, isObject, number, parseJson, valueOf, visible } from "../format.js";
import { Grid } from "../grid.js";
import { note, route } from "../route.js";
import { useStore } from "../store.js";
import { Check, Empty, Facts, Field, Heading, Json, MatchField, Problem, useId, useSession } from "../ui.js";

/** Events that are kept, and the characters of their messages: a message may have millions. */
const KEPT = 1000;
const KEPT_CHARACTERS = 20_000_000;
/** Characters of a value that are shown in its row, and in which a text is looked for. */
const SHOWN = 200;
const SEARCHED = 2000;
/** Events in a second beyond which only a sample is taken, and how many of each second that are. */
const MANY = 300;
const SAMPLE = 100;

class Follower {
  #session;
  #pattern;
  #options;
  #draw;
  #stop = null;
  #ended = false;
  #timer = 0;
  #second = 0;
  #inSecond = 0;
  events = [];
  #characters = 0;
  count = 0;
  rate = 0;
  samples = false;
  paused = false;
  error = null;
  missed = 0;
  #number = 0;

  constructor(session, pattern, options, draw) {
    this.#session = session;
    this.#pattern = pattern;
    this.#options = options;
    this.#draw = draw;
    this.#subscribe();
    this.#timer = setInterval(() => this.#everySecond(), 1000);
  }

  async #subscribe() {
    try {
      const stop = await this.#session.subscribe(
        this.#pattern, this.#options, (event) => this.#take(event), (reason) => this.#fail(new Error(`The server has ended the subscription: ${reason}.`)),
      );
      if (this.#ended || this.paused) stop();
      else this.#stop = stop;
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    this.error = error;
    this.end();
    this.#draw();
  }

  #take(event) {
    this.#inSecond += 1;
    this.count += 1;
    if (this.samples && this.#inSecond > SAMPLE) {
      this.#unsubscribe();
      return;
    }
    this.#number += 1;
    const text = brief(valueOf(event.args, event.kwargs), SEARCHED);
    this.events.unshift({ ...event, text, number: this.#number, at: Date.now() });
    this.#characters += event.size;
    while (this.events.length > KEPT || (this.#characters > KEPT_CHARACTERS && this.events.length > 1)) {
      this.#characters -= this.events.pop().size;
    }
    this.#drawSoon();
  }

  #drawing = 0;

  #drawSoon() {
    this.#drawing ||= setTimeout(() => {
      this.#drawing = 0;
      this.#draw();
    }, 100);
  }

  #everySecond() {
    this.rate = this.#inSecond;
    if (!this.samples && this.#inSecond > MANY) this.samples = true;
    else if (this.samples && this.#inSecond < SAMPLE / 2) this.samples = false;
    this.#inSecond = 0;
    if (this.samples && !this.#stop && !this.paused && !this.#ended) this.#subscribe();
    this.#draw();
  }

  #unsubscribe() {
    this.#stop?.();
    this.#stop = null;
  }

  pause(paused) {
    this.paused = paused;
    if (paused) this.#unsubscribe();
    else this.#subscribe();
    this.#draw();
  }

  clear() {
    this.events = [];
    this.#characters = 0;
    this.#draw();
  }

  end() {
    this.#ended = true;
    clearInterval(this.#timer);
    this.#unsubscribe();
  }
}

export function Live() {
  const session = useSession();
  const { query } = useStore(route);
  const [pattern, setPattern] = useState(query.topic ?? "#");
  const [match, setMatch] = useState(query.match ?? "exact");
  const [filter, setFilter] = useState("");
  const [text, setText] = useState("");
  const [error, setError] = useState(null);
  const [wanted, setWanted] = useState(query.topic ? { pattern: query.topic, options: { match: query.match ?? "exact" } } : null);
  const [opened, setOpened] = useState(null);
  const [, redraw] = useState(0);
  const ref = useRef(null);
  useEffect(() => {
    if (!session || !wanted) return undefined;
    const follower = new Follower(session, wanted.pattern, wanted.options, () => redraw((count) => count + 1));
    ref.current = follower;
    redraw((count) => count + 1);
    return () => follower.end();
  }, [session, wanted]);
  const follower = wanted ? ref.current : null;
  const start = (event) => {
    event.preventDefault();
    setError(null);
    try {
      const options = { match };
      const found = parseJson(filter, "Filter", isObject, null);
      if (found) options.filter = found;
      setOpened(null);
      setWanted({ pattern, options });
      note({ topic: pattern, match });
    } catch (failure) {
      setError(failure);
    }
  };
  const all = follower?.events ?? [];
  const needle = text.trim().toLowerCase();
  const shown = needle ? all.filter((one) => `${one.topic} ${one.text}`.toLowerCase().includes(needle)) : all;
  const columns = [
    { name: "Time", width: "5rem", show: ({ at }) => clock(at) },
    { name: "Topic", width: "minmax(7rem, 1.5fr)", show: ({ topic }) => html`<span class="topic">${visible(topic)}</span>` },
    { name: "Value", width: "minmax(6rem, 2fr)", show: ({ text }) => html`<code>${cut(text, SHOWN)}</code>` },
  ];
  return html`
    <${Heading} title="Live events" about="What is published on the topics of a pattern, as a subscriber gets it." />
    <form class="card form" onSubmit=${start}>
      <div class="row">
        <${Field} label="Topic or pattern" value=${pattern} onInput=${(event) => setPattern(event.target.value)} hint=${html`<code>#</code> is everything but the server's own topics, such as <code>$SYS.#</code>`} />
        <${MatchField} value=${match} onChange=${setMatch} />
        <${Field} label="Filter" placeholder='{"celsius": {"$gt": 20}}' value=${filter} onInput=${(event) => setFilter(event.target.value)} hint="what the event must contain; the server selects" />
      </div>
      <${Problem} error=${error ?? follower?.error} />
      <div class="buttons">
        <button class="primary" type="submit" disabled=${!session}>${wanted ? "Follow this" : "Follow"}</button>
        ${follower && !follower.error && html`
          <button type="button" aria-pressed=${follower.paused} onClick=${() => follower.pause(!follower.paused)}>${follower.paused ? "Go on" : "Pause"}</button>
          <button type="button" onClick=${() => follower.clear()}>Clear</button>`}
      </div>
    </form>
    ${follower && html`
      <div class="bar">
        <${Field} label="Only those that contain" type="search" value=${text} onInput=${(event) => setText(event.target.value)} />
        <p class="quiet" role="status">
          ${follower.paused ? "Paused." : follower.samples
            ? `Many events match: about ${SAMPLE} of each second are shown.`
            : `${number(follower.rate)} in the last second, ${number(follower.count)} in all.`}
        </p>
      </div>`}
    <div class="split">
      ${shown.length > 0
        ? html`<${Grid} label="Events, the latest first" columns=${columns} rows=${shown} keyOf=${(one) => one.number} selected=${opened?.number} onOpen=${setOpened} tall />`
        : follower && !follower.error && html`
          <${Empty} title=${all.length ? "No event contains this." : "Nothing was published yet."}>
            <p>${all.length ? "Look for something else, or clear the field." : html`Events come here as soon as somebody publishes on <code>${wanted.pattern}</code>. <a href="#/send">Publish one</a>.`}</p>
          <//>`}
      ${!wanted && html`<${Empty} title="Nothing is followed."><p>Name a topic or a pattern, and press Follow.</p><//>`}
      ${opened && html`<${EventDetails} event=${opened} close=${() => setOpened(null)} />`}
    </div>`;
}

export function EventDetails({ event, close }) {
  const heading = useId("event");
  return html`
    <section class="card details" aria-labelledby=${heading}>
      <header class="details-head"><h2 id=${heading} class="topic">${visible(event.topic)}</h2><button class="plain" onClick=${close} aria-label="Close the details">✕</button></header>
      <${Facts} facts=${[["publication", html`<code>${event.publication}</code>`], ["publisher", event.details?.publisher], ["user", event.details?.publisher_authid]]} />
      <h3>Arguments</h3><${Json} label="Arguments" value=${event.args} />
      ${Object.keys(event.kwargs ?? {}).length > 0 && html`<h3>Keyword arguments</h3><${Json} label="Keyword arguments" value=${event.kwargs} />`}
      ${Object.keys(event.details ?? {}).length > 0 && html`<h3>Details</h3><${Json} label="Details" value=${event.details} />`}
    </section>`;
}
