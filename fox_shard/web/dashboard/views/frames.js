import { html } from "../vendor/preact-htm.js";
import { Empty, Heading } from "../ui.js";

export function Frames() {
  return html`<${Heading} title="Frames" /><${Empty} title="Not yet."><p></p><//>`;
}
