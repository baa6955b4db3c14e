// What the keys and tables of the realm hold; see conf/schema.json.

export interface Message {
  thread: string;
  id: string;
  author: string;
  text: string;
  at: number;
}

export interface Total {
  thread: string;
  messages: number;
  last: number;
}

export interface Thread {
  title: string;
}

export interface Person {
  name: string;
}

export interface Moderating {
  name: string;
  session: number;
}

/** A URI component that is nobody else's. */
export function newId(): string {
  return `m${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10).padEnd(8, "0")}`;
}
