// The connection of a page: one WAMP session for all hooks, and another one after it is lost.

import autobahn, { type Session } from "autobahn-browser";
import { createContext, type ReactNode, useContext, useEffect, useState } from "react";

const SessionContext = createContext<Session | null>(null);

interface Props {
  url: string;
  realm: string;
  children: ReactNode;
}

/** Connects as long as it is mounted, and again a second after the connection is lost. */
export function FoxProvider({ url, realm, children }: Props) {
  const [session, setSession] = useState<Session | null>(null);
  useEffect(() => {
    const connection = new autobahn.Connection({
      url,
      realm,
      max_retries: -1,
      initial_retry_delay: 1,
      max_retry_delay: 5,
    });
    connection.onopen = setSession;
    connection.onclose = () => {
      setSession(null);
      return false; // go on trying
    };
    connection.open();
    return () => {
      connection.onclose = () => true;
      connection.close();
    };
  }, [url, realm]);
  return <SessionContext value={session}>{children}</SessionContext>;
}

/** The session, or null while there is no connection. It is another one after each loss. */
export function useSession(): Session | null {
  return useContext(SessionContext);
}
