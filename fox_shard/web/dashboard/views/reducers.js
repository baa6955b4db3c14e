// Reducers: what they fold, how far behind they are, and what they have failed at.

import { html, useRef, useState } from "../vendor/preact-htm.js";
import { brief, bytes, cut, duration, number, visible } from "../format.js";
import { link } from "../route.js";
import { Badge, Confirm, Empty, Facts, Heading, Problem, usePolled, useSession } from "../ui.js";

const EVERY = 2000;
const nameOf = (one) => JSON.stringify([one.pattern, one.match, one.mission, one.durable, one.function]);

export function Reducers() {
  const before = useRef(new Map());
  const { data, error, again } = usePolled(async (session) => {
    const found = (await session.call("fox.reducer.list")).args[0];
    const at = performance.now();
    const last = before.current;
    before.current = new Map(found.map((one) => [nameOf(one), { at, folded: one.folded }]));
    return found.map((one) => {
      const known = last.get(nameOf(one));
      return { ...one, rate: known ? Math.max(0, (one.folded - known.folded) / ((at - known.at) / 1000)) : null };
    });
  }, EVERY);
  return html`
    <${Heading} title="Reducers" about="They fold the events of topics into keys, each event once." />
    <${Problem} error=${error} />
    ${data?.length === 0 && html`
      <${Empty} title="This realm has no reducers.">
        <p>Name a built-in one in <code>conf/fox.toml</code>, as <code>[[realm.reducer]]</code>, or register a procedure with <code>reducer: true</code>.</p>
      <//>`}
    <div class="processes">${data?.map((one) => html`<${Reducer} key=${nameOf(one)} reducer=${one} again=${again} />`)}</div>`;
}

function Reducer({ reducer, again }) {
  const session = useSession();
  const [removing, setRemoving] = useState(false);
  const { pattern, match, mission, durable, function: built, instances, queued, oldest, failed } = reducer;
  const { webhook, retrying, next_try: nextTry, failure } = reducer;
  const isLeft = !built && instances === 0;
  const kind = isLeft && queued ? "bad" : queued && oldest > 5 ? "warn" : "good";
  const state = isLeft ? (queued ? "nobody folds" : "no instance") : queued && oldest > 5 ? "behind" : "up to date";
  const remove = async () => {
    const which = { durable, match, ...(mission ? { mission } : {}) };
    await session.call("fox.reducer.remove", [pattern], which);
    again();
  };
  return html`
    <article class="card process" aria-label=${`Reducer of ${pattern}`}>
      <header><div><h2 class="topic">${visible(pattern) || "(everything)"}</h2><p class="quiet">${match}${mission ? html`, into <a href=${link("keys", { topic: mission })}>${mission}</a>` : ", into each topic's own key"}</p></div><${Badge} kind=${kind}>${state}<//></header>
      <${Facts} facts=${[
        ["folded by", built ?? `${number(instances)} ${instances === 1 ? "instance" : "instances"}`],
        ["webhook", webhook],
        ["durable name", durable],
        ["folded", `${number(reducer.folded)}${reducer.rate === null ? "" : `, ${number(reducer.rate)} a second`}`],
        ["waiting", queued ? `${number(queued)} (${bytes(reducer.bytes)})` : "0"],
        ["lag", queued ? duration(oldest) : "none"],
        ["failures", html`<span class=${failed ? "loud" : ""}>${number(failed)}</span>`],
        ["asked again", retrying ? `${number(retrying)}, the next in ${duration(nextTry ?? 0)}` : null],
        ["last failure", failure ? visible(cut(typeof failure === "string" ? failure : brief(failure, 400), 400)) : null],
      ]} />
      ${failed > 0 && html`<p class="quiet">What fails is told at <a href=${link("live", { topic: "fox.reducer.failed" })}>fox.reducer.failed</a>.</p>`}
      ${durable && isLeft && html`<div class="buttons"><button class="danger" onClick=${() => setRemoving(true)}>Remove…</button></div>`}
      ${removing && html`
        <${Confirm} title="Remove this durable reducer?" action="Remove" act=${remove} onClose=${() => setRemoving(false)}>
          <p>${number(queued)} events that wait for it are forgotten. The keys that it has made stay.</p>
        <//>`}
    </article>`;
}
