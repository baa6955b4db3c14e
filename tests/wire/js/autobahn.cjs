// An autobahn-js session does all it can, and tells what it saw as one line of JSON.
// Arguments: serializer (json, msgpack, cbor), transport (websocket, rawsocket), port, peer's prefix.
'use strict';

// Newer Nodes have a WebSocket of their own, which autobahn-js takes for a browser's.
delete globalThis.WebSocket;

const autobahn = require('autobahn');

const [serializer, transport, port, prefix] = process.argv.slice(2);
const serializers = {
  json: autobahn.serializer.JSONSerializer,
  msgpack: autobahn.serializer.MsgpackSerializer,
  cbor: autobahn.serializer.CBORSerializer,
};
const transports = {
  websocket: {type: 'websocket', url: `ws://127.0.0.1:${port}/ws`,
    serializers: [new serializers[serializer]()]},
  rawsocket: {type: 'rawsocket', host: '127.0.0.1', port: Number(port)},
};
const connection = new autobahn.Connection({
  realm: 'realm1', transports: [transports[transport]], max_retries: 0,
  on_user_error: () => {}, // of procedures: the caller gets it
});

const EVERYTHING = [null, true, 0, -1, 2 ** 40, 1.5, 'ä€𝄞', [], {}, [[1], {a: {b: null}}]];

// What arrives at the topic, one promise an event.
async function events(session, topic, options) {
  const waiting = [], arrived = [];
  await session.subscribe(topic, (args, kwargs, details) => {
    const event = {args, kwargs, details};
    waiting.length ? waiting.shift()(event) : arrived.push(event);
  }, options);
  return () => arrived.length ? Promise.resolve(arrived.shift())
    : new Promise((resolve) => waiting.push(resolve));
}

async function errorOf(promise) {
  try {
    await promise;
  } catch (error) {
    return {error: error.error, args: error.args, kwargs: error.kwargs};
  }
  return null;
}

async function all(session, details) {
  const seen = {protocol: details.transport.protocol, realm: details.realm, role: details.authrole};

  // Publish and subscribe.
  const own = await events(session, `${prefix}.own`);
  const publication = await session.publish(`${prefix}.own`, EVERYTHING, {k: 'v'},
    {acknowledge: true, exclude_me: false, disclose_me: true});
  const event = await own();
  seen.echo = JSON.stringify(event.args) === JSON.stringify(EVERYTHING);
  seen.kwargs = event.kwargs;
  seen.publication = event.details.publication === publication.id;
  seen.publisher = event.details.publisher === session.id;

  // An option that is undefined is not set.
  const unset = await events(session, `${prefix}.unset`, {match: undefined, filter: undefined});
  await session.publish(`${prefix}.unset`, [1], {},
    {acknowledge: true, exclude_me: false, exclude: undefined, retain: undefined});
  seen.unset = (await unset()).args;

  const wild = await events(session, `${prefix}..wild`, {match: 'wildcard'});
  const start = await events(session, `${prefix}.start`, {match: 'prefix'});
  const me = {acknowledge: true, exclude_me: false};
  await session.publish(`${prefix}.x.wild`, [1], {}, me);
  await session.publish(`${prefix}.start.y`, [2], {}, me);
  seen.wildcard = (await wild()).details.topic;
  seen.prefix = (await start()).details.topic;

  await session.publish(`${prefix}.kept`, ['kept'], {}, {acknowledge: true, retain: true});
  const kept = await events(session, `${prefix}.kept`, {get_retained: true});
  const old = await kept();
  seen.retained = [old.args[0], old.details.retained];

  seen.refused = (await errorOf(session.publish('wamp.x', [], {}, {acknowledge: true}))).error;

  // Calls.
  await session.register(`${prefix}.add`, ([a, b]) => a + b);
  seen.sum = await session.call(`${prefix}.add`, [2, 3]);
  await session.register(`${prefix}.broken`, () => {
    throw new autobahn.Error('com.example.broken', ['why'], {where: 'here'});
  });
  seen.error = await errorOf(session.call(`${prefix}.broken`));
  seen.nobody = (await errorOf(session.call(`${prefix}.nobody`))).error;
  // Of the test's procedure, and of its own.
  await session.register(`${prefix}.own_steps`, ([count], kwargs, invocation) => {
    for (let step = 0; step < count; step += 1) {
      invocation.progress([step]);
    }
    return 'done';
  });
  for (const name of ['steps', 'own_steps']) {
    const steps = [];
    await session.call(`${prefix}.${name}`, [5], {}, {receive_progress: true})
      .then((result) => steps.push(result), null, (progress) => steps.push(progress));
    seen[name] = steps;
  }
  await session.register(`${prefix}.any`, (args, kwargs, invocation) => invocation.procedure,
    {match: 'prefix'});
  seen.pattern = await session.call(`${prefix}.any.thing`);
  seen.count = await session.call('wamp.session.count') > 0;

  // With the test's own session, at another gateway.
  seen.theirs = await session.call(`${prefix}.theirs`, ['from js']);
  const there = await events(session, `${prefix}.there`);
  await session.publish(`${prefix}.here`, ['hello'], {from: 'js'}, {acknowledge: true});
  seen.there = (await there()).args;
  return seen;
}

let seen;
connection.onopen = async (session, details) => {
  try {
    seen = await all(session, details);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
  connection.close();
};
connection.onclose = (reason, details) => {
  if (seen === undefined) {
    console.error('closed', reason, details);
    process.exit(1);
  }
  console.log(JSON.stringify({...seen, closed: details.reason}));
  process.exit(0);
};
connection.open();
