// Reducers with autobahn-js, which shows its procedures only some of an INVOCATION's details.
//
//     const {reducing} = require('./reducers.cjs');
//     const register = reducing(session);
//     register('reduce.the.key.#', (args, kwargs, options) => {
//       return options.retained + kwargs.value
//     },
//     {reducer: true})
'use strict';

const INVOCATION = 68;

// Returns a function like session.register whose procedures get all details: topic, publication,
// and retained, the key's present value.
function reducing(session) {
  const invoked = session._MESSAGE_MAP[INVOCATION];
  let details = {};
  session._MESSAGE_MAP[INVOCATION] = (message) => {
    details = message[3];
    invoked(message);
  };
  return (procedure, reduce, options) => session.register(
    procedure,
    (args, kwargs, known) => reduce(args, kwargs, Object.assign(known, details)),
    options,
  );
}

module.exports = {reducing};
