// An autobahn-js session follows the state under a prefix, and takes a snapshot of it.
// Arguments: serializer (json, msgpack, cbor), port, prefix.
'use strict';

// Newer Nodes have a WebSocket of their own, which autobahn-js takes for a browser's.
delete globalThis.WebSocket;

const autobahn = require('autobahn');

const [serializer, port, prefix] = process.argv.slice(2);
const serializers = {
  json: autobahn.serializer.JSONSerializer,
  msgpack: autobahn.serializer.MsgpackSerializer,
  cbor: autobahn.serializer.CBORSerializer,
};
const connection = new autobahn.Connection({
  realm: 'realm1', max_retries: 0,
  transports: [{type: 'websocket', url: `ws://127.0.0.1:${port}/ws`,
    serializers: [new serializers[serializer]()]}],
});

// [topic, first argument, retained] of everything that arrives; `got(n)`: when n have.
async function follow(session, options) {
  const arrived = [], waiting = [];
  const subscription = await session.subscribe(`${prefix}.`, (args, kwargs, details) => {
    arrived.push([details.topic.slice(prefix.length + 1), args?.[0] ?? null, !!details.retained]);
    waiting.filter(([count]) => arrived.length === count).forEach(([, done]) => done());
  }, {match: 'prefix', ...options});
  const got = (count) => arrived.length >= count ? Promise.resolve()
    : new Promise((done) => waiting.push([count, done]));
  return {arrived, got, subscription};
}

async function all(session) {
  const write = (topic, args, options) => session.publish(`${prefix}.${topic}`, args, {},
    {acknowledge: true, retain: true, ...options});
  await write('a', [{n: 1}]);
  await write('b', [{n: 9}]);

  const state = await follow(session, {retained: true});
  await state.got(2);
  const big = await follow(session, {retained: true, filter: {n: {$gt: 5}}});
  await big.got(1);
  await write('a', [{n: 7}]);
  await big.got(2);
  await write('a', [{n: 2}]);
  await write('a', []);
  await big.got(3);
  await state.got(5);

  const snapshot = await follow(session, {snapshot: true});
  const reason = await snapshot.subscription.on_unsubscribe;
  return {
    state: [state.arrived.slice(0, 2).sort(), ...state.arrived.slice(2)],
    big: big.arrived,
    snapshot: snapshot.arrived,
    reason,
    active: [state, big, snapshot].map(({subscription}) => subscription.active),
  };
}

let seen;
connection.onopen = async (session) => {
  try {
    seen = await all(session);
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
  console.log(JSON.stringify(seen));
  process.exit(0);
};
connection.open();
