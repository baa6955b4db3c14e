// The reducer on the page of fox-wamp, as it is printed there.
// Arguments: port. The last line printed is what became of the keys, as JSON.
'use strict';

delete globalThis.WebSocket;

const autobahn = require('autobahn');
const {reducing} = require('../../../examples/reducers.cjs');

const [port] = process.argv.slice(2);

function join() {
  const connection = new autobahn.Connection({
    realm: 'realm1', url: `ws://127.0.0.1:${port}/ws`, max_retries: 0,
  });
  return new Promise((resolve, reject) => {
    connection.onopen = (session) => resolve({session, connection});
    connection.onclose = (reason, details) => reject(new Error(`${reason} ${details.reason}`));
    connection.open();
  });
}

async function main() {
  const {session, connection} = await join();
  const register = reducing(session);
  await register('reduce.the.key.#', (args, kwargs, options) => {
    return options.retained + kwargs.value
  },
  {reducer: true})
  const seen = {};
  let arrived;
  const done = new Promise((resolve) => { arrived = resolve; });
  await session.subscribe('reduce.the.key.#', (args, kwargs, details) => {
    seen[details.topic] = args[0];
    if (seen['reduce.the.key.a'] === 10 && seen['reduce.the.key.b'] === 7) arrived();
  }, {retained: true});
  for (const [topic, value] of [['a', 1], ['b', 3], ['a', 2], ['a', 7], ['b', 4]]) {
    await session.publish(`reduce.the.key.${topic}`, [], {value}, {acknowledge: true});
  }
  await done;
  console.log(JSON.stringify(seen));
  connection.onclose = () => {};
  connection.close();
}

main().catch((error) => { console.error(error); process.exit(1); });
