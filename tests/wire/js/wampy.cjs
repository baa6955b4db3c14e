// A wampy.js session does all it can, and tells what it saw as one line of JSON.
// Arguments: serializer (json, msgpack, cbor), port, prefix of its topics.
'use strict';

const {Wampy} = require('wampy');
const {JsonSerializer} = require('wampy/JsonSerializer.js');
const {MsgpackSerializer} = require('wampy/MsgpackSerializer.js');
const {CborSerializer} = require('wampy/CborSerializer.js');
const {w3cwebsocket} = require('websocket');

const [serializer, port, prefix] = process.argv.slice(2);
const serializers = {json: JsonSerializer, msgpack: MsgpackSerializer, cbor: CborSerializer};

const EVERYTHING = [null, true, 0, -1, 2 ** 40, 1.5, 'ä€𝄞', [], {}, [[1], {a: {b: null}}]];

function join(onClose) {
  const session = new Wampy(`ws://127.0.0.1:${port}/ws`, {
    ws: w3cwebsocket, realm: 'realm1', serializer: new serializers[serializer](),
    autoReconnect: false, onClose, uriValidation: 'loose',
  });
  return session.connect().then((welcome) => [session, welcome]);
}

// What arrives at the topic, one promise an event.
async function events(session, topic, options) {
  const waiting = [], arrived = [];
  const {subscriptionId} = await session.subscribe(topic, ({details, argsList, argsDict}) => {
    const event = {args: argsList, kwargs: argsDict, details};
    waiting.length ? waiting.shift()(event) : arrived.push(event);
  }, options);
  const next = () => arrived.length ? Promise.resolve(arrived.shift())
    : new Promise((resolve) => waiting.push(resolve));
  next.id = subscriptionId;
  return next;
}

async function errorOf(promise) {
  try {
    await promise;
  } catch (error) {
    return {error: error.errorUri, args: error.argsList, kwargs: error.argsDict};
  }
  return null;
}

async function all(session, welcome, peer) {
  const seen = {realm: welcome.realm, role: welcome.authrole};

  // Publish and subscribe. Options that are not given are undefined.
  const own = await events(peer, `${prefix}.own`);
  await session.publish(`${prefix}.own`, {argsList: EVERYTHING, argsDict: {k: 'v'}},
    {disclose_me: true, exclude: [2 ** 50]});
  const event = await own();
  seen.echo = JSON.stringify(event.args) === JSON.stringify(EVERYTHING);
  seen.kwargs = event.kwargs;
  seen.publisher = event.details.publisher === session.getSessionId();

  await session.publish(`${prefix}.own`, {argsList: [undefined, {a: undefined, b: 1}]});
  const hole = await own();
  seen.undefined = [hole.args[0] ?? null, hole.args[1].a ?? null, hole.args[1].b];

  const wild = await events(peer, `${prefix}..wild`, {match: 'wildcard'});
  await session.publish(`${prefix}.x.wild`, [1]);
  seen.wildcard = (await wild()).details.topic;
  await peer.unsubscribe(own.id);

  // Binary data, dates, and halves of characters: nobody loses a session.
  const odd = await events(peer, `${prefix}.odd`);
  const bytes = new Uint8Array([0, 255]);
  if (serializer !== 'json') {
    await session.publish(`${prefix}.odd`, [bytes, new Date(1e12)]);
    const [data, date] = (await odd()).args;
    seen.bytes = [...data];
    seen.date = date.getTime();
    for (const bad of [new Date(NaN), new Date(8.64e15)]) {
      await errorOf(session.publish(`${prefix}.odd`, [bad]));
    }
  }
  if (serializer === 'cbor') {
    await session.publish(`${prefix}.odd`, [new Set([1]), /a.*/]);
    const [set, expression] = (await odd()).args;
    seen.set = [...set];
    seen.expression = expression.source;
  }
  const half = await errorOf(session.publish(`${prefix}.odd`, ['\ud83d']));
  seen.half = half && half.error;

  // Calls.
  await session.register(`${prefix}.add`, ({argsList: [a, b]}) => ({argsList: [a + b]}));
  seen.sum = (await peer.call(`${prefix}.add`, [2, 3], {timeout: 20000})).argsList;
  await session.register(`${prefix}.broken`, () => {
    throw {error: 'com.example.broken', argsList: ['why'], argsDict: {where: 'here'}};
  });
  seen.error = await errorOf(peer.call(`${prefix}.broken`));
  seen.nobody = (await errorOf(session.call(`${prefix}.nobody`))).error;
  const steps = [];
  await session.register(`${prefix}.steps`, ({result_handler}) => {
    for (let step = 0; step < 3; step += 1) {
      result_handler({options: {progress: true}, argsList: [step]});
    }
    return {argsList: ['done']};
  });
  const last = await peer.call(`${prefix}.steps`, null, {
    progress_callback: ({argsList}) => steps.push(argsList[0]),
  });
  seen.steps = [...steps, last.argsList[0]];
  await session.unregister(`${prefix}.add`);
  seen.gone = (await errorOf(peer.call(`${prefix}.add`))).error;
  seen.count = (await session.call('wamp.session.count')).argsList[0] > 1;

  // With the test's own session.
  seen.theirs = (await session.call(`${prefix}.theirs`, ['from wampy'])).argsList[0];
  return seen;
}

(async () => {
  let closed;
  const done = new Promise((resolve) => { closed = resolve; });
  const [session, welcome] = await join(closed);
  const [peer] = await join();
  const seen = await all(session, welcome, peer);
  await peer.disconnect();
  await session.disconnect();
  await done;
  console.log(JSON.stringify(seen));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
