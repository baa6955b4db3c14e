// One key: its value as it changes, who has made it and when it ends; setting, comparing and setting, erasing.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { bytes, dateAndTime, duration, parseValue, plural, pretty, timeOf, valueOf, visible } from "../format.js";
import { link } from "../route.js";
import { announce, Check, Confirm, Dialog, Facts, Field, Json, LONGEST_VALUE, Problem, useId, usePolled, useSession } from "../ui.js";

/** Changes of a key in a second, beyond which only the latest of them is drawn. */
const DRAWN = 10;

/** The key as a state stream tells it: {state, publication, value, removed}, or null: nothing yet. */
function useKey(topic) {
  const session = useSession();
  const [shown, setShown] = useState({ event: null, known: false, error: null, changes: 0 });
  const latest = useRef(null);
  useEffect(() => {
    if (!session) return undefined;
    let stop = null;
    let alive = true;
    let timer = 0;
    let changes = 0;
    const draw = () => {
      timer = 0;
      setShown({ event: latest.current, known: true, error: null, changes });
    };
    const onEvent = (event) => {
      latest.current = event;
      if (!event.details.retained) changes += 1;
      timer ||= setTimeout(draw, 1000 / DRAWN);
    };
    latest.current = null;
    session
      .subscribe(topic, { match: "exact", retained: true }, onEvent, (reason) => setShown((one) => ({ ...one, error: new Error(`The server has ended the subscription: ${reason}`) })))
      .then((unsubscribe) => {
        if (!alive) return unsubscribe();
        stop = unsubscribe;
        // A key comes at once, so a moment without one means that there is none.
        timer ||= setTimeout(draw, 250);
        return undefined;
      })
      .catch((error) => alive && setShown({ event: null, known: true, error, changes: 0 }));
    return () => {
      alive = false;
      clearTimeout(timer);
      stop?.();
    };
  }, [session, topic]);
  return shown;
}

export function KeyDetails({ topic, close, changed }) {
  const heading = useId("key");
  const session = useSession();
  const { event, known, error, changes } = useKey(topic);
  const publication = event && !event.details.removed ? event.publication : 0;
  const about = usePolled(
    async (one) => (await one.call("fox.key.list", [topic, { match: "exact", limit: 1 }])).args[0].find((key) => key.topic === topic) ?? null,
    3000,
    [topic, publication],
  );
  const [erasing, setErasing] = useState(false);
  const isThere = publication !== 0;
  const value = isThere ? valueOf(event.args, event.kwargs) : undefined;
  const made = isThere ? timeOf(publication) : 0;
  const key = about.data;
  const erase = async () => {
    await session.publish(topic, [], {}, { retain: true, when_id: publication });
    announce(`The key ${topic} is erased.`);
    changed();
  };
  return html`
    <section class="card details" aria-labelledby=${heading}>
      <header class="details-head"><h2 id=${heading} class="topic">${visible(topic)}</h2><button class="plain" onClick=${close} aria-label="Close the details">✕</button></header>
      <${Problem} error=${error} />
      ${known && !error && !isThere && html`<p class="note">There is no key at this topic${event?.details.removed ? `: it was ${{ deleted: "erased", expired: "kept until its lifetime was over", weak: "erased with its session" }[event.details.removed] ?? event.details.removed}` : ""}.</p>`}
      ${isThere && html`
        <${Flash} on=${publication}><${Json} label=${`Value of ${topic}`} value=${value} /><//>
        <${Facts} facts=${[
          ["age", html`<${Age} since=${made} /> <span class="quiet">(${dateAndTime(made)})</span>`],
          ["changes seen", changes ? `${changes}` : null],
          ["expires", key?.expires ? html`in <${Left} until=${key.expires * 1000} />` : "never"],
          ["publication", html`<code>${publication}</code>`],
          ["owner", key ? (key.session ? html`<a href=${link("sessions", { session: key.session })}>session ${key.session}</a>` : "the server") : null],
          ["ends with its session", key?.weak ? "yes: it is weak" : key?.will ? "it takes the value of its will" : null],
          ["made by", key?.reduced ? "a reducer" : null],
          ["waiting publishes", key?.waiters ? plural(key.waiters, "publish", "publishes") : null],
          ["size", key ? bytes(key.bytes) : null],
        ]} />`}
      ${known && !error && html`<${SetForm} topic=${topic} value=${value} publication=${publication} changed=${changed} />`}
      <div class="buttons">
        <a class="button" href=${link("history", { topic })}>History</a>
        <a class="button" href=${link("live", { topic })}>Live events</a>
        ${isThere && html`<button class="danger" onClick=${() => setErasing(true)}>Erase…</button>`}
      </div>
      ${erasing && html`
        <${Confirm} title="Erase this key?" action="Erase" act=${erase} onClose=${() => setErasing(false)}>
          <p><code>${topic}</code> is erased for everybody, if it still has the value that you see.</p>
        <//>`}
    </section>`;
}

/** Set the key, only if it is unchanged since it was looked at, unless somebody wants it otherwise. */
function SetForm({ topic, value, publication, changed }) {
  const session = useSession();
  const [text, setText] = useState(null);
  const [seen, setSeen] = useState(0);
  const [lifetime, setLifetime] = useState("");
  const [compares, setCompares] = useState(true);
  const [error, setError] = useState(null);
  const [done, setDone] = useState("");
  const whole = useMemo(() => (value === undefined ? "" : pretty(value, LONGEST_VALUE)), [value]);
  const isLong = whole.length > LONGEST_VALUE;
  const shown = text ?? (isLong ? "" : whole);
  const isStale = text !== null && seen !== publication;
  const edit = (event) => {
    // What is compared is what somebody has begun to change.
    if (text === null) setSeen(publication);
    setText(event.target.value);
    setDone("");
  };
  const submit = async (event) => {
    event.preventDefault();
    setError(null);
    try {
      const options = { retain: lifetime ? Number(lifetime) : true };
      if (compares) options.when_id = text === null ? publication : seen;
      const id = await session.publish(topic, [valueToKeep(shown)], {}, options);
      setText(null);
      setDone(`Set, as publication ${id}.`);
      changed();
    } catch (failure) {
      setError(failure);
    }
  };
  return html`
    <form class="set" onSubmit=${submit}>
      <h3>Set the value</h3>
      <${Field} as="textarea" rows="4" label="New value" hint=${isLong ? "JSON, or else text; the present value is too long to be edited here" : "JSON, or else text"} value=${shown} onInput=${edit} required wide />
      <div class="row">
        <${Field} label="Seconds to live" type="number" min="1" step="1" placeholder="for ever" value=${lifetime} onInput=${(event) => setLifetime(event.target.value)} />
        <${Check} label="Only if nobody else has changed it meanwhile" checked=${compares} onChange=${(event) => setCompares(event.target.checked)} />
      </div>
      ${isStale && html`
        <div class="note warn"><p>The key has changed since you began to edit.</p>
          <button type="button" onClick=${() => setText(null)}>Take the new value</button>
          <button type="button" onClick=${() => setSeen(publication)}>Keep mine</button>
        </div>`}
      <${Problem} error=${error} />
      <div class="buttons"><button class="primary" type="submit" disabled=${!session}>Set</button><span class="quiet" role="status">${done}</span></div>
    </form>`;
}

function valueToKeep(text) {
  const value = parseValue(text);
  if (value === null) throw new Error("null would erase the key.");
  return value;
}

export function NewKey({ onClose, made }) {
  const session = useSession();
  const [topic, setTopic] = useState("");
  const [text, setText] = useState("");
  const [lifetime, setLifetime] = useState("");
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await session.publish(topic, [valueToKeep(text)], {}, { retain: lifetime ? Number(lifetime) : true, when_id: 0 });
      made(topic);
    } catch (failure) {
      setError(failure.uri === "fox.error.condition_failed" ? new Error("There is such a key already: open it to change it.") : failure);
    }
  };
  return html`
    <${Dialog} title="New key" onClose=${onClose}>
      <form onSubmit=${submit}>
        <${Field} label="Topic" required placeholder="home.kitchen.lamp" value=${topic} onInput=${(event) => setTopic(event.target.value)} wide />
        <${Field} as="textarea" rows="4" label="Value" hint="JSON, or else text" required value=${text} onInput=${(event) => setText(event.target.value)} wide />
        <${Field} label="Seconds to live" type="number" min="1" step="1" placeholder="for ever" value=${lifetime} onInput=${(event) => setLifetime(event.target.value)} />
        <${Problem} error=${error} />
        <div class="buttons"><button type="button" onClick=${onClose}>Cancel</button><button class="primary" type="submit">Make the key</button></div>
      </form>
    <//>`;
}

/** What flashes when `on` changes. */
function Flash({ on, children }) {
  const ref = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    if (!first.current && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      ref.current?.animate([{ backgroundColor: "var(--flash)" }, { backgroundColor: "transparent" }], 900);
    }
    first.current = false;
  }, [on]);
  return html`<div class="flash" ref=${ref}>${children}</div>`;
}

function useEverySecond() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => redraw((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, []);
}

function Age({ since }) {
  useEverySecond();
  return duration((Date.now() - since) / 1000);
}

function Left({ until }) {
  useEverySecond();
  return duration((until - Date.now()) / 1000);
}
