// A visit in Node. Arguments: library (autobahn, wampy), and the plan of visit.js as JSON.
'use strict';

// Newer Nodes have a WebSocket of their own, which autobahn-js takes for a browser's.
delete globalThis.WebSocket;

const {autobahnJoins, wampyJoins, visit} = require('./visit.js');

const libraries = {
  autobahn: () => autobahnJoins(require('autobahn')),
  wampy: async () => {
    const {Wampy} = require('wampy');
    const {sign: cryptosign} = require('wampy/cryptosign.js');
    const {sign: wampcra} = await import('wampy/wampcra.js');
    const {w3cwebsocket} = require('websocket');
    return wampyJoins(Wampy, {cryptosign, wampcra}, {ws: w3cwebsocket});
  },
};

(async () => {
  const [library, plan] = process.argv.slice(2);
  const seen = await visit(await libraries[library](), JSON.parse(plan));
  console.log(JSON.stringify(seen));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
