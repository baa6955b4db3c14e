// Forms to publish an event and to call a procedure.

import { html, useRef, useState } from "../vendor/preact-htm.js";
import { isObject, milliseconds, parseJson } from "../format.js";
import { link } from "../route.js";
import { Check, Field, Heading, Json, Problem, useSession } from "../ui.js";

function useForm(initial) {
  const [fields, setFields] = useState(initial);
  const bind = (name) => ({
    value: fields[name],
    onInput: ({ target }) => setFields((before) => ({ ...before, [name]: target.value })),
  });
  return { fields, bind, setFields };
}

/** What was typed: {args, kwargs, options}. Throws a sentence. */
function payloadOf({ args, kwargs, options }) {
  return {
    args: parseJson(args, "Arguments", Array.isArray, []),
    kwargs: parseJson(kwargs, "Keyword arguments", isObject, {}),
    options: parseJson(options, "Options", isObject, {}),
  };
}

function Payload({ bind, optionsHint }) {
  return html`
    <${Field} as="textarea" rows="3" label="Arguments" hint="a JSON array" wide ...${bind("args")} />
    <div class="row">
      <${Field} as="textarea" rows="2" label="Keyword arguments" hint="a JSON object" ...${bind("kwargs")} />
      <${Field} as="textarea" rows="2" label="Options" hint=${optionsHint} ...${bind("options")} />
    </div>`;
}

export function Send() {
  return html`
    <${Heading} title="Publish and call" about="As this session, with its role." />
    <div class="two"><${Publish} /><${Call} /></div>`;
}

function Publish() {
  const session = useSession();
  const { fields, bind } = useForm({ topic: "", args: "", kwargs: "", options: "" });
  const [retain, setRetain] = useState(false);
  const [done, setDone] = useState(null);
  const [error, setError] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    setError(null);
    setDone(null);
    try {
      const { args, kwargs, options } = payloadOf(fields);
      const id = await session.publish(fields.topic, args, kwargs, retain ? { retain: true, ...options } : options);
      setDone({ id, topic: fields.topic });
    } catch (failure) {
      setError(failure);
    }
  };
  return html`
    <form class="card form" onSubmit=${submit} aria-label="Publish an event">
      <h2>Publish an event</h2>
      <${Field} label="Topic" required placeholder="home.kitchen.lamp" wide ...${bind("topic")} />
      <${Payload} bind=${bind} optionsHint="of PUBLISH, a JSON object" />
      <${Check} label="Keep it as the topic's key (retain)" checked=${retain} onChange=${(event) => setRetain(event.target.checked)} />
      <div class="buttons">
        <button class="primary" type="submit" disabled=${!session}>Publish</button>
        <span role="status">${done && html`Published: every gateway with a subscriber has it. <code>${done.id}</code> ${retain && html`<a href=${link("keys", { topic: done.topic })}>Look at the key</a>`}`}</span>
      </div>
      <${Problem} error=${error} />
    </form>`;
}

function Call() {
  const session = useSession();
  const { fields, bind } = useForm({ procedure: "", args: "", kwargs: "", options: "" });
  const [state, setState] = useState(null);
  const cancel = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    const begun = performance.now();
    const progress = [];
    cancel.current = new AbortController();
    setState({ running: true, progress });
    try {
      const { args, kwargs, options } = payloadOf(fields);
      const onProgress = (result) => {
        progress.push(result);
        setState({ running: true, progress });
      };
      const result = await session.call(fields.procedure, args, kwargs, { ...options, onProgress, signal: cancel.current.signal });
      setState({ result, progress, took: performance.now() - begun });
    } catch (error) {
      setState({ error, progress, took: performance.now() - begun });
    }
  };
  return html`
    <form class="card form" onSubmit=${submit} aria-label="Call a procedure">
      <h2>Call a procedure</h2>
      <${Field} label="Procedure" required placeholder="com.example.add" wide ...${bind("procedure")} />
      <${Payload} bind=${bind} optionsHint="of CALL, a JSON object" />
      <div class="buttons">
        <button class="primary" type="submit" disabled=${!session || state?.running}>Call</button>
        ${state?.running && html`<button type="button" onClick=${() => cancel.current.abort()}>Cancel</button>`}
        <span role="status">${state?.running ? "Waiting for the answer…" : state?.result ? `Answered in ${milliseconds(state.took)}.` : ""}</span>
      </div>
      <${Problem} error=${state?.error}>
        ${state?.error?.kwargs && Object.keys(state.error.kwargs).length > 0 && html`<${Json} label="Keyword arguments of the error" value=${state.error.kwargs} />`}
      <//>
      ${state?.progress.length > 0 && html`<h3>Progressive results: ${state.progress.length}</h3><${Json} label="The latest progressive results" value=${state.progress.slice(-20)} />`}
      ${state?.result && html`
        <h3>Result</h3><${Json} label="Result" value=${state.result.args} />
        ${Object.keys(state.result.kwargs).length > 0 && html`<h3>Keyword arguments</h3><${Json} label="Keyword arguments of the result" value=${state.result.kwargs} />`}`}
    </form>`;
}
