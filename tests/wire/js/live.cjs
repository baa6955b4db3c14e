// live.js in Node. Argument: its plan as JSON.
'use strict';

// Newer Nodes have a WebSocket of their own, which autobahn-js takes for a browser's.
delete globalThis.WebSocket;

const {live} = require('./live.js');

live(require('autobahn'), JSON.parse(process.argv[2])).then((seen) => {
  console.log(JSON.stringify(seen));
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
