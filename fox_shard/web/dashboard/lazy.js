// Details of things that are only known by their ids: asked for as they are needed, few at a time.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";

const AT_ONCE = 20;

/**
 * Returns {details: Map of id → what `ask(id)` has told, want(ids), refresh(ids)}. What cannot be told, as
 * the thing has gone meanwhile, is null. What is refreshed stays as it was until it is told anew.
 */
export function useDetails(session, ask) {
  const details = useRef(new Map());
  const queue = useRef([]);
  const stale = useRef(new Set());
  const running = useRef(0);
  const [, redraw] = useState(0);
  const drawing = useRef(0);
  useEffect(() => {
    details.current = new Map();
    queue.current = [];
    return () => {
      queue.current = [];
    };
  }, [session]);
  const redrawSoon = () => {
    drawing.current ||= setTimeout(() => {
      drawing.current = 0;
      redraw((count) => count + 1);
    }, 50);
  };
  const run = async () => {
    running.current += 1;
    const known = details.current;
    let id;
    while ((id = queue.current.shift()) !== undefined) {
      if (!stale.current.delete(id) && known.get(id) !== undefined) continue;
      let told = null;
      try {
        told = await ask(id);
      } catch {
        told = null;
      }
      known.set(id, told);
      redrawSoon();
    }
    running.current -= 1;
  };
  const want = (ids) => {
    const missing = ids.filter((id) => !details.current.has(id) || stale.current.has(id));
    if (!missing.length) return;
    // The latest wish comes first: it is what somebody looks at.
    queue.current = [...missing, ...queue.current].slice(0, 20000);
    while (running.current < AT_ONCE && running.current < queue.current.length) run();
  };
  const refresh = (ids) => {
    for (const id of ids) if (details.current.has(id)) stale.current.add(id);
    want(ids);
  };
  return { details: details.current, want, refresh };
}
