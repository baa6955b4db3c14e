import { useEffect } from "react";

import { useSession } from "./fox/connection";
import { publish, useKeys } from "./fox/hooks";
import type { Person } from "./model";

/** Who is there: a weak key of each session, which goes when the session ends, however it ends. */
export function People({ name }: { name: string }) {
  const session = useSession();
  const people = useKeys<Person>("online.");
  useEffect(() => {
    if (session === null) return;
    publish(session, `online.s${session.id}`, [{ name }], {}, { weak: true }).catch(console.error);
  }, [session, name]);
  const names = [...new Set([...people.values()].map(({ value }) => value.name))].sort();
  return (
    <section>
      <h2>Here</h2>
      <ul aria-label="People">
        {names.map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
    </section>
  );
}
