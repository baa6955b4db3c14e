// Locks, and all other keys that end with a session: who has them, with which token, and who waits.

import { html, useState } from "../vendor/preact-htm.js";
import { duration, number, plural, timeOf, visible } from "../format.js";
import { Grid } from "../grid.js";
import { useDetails } from "../lazy.js";
import { link, note, route } from "../route.js";
import { useStore } from "../store.js";
import { Check, Confirm, Empty, Facts, Heading, Problem, useId, usePolled, useSession } from "../ui.js";

const EVERY = 2500;

export function Locks() {
  const session = useSession();
  const { query } = useStore(route);
  const [waitedFor, setWaitedFor] = useState(false);
  const list = usePolled(async (one) => {
    const { args, kwargs } = await one.call("fox.key.list", ["", { owned: true }]);
    return { keys: args[0], more: kwargs.more };
  }, EVERY);
  const { details, want } = useDetails(session, async (id) => (await session.call("wamp.session.get", [id])).args[0]);
  const keys = (list.data?.keys ?? []).filter((key) => !waitedFor || key.waiters);
  const open = keys.find(({ topic }) => topic === query.topic);
  const holder = (id) => (details.get(id)?.authid ? `${details.get(id).authid} (${id})` : id || "the server");
  const columns = [
    { name: "Key", width: "minmax(7rem, 2fr)", show: ({ topic }) => html`<span class="topic">${visible(topic)}</span>` },
    { name: "Holder", width: "minmax(5rem, 1.4fr)", show: (key) => holder(key.session) },
    { name: "Token", width: "11rem", minor: true, show: ({ publication }) => html`<code>${publication}</code>` },
    { name: "For", width: "5rem", minor: true, show: ({ publication }) => duration((Date.now() - timeOf(publication)) / 1000) },
    { name: "Waiting", width: "4.5rem", right: true, show: ({ waiters }) => number(waiters ?? 0) },
  ];
  return html`
    <${Heading} title="Locks" about="Keys that end with their holder's session, and keys that publishes wait for." />
    <${Problem} error=${list.error} />
    <div class="bar"><${Check} label="Only those that somebody waits for" checked=${waitedFor} onChange=${(event) => setWaitedFor(event.target.checked)} />
      <p class="quiet" role="status">${list.data ? `${list.data.more ? "The first " : ""}${plural(keys.length, "key")}.` : ""}</p></div>
    <div class="split">
      ${keys.length
        ? html`<${Grid} label="Locks" columns=${columns} rows=${keys} keyOf=${({ topic }) => topic} selected=${query.topic} tall
            onOpen=${({ topic }) => note({ topic })} onRange=${(first, last) => want(keys.slice(first, last).map((key) => key.session).filter(Boolean))} />`
        : list.data && html`
          <${Empty} title=${waitedFor ? "Nobody waits for a lock." : "Nobody holds a lock."}>
            <p>A command runs under a lock with <code>fox lock com.example.backup -- ./backup.sh</code>; programs take one by publishing a weak key.</p>
          <//>`}
      ${open && html`<${Lock} key=${open.topic} lock=${open} holder=${holder(open.session)} name=${(id) => { want([id]); return holder(id); }} again=${list.again} close=${() => note({})} />`}
    </div>`;
}

function Lock({ lock, holder, name, again, close }) {
  const heading = useId("lock");
  const session = useSession();
  const [breaking, setBreaking] = useState(false);
  const release = async () => {
    await session.publish(lock.topic, [], {}, { retain: true, when_id: lock.publication });
    again();
  };
  return html`
    <section class="card details" aria-labelledby=${heading}>
      <header class="details-head"><h2 id=${heading} class="topic">${visible(lock.topic)}</h2><button class="plain" onClick=${close} aria-label="Close the details">✕</button></header>
      <${Facts} facts=${[
        ["holder", html`<a href=${link("sessions", { session: lock.session })}>${holder}</a>`],
        ["fencing token", html`<code>${lock.publication}</code>`],
        ["held for", duration((Date.now() - timeOf(lock.publication)) / 1000)],
        ["when the session ends", lock.will ? "the key takes the value of its will" : lock.weak ? "the key is erased" : "nothing: others wait for this key"],
      ]} />
      <h3>${plural(lock.waiters ?? 0, "publish waits", "publishes wait")}</h3>
      ${lock.waiters > 0 && html`
        <ol class="waiters">${lock.waiting.map((id, index) => html`<li key=${index}><a href=${link("sessions", { session: id })}>${name(id)}</a></li>`)}</ol>
        ${lock.waiters > lock.waiting.length && html`<p class="quiet">and ${number(lock.waiters - lock.waiting.length)} more</p>`}`}
      <div class="buttons">
        <a class="button" href=${link("keys", { topic: lock.topic })}>Look at the key</a>
        <button class="danger" onClick=${() => setBreaking(true)}>Break the lock…</button>
      </div>
      ${breaking && html`
        <${Confirm} title="Break this lock?" action="Break it" act=${release} onClose=${() => setBreaking(false)}>
          <p>The key <code>${lock.topic}</code> is erased, and the first who waits gets it. The present holder may still be at work: only the fencing token protects what it writes.</p>
        <//>`}
    </section>`;
}
