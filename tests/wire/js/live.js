// What a page of a web application does with autobahn-js: it logs in at the application, listens,
// lets the application publish, and calls it. In Node, and in a page, where this is a classic script.
'use strict';

// plan: url of the WebSockets; origin of the application; user that logs in, or null; text to publish;
// paths that publish it; serializer (json, msgpack, cbor).
async function live(autobahn, {url, origin, user, text, paths, serializer}) {
  const serializers = {
    json: autobahn.serializer.JSONSerializer,
    msgpack: autobahn.serializer.MsgpackSerializer,
    cbor: autobahn.serializer.CBORSerializer,
  };
  const post = async (path, body) => {
    const headers = {'content-type': 'application/json'};
    const answer = await fetch(origin + path, {method: 'POST', headers, body: JSON.stringify(body)});
    if (!answer.ok) {
      throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    }
  };
  if (user) {
    await post('/login', {user});
  }
  const connection = new autobahn.Connection({
    realm: 'realm1', max_retries: 0,
    transports: [{type: 'websocket', url, serializers: [new serializers[serializer]()]}],
  });
  const {session, details} = await new Promise((resolve, reject) => {
    connection.onopen = (opened, welcome) => resolve({session: opened, details: welcome});
    connection.onclose = (reason, {reason: uri}) => reject(new Error(`${reason} ${uri}`));
    connection.open();
  });
  const seen = {who: [details.authid, details.authrole], heard: []};
  const arrived = [];
  let arrive;
  await session.subscribe('com.example.news', ([what]) => {
    arrived.push(what);
    arrive?.();
  });
  for (const path of paths) {
    await post(path, {text});
    while (arrived.length === seen.heard.length) {
      await new Promise((resolve) => { arrive = resolve; });
    }
    seen.heard.push(arrived[seen.heard.length]);
  }
  seen.sum = await session.call('com.example.add', [2, 3]);
  seen.left = await new Promise((resolve) => {
    connection.onclose = (reason, {reason: uri}) => resolve(uri);
    connection.close();
  });
  return seen;
}

if (typeof module !== 'undefined') {
  module.exports = {live};
}
