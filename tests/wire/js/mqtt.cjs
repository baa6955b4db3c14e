// MQTT.js clients do all they can, and tell what they saw as one line of JSON.
// Arguments: URL, prefix, protocol version (3, 4).
'use strict';

const mqtt = require('mqtt');

const [url, prefix, version] = process.argv.slice(2);

function connect(options) {
  return mqtt.connectAsync(url, {
    protocolVersion: Number(version), protocolId: version === '3' ? 'MQIsdp' : 'MQTT',
    reconnectPeriod: 0, ...options,
  });
}

// What arrives, one promise a message.
function messages(client) {
  const waiting = [], arrived = [];
  client.on('message', (topic, payload, packet) => {
    const message = [topic, payload.toString(), packet.qos, packet.retain];
    waiting.length ? waiting.shift()(message) : arrived.push(message);
  });
  return () => arrived.length ? Promise.resolve(arrived.shift())
    : new Promise((resolve) => waiting.push(resolve));
}

async function all() {
  const seen = {};
  const client = await connect({clientId: `${prefix}-one`});
  const other = await connect({
    clientId: `${prefix}-two`, will: {topic: `${prefix}/will`, payload: 'gone', qos: 1},
  });
  const next = messages(client);
  seen.granted = (await client.subscribeAsync(
    {[`${prefix}/q/#`]: {qos: 2}, [`${prefix}/+/will`]: {qos: 0}, [`${prefix}/will`]: {qos: 1}},
  )).map((grant) => grant.qos);
  seen.messages = [];
  for (const qos of [0, 1, 2]) {
    await other.publishAsync(`${prefix}/q/${qos}`, `message ${qos} ä`, {qos});
    seen.messages.push(await next());
  }
  await other.publishAsync(`${prefix}/q/kept`, 'kept', {qos: 1, retain: true});
  seen.live = await next();
  const late = await connect({clientId: `${prefix}-three`});
  const nextLate = messages(late);
  await late.subscribeAsync(`${prefix}/q/kept`, {qos: 1});
  seen.kept = await nextLate();
  await late.endAsync();

  const large = Buffer.alloc(1 << 20, 'x');
  await other.publishAsync(`${prefix}/q/large`, large, {qos: 2});
  seen.large = (await next())[1].length;

  other.stream.destroy();
  seen.will = await next();

  await client.unsubscribeAsync(`${prefix}/will`);
  // With the test's own WAMP session.
  await client.subscribeAsync(`${prefix}/from/wamp`);
  await client.publishAsync(`${prefix}/to/wamp`, JSON.stringify({hello: 'wamp'}), {qos: 1});
  seen.wamp = await next();
  await client.endAsync();
  return seen;
}

all().then((seen) => {
  console.log(JSON.stringify(seen));
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
