// What the hooks use of autobahn-js, which comes without types.
declare module "autobahn-browser" {
  export interface Subscription {
    unsubscribe(): Promise<void>;
  }

  export interface EventDetails {
    topic: string;
    publication: number;
    retained?: boolean;
    [more: string]: unknown;
  }

  export type Handler = (args: unknown[], kwargs: Record<string, unknown>, details: EventDetails) => void;

  export interface Session {
    id: number;
    isOpen: boolean;
    publish(
      topic: string, args?: unknown[], kwargs?: object, options?: object,
    ): Promise<{ id: number }> | undefined;
    call(procedure: string, args?: unknown[], kwargs?: object, options?: object): Promise<unknown>;
    subscribe(pattern: string, handler: Handler, options?: object): Promise<Subscription>;
  }

  export class Error {
    error: string;
    args: unknown[];
    kwargs: Record<string, unknown>;
  }

  export class Connection {
    constructor(options: object);
    onopen: (session: Session, details: object) => void;
    onclose: (reason: string, details: object) => boolean;
    open(): void;
    close(): void;
  }

  const autobahn: { Connection: typeof Connection; Error: typeof Error };
  export default autobahn;
}
