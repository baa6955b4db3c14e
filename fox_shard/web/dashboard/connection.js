// The session of this page: logging in, and coming back after the connection was lost.

import { Session, SessionEnded } from "./wamp.js";
import { Store } from "./store.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;

/** Reasons of ABORT after which somebody has to log in, or to log in otherwise. */
const LOGIN = new Set([
  "wamp.error.authentication_failed",
  "wamp.error.no_matching_auth_method",
  "wamp.error.authentication_required",
  "wamp.error.not_authorized",
  "wamp.error.authentication_denied",
]);

/** Reasons after which it makes no sense to come back without being asked. */
const FINAL = new Set(["wamp.error.no_such_realm", "wamp.close.killed", "fox.close.user_removed"]);

/**
 * phase: "connecting", "login" (somebody has to log in), "open", "lost" (it is tried again), "over".
 * message: a sentence about the last failure. since: when the phase began.
 */
export const connection = new Store({
  phase: "connecting",
  session: null,
  realm: "",
  version: "",
  credentials: null,
  message: "",
  attempts: 0,
  // Who has tried to log in; the password is not remembered.
  user: "",
});

/** An address of the server, whose paths are relative to this page. */
export function address(path) {
  return new URL(path, document.baseURI);
}

function socketAddress() {
  const url = address("ws");
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

let timer = 0;
let current = null;

export async function begin() {
  const settings = await (await fetch(address("dashboard/settings.json"))).json();
  const wanted = new URLSearchParams(location.search).get("realm");
  const kept = JSON.parse(sessionStorage.getItem("fox-shard") ?? "null");
  connection.update({
    version: settings.version,
    defaultRealm: settings.realm,
    realm: wanted || kept?.realm || settings.realm,
  });
  // Whoever had to log in here before is not tried without: each failure counts for the address.
  if (kept?.login) connection.update({ phase: "login", message: "" });
  else connect();
}

function remember() {
  const { realm, credentials } = connection.value;
  // The password is kept nowhere but in this page.
  sessionStorage.setItem("fox-shard", JSON.stringify({ realm, login: credentials !== null }));
}

async function connect() {
  clearTimeout(timer);
  const { realm, credentials, attempts } = connection.value;
  connection.update({ phase: attempts ? "lost" : "connecting", session: null });
  const session = new Session(socketAddress(), realm, credentials);
  current = session;
  session.onEnd = (error) => {
    if (session === current) ended(error);
  };
  try {
    await session.open;
  } catch {
    return; // `onEnd` knows why.
  }
  connection.update({ phase: "open", session, message: "", attempts: 0 });
  remember();
}

function ended(error) {
  const before = connection.value;
  if (LOGIN.has(error.uri)) {
    const message = before.credentials
      ? `${before.credentials.user || "The token"} was not let in: ${error.message}.`
      : "";
    sessionStorage.setItem("fox-shard", JSON.stringify({ realm: before.realm, login: true }));
    connection.update({ phase: "login", session: null, credentials: null, message });
  } else if (FINAL.has(error.uri)) {
    connection.update({ phase: "over", session: null, message: error.message });
  } else {
    const attempts = before.attempts + 1;
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1));
    connection.update({ phase: "lost", session: null, attempts, message: error.message });
    timer = setTimeout(connect, pause * (0.75 + Math.random() / 2));
  }
}

export function logIn(realm, user, secret) {
  leave();
  connection.update({ realm, user, credentials: { user, secret }, attempts: 0 });
  connect();
}

export function logOut() {
  leave();
  connection.update({ phase: "login", session: null, credentials: null, message: "" });
  remember();
}

export function joinRealm(realm) {
  leave();
  connection.update({ realm, attempts: 0 });
  connect();
}

export function tryAgain() {
  connection.update({ attempts: 0 });
  connect();
}

/** Ask for a login although the realm lets anonymous clients in. */
export function askForLogin() {
  leave();
  connection.update({ phase: "login", session: null, message: "" });
}

function leave() {
  clearTimeout(timer);
  const session = current;
  current = null;
  session?.close();
}

/** The header that says over HTTP who the session's user is. */
export function authorization() {
  const { credentials } = connection.value;
  if (!credentials) return {};
  if (!credentials.user) return { Authorization: `Bearer ${credentials.secret}` };
  const bytes = new TextEncoder().encode(`${credentials.user}:${credentials.secret}`);
  return { Authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` };
}

/** Fetch JSON from the server; throws an Error whose message is a sentence. */
export async function fetchJson(path, options = {}) {
  let answer;
  try {
    answer = await fetch(address(path), {
      ...options,
      headers: { ...authorization(), ...options.headers },
    });
  } catch {
    throw new SessionEnded("", "The HTTP server does not answer.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error(body.detail ?? `The server has answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return body;
}
