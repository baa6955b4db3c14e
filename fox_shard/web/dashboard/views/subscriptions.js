// Who subscribes to what.

import { html } from "../vendor/preact-htm.js";
import { number } from "../format.js";
import { link } from "../route.js";
import { Empty } from "../ui.js";
import { Registry } from "./registry.js";

const WHAT = {
  kind: "subscription",
  title: "Subscriptions",
  named: "topic",
  about: "They are those of WAMP and MQTT clients, at all gateways.",
  members: { procedure: "list_subscribers", one: "subscriber" },
  async ask(session, id) {
    const [details, count] = await Promise.all([
      session.call("wamp.subscription.get", [id]),
      session.call("wamp.subscription.count_subscribers", [id]),
    ]);
    return { ...details.args[0], count: count.args[0] };
  },
  columns: [{ name: "Subscribers", width: "7rem", right: true, show: ({ count }) => number(count) }],
  facts: ({ count }) => [["subscribers", number(count)]],
  actions: ({ uri, match }) => html`<div class="buttons"><a class="button" href=${link("live", { topic: uri, match })}>Live events</a></div>`,
  empty: html`
    <${Empty} title="Nobody subscribes to anything.">
      <p>Subscribe by WAMP or MQTT, for example with <code>fox sub 'home.#'</code>, or look at <a href="#/live">live events</a>.</p>
    <//>`,
};

export function Subscriptions() {
  return html`<${Registry} what=${WHAT} />`;
}
