// React hooks for fox-shard, to be copied: keys, tables, events and calls over autobahn-js.
//
// A hook subscribes while its component is mounted, and again when the connection is back. What a
// hook shows is then as the server has it: a subscription with `retained` first gets what there is.

import type { EventDetails, Handler, Session } from "autobahn-browser";
import { useCallback, useEffect, useRef, useState } from "react";

import { useSession } from "./connection";

export interface Key<Value> {
  topic: string;
  value: Value;
  publication: number;
}

/** Subscribe for as long as there is this session and this component. */
function subscribe(session: Session, pattern: string, handler: Handler, options: object) {
  const subscription = inTurn(session, pattern, () => session.subscribe(pattern, handler, options));
  subscription.catch((refused) => console.error(`${pattern}:`, refused));
  const unsubscribe = () =>
    subscription.then(
      (it) => (session.isOpen ? it.unsubscribe() : undefined),
      () => undefined, // which has been told above
    );
  return () => void inTurn(session, pattern, unsubscribe).catch(console.error);
}

const lastSteps = new WeakMap<Session, Map<string, Promise<unknown>>>();

/**
 * Take one step at a time for each pattern.
 *
 * All subscriptions of a session to one pattern are one at the server. So without turns, the end of
 * one would end another that has just begun, as in StrictMode, where each effect runs twice.
 */
function inTurn<Result>(session: Session, pattern: string, step: () => Promise<Result>) {
  const steps = lastSteps.get(session) ?? new Map<string, Promise<unknown>>();
  lastSteps.set(session, steps);
  const result = (steps.get(pattern) ?? Promise.resolve()).then(step, step);
  steps.set(pattern, result);
  const done = () => {
    if (steps.get(pattern) === result) steps.delete(pattern);
  };
  result.then(done, done);
  return result;
}

/** Whether a key is gone. Its event is empty then; `removed` of its details autobahn-js leaves out. */
function isGone(args: unknown[], kwargs: Record<string, unknown>): boolean {
  return !args?.length && Object.keys(kwargs ?? {}).length === 0;
}

function valueOf(args: unknown[], kwargs: Record<string, unknown>): unknown {
  if (Object.keys(kwargs ?? {}).length > 0) return kwargs;
  return args?.length === 1 ? args[0] : args;
}

/** Call `handler` for each event of a topic or pattern. `options` are those of SUBSCRIBE. */
export function useEvents(
  pattern: string,
  handler: (value: unknown, details: EventDetails) => void,
  options?: { match?: "exact" | "prefix" | "wildcard"; after?: number },
) {
  const session = useSession();
  const latest = useRef(handler);
  useEffect(() => {
    latest.current = handler;
  });
  const { match, after } = options ?? {};
  useEffect(() => {
    if (session === null) return undefined;
    const deliver: Handler = (args, kwargs, details) => latest.current(valueOf(args, kwargs), details);
    const asked = { match: match ?? "exact", ...(after === undefined ? {} : { after }) };
    return subscribe(session, pattern, deliver, asked);
  }, [session, pattern, match, after]);
}

/**
 * All keys below a prefix, or all rows of a table, by topic; kept up to date.
 *
 * Snapshot and changes come in one stream, so nothing is missed between the two.
 */
export function useKeys<Value>(prefix: string): ReadonlyMap<string, Key<Value>> {
  const session = useSession();
  const [keys, setKeys] = useState<ReadonlyMap<string, Key<Value>>>(new Map());
  useEffect(() => {
    if (session === null) return undefined;
    setKeys(new Map());
    const change: Handler = (args, kwargs, { topic, publication }) =>
      setKeys((before) => {
        const after = new Map(before);
        if (isGone(args, kwargs)) {
          after.delete(topic);
        } else {
          after.set(topic, { topic, publication, value: valueOf(args, kwargs) as Value });
        }
        return after;
      });
    return subscribe(session, prefix, change, { match: "prefix", retained: true });
  }, [session, prefix]);
  return keys;
}

/** The rows of a table, which are keys below its name. */
export function useTable<Row>(table: string): Row[] {
  return [...useKeys<Row>(`${table}.`).values()].map(({ value }) => value);
}

/** One key: what it is, or null; and what sets and erases it. */
export function useKey<Value>(topic: string) {
  const session = useSession();
  const [key, setKey] = useState<Key<Value> | null>(null);
  useEffect(() => {
    if (session === null) return undefined;
    setKey(null);
    const change: Handler = (args, kwargs, { publication }) =>
      setKey(
        isGone(args, kwargs)
          ? null
          : { topic, publication, value: valueOf(args, kwargs) as Value },
      );
    return subscribe(session, topic, change, { retained: true });
  }, [session, topic]);
  const set = useCallback(
    (value: Value, options: object = {}) => publish(session, topic, [value], {}, options),
    [session, topic],
  );
  const erase = useCallback(
    (options: object = {}) => publish(session, topic, [], {}, options),
    [session, topic],
  );
  return { key, set, erase };
}

/** A function that calls procedures, and rejects while there is no connection. */
export function useCall() {
  const session = useSession();
  return useCallback(
    (procedure: string, args: unknown[] = [], kwargs: object = {}, options: object = {}) =>
      session === null
        ? Promise.reject(new Error("there is no connection"))
        : session.call(procedure, args, kwargs, options),
    [session],
  );
}

/** Publish what is to be kept; the promise ends when the server has it on its disk. */
export async function publish(
  session: Session | null,
  topic: string,
  args: unknown[],
  kwargs: object = {},
  options: object = {},
): Promise<number> {
  if (session === null) throw new Error("there is no connection");
  const all = { acknowledge: true, retain: true, exclude_me: false, ...options };
  const published = await session.publish(topic, args, kwargs, all);
  return published?.id ?? 0;
}
