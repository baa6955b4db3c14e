// The page: navigation, the realm, logging in, and the view that is shown.

import { html, render, useEffect, useState } from "./vendor/preact-htm.js";
import { askForLogin, begin, connection, joinRealm, logIn, logOut, tryAgain } from "./connection.js";
import { link, route } from "./route.js";
import { follow, realmsOf, status } from "./status.js";
import { useStore } from "./store.js";
import { nextTheme, theme } from "./theme.js";
import { Field, sentence } from "./ui.js";
import { Overview } from "./views/overview.js";
import { Processes } from "./views/processes.js";
import { Sessions } from "./views/sessions.js";
import { Keys } from "./views/keys.js";
import { Tables } from "./views/tables.js";
import { Locks } from "./views/locks.js";
import { History } from "./views/history.js";
import { Live } from "./views/live.js";
import { Send } from "./views/send.js";
import { Subscriptions } from "./views/subscriptions.js";
import { Registrations } from "./views/registrations.js";
import { Reducers } from "./views/reducers.js";
import { Frames } from "./views/frames.js";

const GROUPS = [
  ["Server", [
    ["overview", "Overview", Overview],
    ["processes", "Processes", Processes],
    ["sessions", "Sessions", Sessions],
    ["frames", "Frames", Frames],
  ]],
  ["Data", [
    ["keys", "Keys", Keys],
    ["tables", "Tables", Tables],
    ["locks", "Locks", Locks],
    ["history", "History", History],
  ]],
  ["Messages", [
    ["live", "Live events", Live],
    ["send", "Publish and call", Send],
    ["subscriptions", "Subscriptions", Subscriptions],
    ["registrations", "Registrations", Registrations],
    ["reducers", "Reducers", Reducers],
  ]],
];
const VIEWS = Object.fromEntries(GROUPS.flatMap(([, views]) => views.map((one) => [one[0], one])));

function Navigation({ open, close }) {
  const { view } = useStore(route);
  return html`
    <nav id="navigation" class=${open ? "open" : ""} aria-label="Views">
      ${GROUPS.map(
        ([group, views]) => html`
          <div key=${group} class="nav-group">
            <h2>${group}</h2>
            <ul>
              ${views.map(
                ([name, title]) => html`
                  <li key=${name}>
                    <a href=${link(name)} aria-current=${name === view ? "page" : undefined} onClick=${close}>
                      ${title}
                    </a>
                  </li>`,
              )}
            </ul>
          </div>`,
      )}
      <p class="nav-foot"><a href="api/docs">HTTP API</a></p>
    </nav>`;
}

const PHASES = {
  connecting: ["wait", "Connecting"],
  login: ["wait", "Logged out"],
  open: ["good", "Connected"],
  lost: ["bad", "Connection lost"],
  over: ["bad", "Disconnected"],
};
const THEMES = { system: "as the system", light: "light", dark: "dark" };

function TopBar({ open, toggle }) {
  const { phase, session, realm, credentials } = useStore(connection);
  const { latest, error } = useStore(status);
  const realms = new Set([...realmsOf(latest), realm]);
  const colours = THEMES[useStore(theme)];
  const [kind, text] = PHASES[phase];
  return html`
    <header class="top">
      <button class="menu" aria-expanded=${open} aria-controls="navigation" onClick=${toggle}>
        <span aria-hidden="true">☰</span><span class="sr">Menu</span>
      </button>
      <a class="brand" href=${link("overview")}>
        <img src="dashboard/icon.svg" alt="" width="26" height="26" /><span>fox-shard</span>
      </a>
      <span class="space"></span>
      <span class=${`state ${kind}`}><span class="dot" aria-hidden="true"></span><span class="state-text">${text}</span></span>
      ${phase !== "login" &&
      html`
        <label class="realm">
          <span>Realm</span>
          <select value=${realm} onChange=${(event) => joinRealm(event.target.value)}>
            ${[...realms].sort().map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
          </select>
        </label>`}
      <button class="plain" onClick=${nextTheme} title=${`Colours: ${colours}`}>
        <span aria-hidden="true">◐</span><span class="sr">Colours: ${colours}</span>
      </button>
      ${session &&
      (credentials
        ? html`<button class="plain" onClick=${logOut}>Log out<span class="minor"> ${session.details.authid}</span></button>`
        : error?.status === 403 &&
          html`<button class="plain" onClick=${askForLogin}>Log in</button>`)}
    </header>`;
}

function Login() {
  const { realm, message, user: known } = useStore(connection);
  const [where, setWhere] = useState(realm);
  const [user, setUser] = useState(known);
  const [secret, setSecret] = useState("");
  const isInsecure = location.protocol === "http:" && !/^(localhost|127\.|\[::1\])/.test(location.hostname);
  const submit = (event) => {
    event.preventDefault();
    logIn(where, user, secret);
  };
  useEffect(() => {
    document.title = "Log in · fox-shard";
    document.querySelector(`.login input[name=${known ? "password" : "username"}]`)?.focus();
  }, []);
  return html`
    <main class="login">
      <form class="card" onSubmit=${submit}>
        <h1>Log in</h1>
        <p class="quiet">This server has users. Log in as one whose role may do what you want to do here.</p>
        ${message && html`<div class="note bad" role="alert"><p>${message}</p></div>`}
        <${Field} label="User" name="username" autocomplete="username" value=${user} onInput=${(event) => setUser(event.target.value)}
          hint="Leave this empty to log in with a token." />
        <${Field} label="Password or token" name="password" type="password" autocomplete="current-password" required value=${secret}
          onInput=${(event) => setSecret(event.target.value)} />
        <${Field} label="Realm" required value=${where} onInput=${(event) => setWhere(event.target.value)} />
        ${isInsecure &&
        html`<div class="note warn"><p>This page was not loaded by HTTPS: whoever listens in the network sees the password.</p></div>`}
        <div class="buttons"><button type="submit" class="primary">Log in</button></div>
      </form>
    </main>`;
}

function ConnectionNote() {
  const { phase, message, attempts, realm } = useStore(connection);
  if (phase === "lost" && attempts > 1) {
    return html`
      <div class="note warn" role="status">
        <p><b>The connection to the server is lost; it is tried again.</b> ${message && sentence(message)} What is shown may be old.</p>
        <button onClick=${tryAgain}>Try now</button>
      </div>`;
  }
  if (phase === "over") {
    return html`
      <div class="note bad" role="alert">
        <p><b>The session in ${realm} is over.</b> ${sentence(message || "The server has ended it")}</p>
        <button onClick=${tryAgain}>Join again</button>
      </div>`;
  }
  return null;
}

function App() {
  const { view } = useStore(route);
  const { phase, session } = useStore(connection);
  const [open, setOpen] = useState(false);
  const [wasOpen, setWasOpen] = useState(false);
  useEffect(() => {
    if (session) setWasOpen(true);
    if (phase === "login") setWasOpen(false);
  }, [session, phase]);
  const View = (VIEWS[view] ?? VIEWS.overview)[2];
  const onKeyDown = (event) => {
    if (event.key === "Escape") setOpen(false);
  };
  return html`
    <a class="skip" href="#content" onClick=${(event) => {
      event.preventDefault();
      document.querySelector("main h1")?.focus();
    }}>Skip to the content</a>
    <${TopBar} open=${open} toggle=${() => setOpen(!open)} />
    ${phase === "login"
      ? html`<${Login} />`
      : html`
          <div class="frame" onKeyDown=${onKeyDown}>
            <${Navigation} open=${open} close=${() => setOpen(false)} />
            <main id="content">
              <${ConnectionNote} />
              ${session || wasOpen
                ? html`<${View} key=${view} />`
                : phase === "connecting" || phase === "lost"
                  ? html`<p class="quiet boot" role="status">Connecting to the server…</p>`
                  : null}
            </main>
          </div>`}
    <div id="announcements" class="sr" aria-live="polite"></div>`;
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
follow();
begin().catch(() => connection.update({ phase: "over", message: "The server's HTTP part does not answer." }));
