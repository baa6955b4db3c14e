// What the page of fox-wamp, whose clients shall run unchanged, says of retained keys.
// Arguments: port, a prefix of topics. The last line printed is what was seen, as JSON.
'use strict';

delete globalThis.WebSocket;

const autobahn = require('autobahn');

const [port, prefix] = process.argv.slice(2);
const KEY = `${prefix}.the.key`;
const ACKNOWLEDGE = {acknowledge: true};

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

async function leave({session, connection}) {
  const closed = new Promise((resolve) => { connection.onclose = resolve; });
  connection.close();
  await closed;
}

async function errorOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error.error;
  }
  return null;
}

// The keys that match, as somebody who comes now is shown them: [[topic, args, kwargs]].
async function keys(session, topic, match = 'exact') {
  const seen = [];
  const subscription = await session.subscribe(topic, (args, kwargs, details) => {
    seen.push([details.topic || topic, args, kwargs, details.retained === true]);
  }, {match, retainedState: true});
  // A reply of the router comes behind the keys that are shown at first.
  await session.call('wamp.session.count');
  await session.unsubscribe(subscription);
  return seen;
}

async function all(ann, bob, cid) {
  const seen = {};
  const printed = {retain: 100, weak: 'public', when: {status: 'started'}, watch: false};

  // "when: publish only if the key meets requirements."
  seen.early = await errorOf(
    ann.session.publish(KEY, ['args'], {kwArgs: false}, {...printed, ...ACKNOWLEDGE}));
  await ann.session.publish(KEY, [{status: 'started'}], {}, {retain: 0, ...ACKNOWLEDGE});
  seen.started = (await keys(bob.session, KEY))[0][1];
  await ann.session.publish(KEY, ['args'], {kwArgs: false}, {...printed, ...ACKNOWLEDGE});
  seen.kept = (await keys(bob.session, KEY))[0];

  // "null means that key should not be exists."
  const absent = {retain: 0, when: null, ...ACKNOWLEDGE};
  seen.there = await errorOf(bob.session.publish(KEY, ['mine'], {}, absent));
  seen.notThere = await errorOf(bob.session.publish(`${KEY}.other`, ['mine'], {}, absent));

  // "Default value is false that means message does no retain."
  await ann.session.publish(`${KEY}.passing`, ['by'], {}, ACKNOWLEDGE);
  seen.passing = await keys(bob.session, `${KEY}.passing`);

  // "watch: wait the necessary condition … the only one achieves acknowledge message."
  const watching = {retain: 0, when: {status: 'ready'}, watch: true, ...ACKNOWLEDGE};
  const turns = [];
  const watchers = [bob, cid].map((one, number) =>
    one.session.publish(KEY, [{status: 'taken', by: number}], {}, watching)
      .then(() => turns.push(number)));
  // What a session publishes later on the same topic is applied later: both wait by now.
  for (const one of [bob, cid]) await one.session.publish(KEY, [], {}, ACKNOWLEDGE);
  await ann.session.publish(KEY, [{status: 'ready'}], {}, {retain: 0, ...ACKNOWLEDGE});
  await Promise.race(watchers);
  seen.turnsAfterOne = turns.length;
  await ann.session.publish(KEY, [{status: 'ready'}], {}, {retain: 0, ...ACKNOWLEDGE});
  await Promise.all(watchers);
  seen.turnsAfterTwo = turns.length;

  // "sequence: generate unique key."
  const ids = [];
  for (const job of ['first', 'second']) {
    const {id} = await ann.session.publish(`${KEY}.jobs`, [job], {},
      {sequence: true, ...ACKNOWLEDGE});
    ids.push(id);
  }
  const jobs = await keys(bob.session, `${KEY}.jobs.`, 'prefix');
  seen.jobs = jobs.map(([, args]) => args[0]).sort();
  seen.named = jobs.every(([topic], i) =>
    topic === `${KEY}.jobs.~${String(ids[i]).padStart(16, '0')}`);

  // "weak: the key disappears then client disconnects. (private|public) who could see."
  await cid.session.publish(`${KEY}.weak.a`, ['shown'], {},
    {retain: 0, weak: 'public', ...ACKNOWLEDGE});
  await cid.session.publish(`${KEY}.weak.b`, ['secret'], {},
    {retain: 0, weak: 'private', ...ACKNOWLEDGE});
  seen.weak = (await keys(bob.session, `${KEY}.weak.`, 'prefix')).map(([, args]) => args[0]).sort();
  seen.own = (await keys(cid.session, `${KEY}.weak.`, 'prefix')).map(([, args]) => args[0]).sort();
  let tell;
  const gone = new Promise((resolve) => { tell = resolve; });
  await bob.session.subscribe(`${KEY}.weak.`, (args, kwargs, details) => {
    // Why it is no more is in the EVENT, but autobahn does not pass it on.
    if (!args || !args.length) tell(details.topic);
  }, {match: 'prefix', retained: true});
  await leave(cid);
  seen.gone = await gone;
  return seen;
}

async function main() {
  const sessions = [await join(), await join(), await join()];
  console.log(JSON.stringify(await all(...sessions)));
  for (const one of sessions.slice(0, 2)) await leave(one);
}

main().catch((error) => { console.error(error); process.exit(1); });
