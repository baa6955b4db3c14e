// What the processes send each other: a short look at their taps, again and again if somebody wants it.

import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { connection, fetchJson } from "../connection.js";
import { clock, number, visible } from "../format.js";
import { Grid } from "../grid.js";
import { link } from "../route.js";
import { useStore } from "../store.js";
import { Check, Empty, Facts, Field, Heading, Problem, useId } from "../ui.js";

const EVERY = 2500;

export function Frames() {
  const { realm } = useStore(connection);
  const [seen, setSeen] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [again, setAgain] = useState(false);
  const [text, setText] = useState("");
  const [opened, setOpened] = useState(null);
  const look = async () => {
    setBusy(true);
    try {
      setSeen(await fetchJson(`api/frames?realm=${encodeURIComponent(realm)}`));
      setError(null);
    } catch (failure) {
      setError(failure);
      setAgain(false);
    }
    setBusy(false);
  };
  useEffect(() => {
    if (!again) return undefined;
    look();
    const timer = setInterval(() => document.visibilityState === "visible" && look(), EVERY);
    return () => clearInterval(timer);
  }, [again]);
  const kinds = new Map();
  for (const { kind, count } of seen?.counts ?? []) kinds.set(kind, (kinds.get(kind) ?? 0) + count);
  const needle = text.trim().toLowerCase();
  const all = (seen?.frames ?? []).map((one, index) => ({ ...one, index }));
  const frames = needle ? all.filter((one) => `${one.kind} ${one.process} ${one.peer} ${one.topic} ${one.sessions.join(" ")}`.toLowerCase().includes(needle)) : all;
  const columns = [
    { name: "Time", width: "6rem", minor: true, show: ({ time }) => clock(time * 1000) },
    { name: "Kind", width: "minmax(6rem, 0.8fr)", show: ({ kind, problem }) => html`<span class=${problem ? "loud" : ""}>${kind}</span>` },
    { name: "From", width: "7rem", show: ({ process }) => process },
    { name: "To", width: "7rem", show: ({ peer }) => peer },
    { name: "Topic", width: "minmax(8rem, 2fr)", minor: true, show: ({ topic }) => html`<span class="topic">${visible(topic ?? "")}</span>` },
  ];
  return html`
    <${Heading} title="Frames" about="What the processes send each other, as zmqtap shows it, but without payloads. A look takes less than half a second.">
      <${Check} label="Look again and again" checked=${again} onChange=${(event) => setAgain(event.target.checked)} />
      <button class="primary" onClick=${look} disabled=${busy}>Look</button>
    <//>
    <${Problem} error=${error} />
    ${!seen && !error && html`<${Empty} title="Nobody has looked yet."><p>Press Look. The processes send copies only while somebody looks; under full load that costs them a little.</p><//>`}
    ${seen && seen.counts.length === 0 && html`<${Empty} title="The processes sent nothing."><p>Idle processes exchange only heartbeats, which have no frames. Publish something, and look again.</p><//>`}
    ${kinds.size > 0 && html`
      <ul class="tiles" aria-label="Frames a second, by kind">
        ${[...kinds].slice(0, 12).map(([kind, count]) => html`
          <li key=${kind} class="tile"><span class="tile-label">${kind}</span><b>${number(count / seen.seconds)}</b><span class="tile-more">a second</span></li>`)}
      </ul>
      <div class="bar">
        <${Field} label="Only those that contain" type="search" placeholder="a kind, process, topic or session" value=${text} onInput=${(event) => setText(event.target.value)} />
        <p class="quiet" role="status">Frames of ${seen.seconds} s: the latest ${number(frames.length)}.</p>
      </div>
      <div class="split">
        ${frames.length > 0 && html`<${Grid} label="Frames, the latest first" columns=${columns} rows=${frames} keyOf=${({ index }) => index} selected=${opened?.index} onOpen=${setOpened} tall />`}
        ${opened && html`<${Details} frame=${opened} close=${() => setOpened(null)} />`}
      </div>`}`;
}

function Details({ frame, close }) {
  const heading = useId("frame");
  return html`
    <section class="card details" aria-labelledby=${heading}>
      <header class="details-head"><h2 id=${heading}>${frame.kind}</h2><button class="plain" onClick=${close} aria-label="Close the details">✕</button></header>
      <${Facts} facts=${[
        ["from", frame.process], ["to", frame.peer], ["time", clock(frame.time * 1000)], ["realm", frame.realm], ["topic", frame.topic],
        ["problem", frame.problem],
        ["sessions", frame.sessions.filter(Boolean).map((session) => html`<a key=${session} href=${link("sessions", { session })}>${session}</a> `)],
      ]} />
    </section>`;
}
