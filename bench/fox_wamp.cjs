// Starts the seed's server: node fox_wamp.cjs <its package folder> <port>. Tracing stays off.
const Router = require(process.argv[2])
new Router().listenWAMP({ host: '127.0.0.1', port: Number(process.argv[3]) })
