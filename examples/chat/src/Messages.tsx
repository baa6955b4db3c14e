import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";

import { useSession } from "./fox/connection";
import { publish, useCall, useEvents, useKey, useKeys } from "./fox/hooks";
import { type Message, type Moderating, newId } from "./model";

interface Props {
  thread: string;
  name: string;
}

interface Outgoing {
  message: Message;
  refused: string;
}

const TYPING = 3000; // ms

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

/** The messages of a thread, those that are under way, and the field for the next one. */
export function Messages({ thread, name }: Props) {
  const rows = useKeys<Message>(`message.${thread}.`);
  const session = useSession();
  const { key: moderator } = useKey<Moderating>("moderator");
  const moderating = session !== null && moderator?.value.session === session.id;
  const call = useCall();
  const { outgoing, send, discard } = useOutgoing(rows);
  const end = useRef<HTMLLIElement>(null);

  const messages = [...rows.values()].map(({ value }) => value);
  messages.sort((one, other) => one.at - other.at || one.id.localeCompare(other.id));
  const count = messages.length + outgoing.length;
  useEffect(() => {
    end.current?.scrollIntoView({ block: "nearest" });
  }, [count]);

  return (
    <>
      <ol className="messages" aria-label="Messages" aria-live="polite">
        {messages.map((message) => (
          <li key={message.id} className={message.author === name ? "own" : ""}>
            <Text message={message} />
            {moderating && (
              <button onClick={() => call("chat.remove", [thread, message.id])}>Delete</button>
            )}
          </li>
        ))}
        {outgoing.map(({ message, refused }) => (
          <li key={message.id} className="own sending">
            <Text message={message} />
            {refused === "" ? (
              <small>sending …</small>
            ) : (
              <>
                <small role="alert">{refused}</small>
                <button onClick={() => discard(message.id)}>Discard</button>
              </>
            )}
          </li>
        ))}
        <li ref={end} aria-hidden="true" />
      </ol>
      <Typing thread={thread} name={name} messages={messages} />
      <Composer
        thread={thread}
        name={name}
        onSend={(text) => send({ thread, id: newId(), author: name, text, at: Date.now() })}
      />
    </>
  );
}

function Text({ message }: { message: Message }) {
  return (
    <>
      <b>{message.author}</b> <time>{time.format(message.at)}</time>
      <p>{message.text}</p>
    </>
  );
}

/**
 * Messages that are not acknowledged yet.
 *
 * Each has an id from the beginning, which is its row's key. So it may be published again when the
 * connection is back: if the first attempt had arrived, the row replaces itself.
 */
function useOutgoing(rows: ReadonlyMap<string, unknown>) {
  const session = useSession();
  const [outgoing, setOutgoing] = useState<Outgoing[]>([]);
  const discard = useCallback(
    (id: string) => setOutgoing((all) => all.filter(({ message }) => message.id !== id)),
    [],
  );
  const attempt = useCallback(
    async (message: Message) => {
      if (session === null) return;
      try {
        await publish(session, "message", [], message);
        discard(message.id);
      } catch (error) {
        if (!session.isOpen) return; // the next session tries again
        const refused = (error as { args?: unknown[] }).args?.[0] ?? error;
        setOutgoing((all) =>
          all.map((one) => (one.message.id === message.id ? { ...one, refused: String(refused) } : one)),
        );
      }
    },
    [session, discard],
  );
  const waiting = useRef(outgoing);
  useEffect(() => {
    waiting.current = outgoing;
  });
  useEffect(() => {
    for (const { message, refused } of waiting.current) if (refused === "") void attempt(message);
  }, [attempt]);
  const send = (message: Message) => {
    setOutgoing((all) => [...all, { message, refused: "" }]);
    void attempt(message);
  };
  // What has arrived is shown once, although its acknowledgement may be a moment behind.
  const shown = outgoing.filter(({ message }) => !rows.has(`message.${message.thread}.${message.id}`));
  return { outgoing: shown, send, discard };
}

/** Who is typing: events that nobody keeps. */
function Typing({ thread, name, messages }: Props & { messages: Message[] }) {
  const [typing, setTyping] = useState<Record<string, number>>({});
  useEvents(`typing.${thread}`, (who) => {
    setTyping((before) => ({ ...before, [String(who)]: Date.now() }));
  });
  useEffect(() => {
    const timer = setInterval(() => setTyping((before) => ({ ...before })), 1000);
    return () => clearInterval(timer);
  }, []);
  // Whoever has sent what was typed is not typing any more.
  const since = (who: string) => Math.max(
    Date.now() - TYPING,
    ...messages.filter(({ author }) => author === who).map(({ at }) => at),
  );
  const names = Object.keys(typing).filter((who) => who !== name && typing[who]! > since(who));
  return <p className="typing">{names.length > 0 && `${names.join(", ")} typing …`}</p>;
}

function Composer({ thread, name, onSend }: Props & { onSend: (text: string) => void }) {
  const session = useSession();
  const told = useRef(0);
  const typed = () => {
    if (session === null || Date.now() - told.current < TYPING / 2) return;
    told.current = Date.now();
    session.publish(`typing.${thread}`, [name]);
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const text = String(new FormData(form).get("text")).trim();
    if (text === "") return;
    onSend(text);
    form.reset();
  };
  return (
    <form className="composer" onSubmit={submit}>
      <input name="text" aria-label="Message" placeholder="Message" maxLength={2000} autoComplete="off" onChange={typed} />
      <button>Send</button>
    </form>
  );
}
