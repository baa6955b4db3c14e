// Starts the server of the npm package fox-wamp, without tracing:
// node fox_wamp.cjs <folder of the package> <port>
const Router = require(process.argv[2])
new Router().listenWAMP({ host: '127.0.0.1', port: Number(process.argv[3]) })
