import { useEffect, useState } from "react";

import { useSession } from "./fox/connection";
import { publish, useKey } from "./fox/hooks";
import type { Moderating } from "./model";

/**
 * The moderator's lock. `when: null` with `watch` waits in line until the key is gone; `weak` gives it
 * back when the session ends.
 */
export function Moderator({ name }: { name: string }) {
  const session = useSession();
  const { key, erase } = useKey<Moderating>("moderator");
  const [waiting, setWaiting] = useState(false);
  useEffect(() => setWaiting(false), [session]);
  const own = session !== null && key?.value.session === session.id;

  const ask = async () => {
    if (session === null) return;
    setWaiting(true);
    const lock = { when: null, watch: true, weak: true };
    try {
      await publish(session, "moderator", [{ name, session: session.id }], {}, lock);
    } catch (error) {
      if (session.isOpen) console.error(error);
    } finally {
      setWaiting(false);
    }
  };
  return (
    <section>
      <h2>Moderator</h2>
      <p>{key === null ? "nobody" : key.value.name}</p>
      {own && key !== null ? (
        <button onClick={() => erase({ when_id: key.publication })}>Stop moderating</button>
      ) : (
        <button disabled={waiting || session === null} onClick={ask}>
          {waiting ? "Waiting in line …" : "Moderate"}
        </button>
      )}
    </section>
  );
}
