// A WAMP client: JSON over WebSocket (https://wamp-proto.org/spec.html).
//
// Owns: one session, from HELLO to its end, with its calls, publishes and subscriptions. Never: who
// logs in, and what happens when the session is over.

const HELLO = 1, WELCOME = 2, ABORT = 3, CHALLENGE = 4, AUTHENTICATE = 5, GOODBYE = 6, ERROR = 8;
const PUBLISH = 16, PUBLISHED = 17, SUBSCRIBE = 32, SUBSCRIBED = 33, UNSUBSCRIBE = 34;
const UNSUBSCRIBED = 35, EVENT = 36, CALL = 48, CANCEL = 49, RESULT = 50;

const ROLES = {
  caller: { features: { progressive_call_results: true, call_canceling: true } },
  publisher: { features: { publisher_exclusion: true } },
  subscriber: { features: { pattern_based_subscription: true, subscription_revocation: true } },
};

/** An error that the router, or a callee, has answered. The message is a sentence. */
export class WampError extends Error {
  constructor(uri, args = [], kwargs = {}) {
    super(typeof args[0] === "string" ? args[0] : uri);
    this.uri = uri;
    this.args = args;
    this.kwargs = kwargs;
  }
}

/** The session could not begin, or is over. uri: the reason, "" if the connection was lost. */
export class SessionEnded extends Error {
  constructor(uri, message) {
    super(message || uri || "The connection was lost.");
    this.uri = uri;
  }
}

export class Session {
  #socket;
  #requests = new Map();
  #lastRequest = 0;
  #handlers = new Map();
  #credentials;
  #opened;
  #ended = null;

  /** The session is open when the promise `open` is fulfilled. credentials: {user, secret}, or null. */
  constructor(url, realm, credentials) {
    this.realm = realm;
    this.details = {};
    this.id = 0;
    this.onEnd = () => {};
    this.#credentials = credentials;
    this.#socket = new WebSocket(url, "wamp.2.json");
    this.open = new Promise((resolve, reject) => {
      this.#opened = { resolve, reject };
    });
    this.#socket.onopen = () => this.#hello();
    this.#socket.onmessage = ({ data }) => this.#received(JSON.parse(data), data.length);
    this.#socket.onclose = () => this.#end(new SessionEnded("", ""));
  }

  get isOpen() {
    return this.id !== 0 && this.#ended === null;
  }

  close() {
    if (this.isOpen) this.#send([GOODBYE, {}, "wamp.close.close_realm"]);
    this.#end(new SessionEnded("wamp.close.close_realm", "Logged out."));
  }

  /** Call a procedure; the result is {args, kwargs}. options: of CALL, and onProgress. */
  call(procedure, args = [], kwargs = {}, { onProgress, signal, ...options } = {}) {
    if (onProgress) options.receive_progress = true;
    return this.#ask((request) => [CALL, request, options, procedure, args, kwargs], {
      onProgress,
      signal,
    });
  }

  /** Publish, and return the publication id when the router has acknowledged it. */
  publish(topic, args = [], kwargs = {}, options = {}) {
    const acknowledged = { exclude_me: false, ...options, acknowledge: true };
    return this.#ask((request) => [PUBLISH, request, acknowledged, topic, args, kwargs]);
  }

  /**
   * Subscribe; `onEvent` gets {publication, args, kwargs, details, size}. Returns a promise of a function
   * that unsubscribes. onEnd: called with the reason if the router ends the subscription.
   */
  async subscribe(topic, options, onEvent, onEnd = () => {}) {
    const handler = { topic, onEvent, onEnd };
    const id = await this.#ask((request) => [SUBSCRIBE, request, options, topic], { handler });
    return () => this.#unsubscribe(id, handler);
  }

  #unsubscribe(id, handler) {
    const handlers = this.#handlers.get(id);
    if (!handlers?.delete(handler) || handlers.size) return;
    this.#handlers.delete(id);
    if (this.isOpen) this.#ask((request) => [UNSUBSCRIBE, request, id]).catch(() => {});
  }

  #hello() {
    const details = { roles: ROLES, agent: "fox-shard dashboard" };
    if (this.#credentials) {
      details.authmethods = ["ticket"];
      if (this.#credentials.user) details.authid = this.#credentials.user;
    }
    this.#send([HELLO, this.realm, details]);
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #ask(make, more = {}) {
    if (!this.isOpen) return Promise.reject(this.#ended ?? new SessionEnded("", "There is no session yet."));
    const request = (this.#lastRequest += 1);
    return new Promise((resolve, reject) => {
      this.#requests.set(request, { resolve, reject, ...more });
      more.signal?.addEventListener("abort", () => {
        if (this.isOpen && this.#requests.has(request)) {
          this.#send([CANCEL, request, { mode: "killnowait" }]);
        }
      });
      this.#send(make(request));
    });
  }

  #take(request) {
    const waiting = this.#requests.get(request);
    this.#requests.delete(request);
    return waiting;
  }

  #received(message, size) {
    switch (message[0]) {
      case WELCOME:
        [, this.id, this.details] = message;
        this.#opened.resolve(this);
        break;
      case ABORT:
        this.#end(new SessionEnded(message[2], message[1].message));
        break;
      case CHALLENGE:
        this.#send([AUTHENTICATE, this.#credentials?.secret ?? "", {}]);
        break;
      case GOODBYE:
        this.#end(new SessionEnded(message[2], message[1].message));
        break;
      case EVENT:
        this.#event(message, size);
        break;
      case RESULT:
        this.#result(message);
        break;
      case SUBSCRIBED: {
        const waiting = this.#take(message[1]);
        if (!this.#handlers.has(message[2])) this.#handlers.set(message[2], new Set());
        this.#handlers.get(message[2]).add(waiting.handler);
        waiting.resolve(message[2]);
        break;
      }
      case PUBLISHED:
        this.#take(message[1])?.resolve(message[2]);
        break;
      case UNSUBSCRIBED:
        if (message[1] === 0) this.#revoked(message[2]);
        else this.#take(message[1])?.resolve();
        break;
      case ERROR:
        this.#take(message[2])?.reject(new WampError(message[4], message[5], message[6]));
        break;
    }
  }

  #event([, subscription, publication, details, args = [], kwargs = {}], size) {
    for (const handler of this.#handlers.get(subscription) ?? []) {
      handler.onEvent({ topic: details.topic ?? handler.topic, publication, details, args, kwargs, size });
    }
  }

  #revoked({ subscription, reason }) {
    const handlers = this.#handlers.get(subscription) ?? [];
    this.#handlers.delete(subscription);
    for (const handler of handlers) handler.onEnd(reason);
  }

  #result([, request, details, args = [], kwargs = {}]) {
    if (details.progress) this.#requests.get(request)?.onProgress?.({ args, kwargs });
    else this.#take(request)?.resolve({ args, kwargs });
  }

  #end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#socket.close();
    this.#opened.reject(error);
    for (const { reject } of this.#requests.values()) reject(error);
    this.#requests.clear();
    this.#handlers.clear();
    this.onEnd(error);
  }
}
