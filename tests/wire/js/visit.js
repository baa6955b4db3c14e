// What a page does with the broker, by autobahn-js or wampy.js: in Node, and in a browser, where this
// is a classic script. `visit` returns what it saw, as plain data.
'use strict';

// What arrives, one promise an event.
function queue() {
  const waiting = [], arrived = [];
  return {
    put: (event) => waiting.length ? waiting.shift()(event) : arrived.push(event),
    take: () => arrived.length ? Promise.resolve(arrived.shift())
      : new Promise((resolve) => waiting.push(resolve)),
  };
}

// A promise of autobahn-js whose progress goes to the function `heard` that it is given.
function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, {resolve, reject}));
  made.notify = (progress) => made.promise.heard(progress);
  return made;
}

// autobahn-js with the interface of which `visit` makes use.
function autobahnJoins(autobahn) {
  const {auth_cra: cra, auth_cryptosign: cryptosign, nacl, util} = autobahn;
  const answers = {
    ticket: (secret) => secret,
    wampcra: (secret, {salt, iterations, keylen, challenge}) =>
      cra.sign(salt ? cra.derive_key(secret, salt, iterations, keylen) : secret, challenge),
    cryptosign: (secret, extra) =>
      cryptosign.sign_challenge(nacl.sign.keyPair.fromSeed(util.htob(secret)), extra),
  };
  return (url, {method, authid, secret, authextra}) => new Promise((joined, refused) => {
    const connection = new autobahn.Connection({
      url, realm: 'realm1', authid, authmethods: [method], authextra, max_retries: 0,
      use_deferred: deferred, onchallenge: (session, asked, extra) => answers[asked](secret, extra),
    });
    connection.onclose = (reason, {reason: uri}) => refused({error: uri ?? reason});
    connection.onopen = (session, welcome) => joined({
      welcome,
      publish: (topic, args, options) =>
        session.publish(topic, args, {}, {acknowledge: true, ...options}),
      subscribe: async (topic, options) => {
        const events = queue();
        await session.subscribe(topic, (args, kwargs, details) => events.put({args, details}),
          options);
        return events.take;
      },
      register: (procedure, steps) => session.register(procedure,
        ([count], kwargs, {progress}) => steps(count, (step) => progress([step]))),
      call: (procedure, args, heard) => {
        const result = session.call(procedure, args, {}, heard && {receive_progress: true});
        result.heard = heard;
        return result;
      },
      leave: () => new Promise((left) => {
        connection.onclose = (reason, details) => left(details.reason);
        connection.close();
      }),
    });
    connection.open();
  });
}

// wampy.js with the same interface. options: of the platform. sign: its plugins {method: sign}.
function wampyJoins(Wampy, sign, options) {
  return async (url, {method, authid, secret, authextra}) => {
    const plugins = {ticket: (password) => () => password, ...sign};
    const session = new Wampy(url, {
      realm: 'realm1', authid, authmethods: [method], authextra, authMode: 'auto',
      authPlugins: {[method]: plugins[method](secret)}, autoReconnect: false,
      uriValidation: 'loose', ...options,
    });
    const uri = (promise) => promise.catch((error) => {
      throw {error: error.errorUri ?? error.name};
    });
    return {
      welcome: await uri(session.connect()),
      publish: (topic, args, more) => uri(session.publish(topic, args, more)),
      subscribe: async (topic, more) => {
        const events = queue();
        await uri(session.subscribe(topic,
          ({argsList: args, details}) => events.put({args, details}), more));
        return events.take;
      },
      register: (procedure, steps) => uri(session.register(procedure,
        ({argsList: [count], result_handler: tell}) => ({
          argsList: [steps(count, (step) => tell({options: {progress: true}, argsList: [step]}))],
        }))),
      call: async (procedure, args, heard) => {
        const more = heard && {progress_callback: ({argsList: [step]}) => heard(step)};
        return (await uri(session.call(procedure, args, more))).argsList[0];
      },
      leave: async () => {
        await session.disconnect();
        return 'wamp.close.goodbye_and_out';
      },
    };
  };
}

async function errorOf(promise) {
  try {
    await promise;
  } catch ({error}) {
    return error;
  }
  return null;
}

// plan: topics, which have keys; procedures of others, `theirs`, that publish to all topics, and its
// own, all of which count up; and the prefix of what is forbidden.
async function visit(join, {url, login, topics, theirs, own, vault}) {
  let peer;
  try {
    peer = await join(url, login);
  } catch ({error}) {
    return {refused: error};
  }
  const {authid, authrole, authmethod} = peer.welcome;
  const seen = {authid, authrole, authmethod, kept: [], steps: [], live: []};

  const queues = [];
  for (const topic of topics) {
    const events = await peer.subscribe(topic, {get_retained: true});
    const {args, details} = await events();
    seen.kept.push([args[0], details.retained]);
    await peer.publish(topic, [`said at ${topic}`], {});
    queues.push(events);
  }

  for (const procedure of own) {
    await peer.register(procedure, (count, progress) => {
      for (let step = 0; step < count; step += 1) {
        progress(step);
      }
      return 'done';
    });
  }
  for (const procedure of [...theirs, ...own]) {
    const steps = [];
    const last = await peer.call(procedure, [3], (step) => steps.push(step));
    seen.steps.push([...steps, last]);
  }
  for (const events of queues) {
    const live = [];
    while (live.length < theirs.length) {
      live.push((await events()).args[0]);
    }
    seen.live.push(live);
  }

  seen.forbidden = [
    await errorOf(peer.publish(`${vault}.topic`, [1])),
    await errorOf(peer.subscribe(`${vault}.topic`)),
    await errorOf(peer.register(`${vault}.mine`, () => 1)),
    await errorOf(peer.call(`${vault}.procedure`, [1])),
  ];
  seen.left = await peer.leave();
  return seen;
}

if (typeof module !== 'undefined') {
  module.exports = {autobahnJoins, wampyJoins, visit};
}
