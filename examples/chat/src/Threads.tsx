import { type FormEvent, useEffect, useState } from "react";

import { publish, useKeys, useTable } from "./fox/hooks";
import { useSession } from "./fox/connection";
import type { Thread, Total } from "./model";

interface Props {
  name: string;
  selected: string;
  onSelect: (thread: string) => void;
}

/** The threads, with how many messages in each have not been seen: totals that the server keeps. */
export function Threads({ name, selected, onSelect }: Props) {
  const session = useSession();
  const threads = useKeys<Thread>("thread.");
  const totals = new Map(useTable<Total>("total").map((total) => [total.thread, total.messages]));
  const here = totals.get(selected) ?? 0;
  const [seen, setSeen] = useState<Record<string, number>>(() =>
    JSON.parse(localStorage.getItem(`seen ${name}`) ?? "{}"),
  );
  useEffect(() => {
    setSeen((before) => ({ ...before, [selected]: here }));
  }, [selected, here]);
  useEffect(() => localStorage.setItem(`seen ${name}`, JSON.stringify(seen)), [name, seen]);

  const add = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const title = String(new FormData(form).get("title")).trim();
    const id = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40);
    if (id === "") return;
    // `when: null`: only if there is no such thread yet.
    publish(session, `thread.${id}`, [{ title }], {}, { when: null }).catch(() => undefined);
    form.reset();
    onSelect(id);
  };
  return (
    <section>
      <h2>Threads</h2>
      <ul>
        {[...threads.values()].map(({ topic, value }) => {
          const id = topic.slice("thread.".length);
          const unread = id === selected ? 0 : Math.max(0, (totals.get(id) ?? 0) - (seen[id] ?? 0));
          return (
            <li key={id}>
              <button aria-current={id === selected} onClick={() => onSelect(id)}>
                {value.title}
                {unread > 0 && <span className="unread" aria-label={`${unread} unread`}>{unread}</span>}
              </button>
            </li>
          );
        })}
      </ul>
      <form onSubmit={add}>
        <input name="title" aria-label="New thread" placeholder="New thread" maxLength={40} required />
        <button>Add</button>
      </form>
    </section>
  );
}
