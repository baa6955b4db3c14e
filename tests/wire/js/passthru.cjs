// Two wampy.js sessions use payload passthru mode, and tell what they saw as one line of JSON.
// Arguments: serializer (json, msgpack, cbor), port, prefix of its topics.
'use strict';

const {Wampy} = require('wampy');
const {JsonSerializer} = require('wampy/JsonSerializer.js');
const {MsgpackSerializer} = require('wampy/MsgpackSerializer.js');
const {CborSerializer} = require('wampy/CborSerializer.js');
const {w3cwebsocket} = require('websocket');

const [serializer, port, prefix] = process.argv.slice(2);
const serializers = {json: JsonSerializer, msgpack: MsgpackSerializer, cbor: CborSerializer};
const secret = {ppt_scheme: 'x_secret', ppt_keyid: 'key1'};

async function join(name) {
  const session = new Wampy(`ws://127.0.0.1:${port}/ws`, {
    ws: w3cwebsocket, realm: 'realm1', serializer: new serializers[name](), autoReconnect: false,
    payloadSerializers: {json: new JsonSerializer(), cbor: new CborSerializer()},
  });
  await session.connect();
  return session;
}

(async () => {
  const session = await join(serializer);
  const peer = await join('msgpack');
  const seen = {};

  const next = new Promise((resolve) => peer.subscribe(`${prefix}.event`, resolve));
  await new Promise((resolve) => setTimeout(resolve, 0));
  await peer.call('wamp.session.count');
  await session.publish(`${prefix}.event`, {argsList: [1], argsDict: {k: 'v'}},
    {...secret, _tracing: {id: 7}});
  const {argsList, argsDict, details} = await next;
  seen.event = [argsList, argsDict, details.ppt_scheme, details.ppt_keyid, details._tracing];

  await peer.register(`${prefix}.sum`, ({argsList: [a, b], details: {ppt_scheme}}) => ({
    argsList: [a + b, ppt_scheme], options: secret,
  }));
  const result = await session.call(`${prefix}.sum`, [2, 3], secret);
  seen.result = [result.argsList, result.details.ppt_keyid];

  await peer.disconnect();
  await session.disconnect();
  console.log(JSON.stringify(seen));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
