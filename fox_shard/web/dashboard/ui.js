// What the views are made of: headings, fields, notes, dialogs.

import { html, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { connection } from "./connection.js";
import { cut, pretty, visible } from "./format.js";
import { useStore } from "./store.js";

let ids = 0;

/** An id of an element that is the same as long as the component lives. */
export function useId(prefix = "id") {
  const ref = useRef("");
  if (!ref.current) {
    ids += 1;
    ref.current = `${prefix}-${ids}`;
  }
  return ref.current;
}

/** The session, or null while there is none. */
export function useSession() {
  return useStore(connection).session;
}

/** A view's beginning. The heading gets the focus when somebody comes to the view. */
export function Heading({ title, about, children }) {
  const ref = useRef(null);
  useEffect(() => {
    document.title = `${title} · fox-shard`;
    ref.current?.focus({ preventScroll: true });
  }, [title]);
  return html`
    <header class="heading">
      <div>
        <h1 tabindex="-1" ref=${ref}>${title}</h1>
        ${about && html`<p class="quiet">${about}</p>`}
      </div>
      <div class="actions">${children}</div>
    </header>`;
}

const HINTS = {
  "wamp.error.not_authorized":
    "Your role has no rule for this. Log in as somebody who may, or give the role a rule.",
  "wamp.error.unavailable": "A process is down at the moment; it is tried again.",
  "wamp.error.no_such_procedure": "Look at Registrations for those that there are. Its client may have gone.",
  "fox.error.condition_failed": "Somebody else has changed the key meanwhile: look at it, and decide anew.",
  "fox.error.unavailable_store": "The disk of the server is full or fails; see Processes.",
};

/** Characters of an error that are shown: a callee may answer with any text. */
const LONGEST_SENTENCE = 2000;

/** An error in words. */
export function Problem({ error, children }) {
  if (!error) return null;
  const hint = Object.hasOwn(HINTS, error.uri ?? "") ? HINTS[error.uri] : null;
  return html`
    <div class="note bad" role="alert">
      <p><b>${visible(sentence(cut(error.message ?? String(error), LONGEST_SENTENCE)))}</b></p>
      ${hint && html`<p>${hint}</p>`}
      ${error.uri && html`<p class="quiet"><code>${visible(cut(error.uri, LONGEST_SENTENCE))}</code></p>`}
      ${children}
    </div>`;
}

export function sentence(text) {
  const trimmed = text.trim();
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** What a view says when there is nothing to show: what to do next. */
export function Empty({ title, children }) {
  return html`
    <div class="empty">
      <p class="empty-title">${title}</p>
      <div class="quiet">${children}</div>
    </div>`;
}

export function Badge({ kind, children }) {
  return html`<span class=${`badge ${kind}`}>${children}</span>`;
}

/** A labelled input. Everything else is passed on to the element. Preact sets the property `spellcheck`, for
    which the text "false" is true. */
export function Field({ label, hint, as = "input", wide, children, ...more }) {
  const id = useId("field");
  const described = hint ? `${id}-hint` : undefined;
  return html`
    <div class=${wide ? "field wide" : "field"}>
      <label for=${id}>${label}</label>
      ${as === "select"
        ? html`<select id=${id} aria-describedby=${described} ...${more}>${children}</select>`
        : as === "textarea"
          ? html`<textarea id=${id} aria-describedby=${described} spellcheck=${false} ...${more} />`
          : html`<input id=${id} aria-describedby=${described} autocomplete="off" spellcheck=${false} ...${more} />`}
      ${hint && html`<p class="hint" id=${described}>${hint}</p>`}
    </div>`;
}

export function Check({ label, ...more }) {
  const id = useId("check");
  return html`
    <div class="check">
      <input type="checkbox" id=${id} ...${more} />
      <label for=${id}>${label}</label>
    </div>`;
}

/** How a topic or pattern is compared, as a select. */
export function MatchField({ value, onChange }) {
  return html`
    <${Field} as="select" label="Match" value=${value} onChange=${(event) => onChange(event.target.value)}>
      <option value="exact">exact (* and # are wildcards)</option>
      <option value="prefix">prefix</option>
      <option value="wildcard">wildcard</option>
    <//>`;
}

/** A dialog over the page; the browser keeps the focus inside, and Escape closes it. */
export function Dialog({ title, onClose, children }) {
  const ref = useRef(null);
  const id = useId("dialog");
  useEffect(() => {
    const before = document.activeElement;
    ref.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`
    <dialog ref=${ref} aria-labelledby=${id} onClose=${onClose}>
      <h2 id=${id}>${title}</h2>
      ${children}
    </dialog>`;
}

/** Ask before something is done that cannot be undone. act: may fail; the dialog says why. */
export function Confirm({ title, action, act, onClose, children }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const carryOut = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await act();
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return html`
    <${Dialog} title=${title} onClose=${onClose}>
      <form onSubmit=${carryOut}>
        ${children}
        <${Problem} error=${error} />
        <div class="buttons">
          <button type="button" onClick=${onClose}>Cancel</button>
          <button type="submit" class="danger" disabled=${busy}>${action}</button>
        </div>
      </form>
    <//>`;
}

/**
 * Ask something again and again while the view is shown. ask: an async function of the session.
 * Returns {data, error, loading, again}.
 */
export function usePolled(ask, every, dependencies = []) {
  const session = useSession();
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!session) return undefined;
    let alive = true;
    let timer = 0;
    const look = async () => {
      if (document.visibilityState === "visible") {
        try {
          const data = await ask(session);
          if (alive) setState({ data, error: null, loading: false });
        } catch (error) {
          if (alive) setState((before) => ({ ...before, error, loading: false }));
        }
      }
      if (alive && every) timer = setTimeout(look, every);
    };
    look();
    return () => {
      alive = false;
      clearTimeout(timer);
    };
  }, [session, turn, every, ...dependencies]);
  return { ...state, again: useCallback(() => setTurn((count) => count + 1), []) };
}

/** A value that follows another one when that has not changed for a moment. */
export function useSettled(value, milliseconds = 250) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** Pairs of a term and what it is, as a list. */
export function Facts({ facts }) {
  return html`
    <dl class="facts">
      ${facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}
    </dl>`;
}

/** Characters of a value that the page shows, or lets somebody edit: with millions it would stand still. */
export const LONGEST_VALUE = 100_000;

/** A JSON value, cut off where it is very long. */
export function Json({ label, value }) {
  const most = LONGEST_VALUE;
  const text = useMemo(() => pretty(value, most), [value]);
  return html`
    <pre class="json" tabindex="0" role="region" aria-label=${label}>${visible(text.slice(0, most))}</pre>
    ${text.length > most &&
    html`<p class="quiet">Shown are the first ${most.toLocaleString("en")} characters.</p>`}`;
}

/** Say something to screen readers, once. */
export function announce(text) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = text;
}
