"""fox-shard's options for autobahn, which by itself sends only the options that it knows.

Owns: `KeyOptions`, `StateOptions` and `ReducerOptions`, which replace autobahn's options; `run`,
which says so if no server answers, and sends autobahn's log to standard error. Never: what is sent.

autobahn-js sends any option that it is given, but shows reducers no details: see `reducers.cjs`.
"""

import signal
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

import txaio
from autobahn.asyncio.component import Component
from autobahn.asyncio.component import run as run_components
from autobahn.wamp import message, types

txaio.use_asyncio()


def run(component: Component, url: str) -> None:
    """Run a component until its session leaves, or until Ctrl-C.

    autobahn tries to connect for ever, without a word. That is right for a server that is being
    restarted; but if none answers at first, the program ends and says so.
    """
    txaio.start_logging(out=sys.stderr, level="error")
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port or 80), 20).close()
    except OSError as error:
        sys.exit(f"Cannot connect to {url}: {error.strerror}. Does the server run?")
    run_components([component], start_loop=False, log_level=None)
    # While autobahn tries to connect again, its own way of ending at Ctrl-C ends in a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    txaio.config.loop.run_forever()


class KeyOptions(types.PublishOptions):
    """Publish a key, acknowledged: `KeyOptions(weak=True, when=None, watch=True)`."""

    def __init__(self, **options: object) -> None:
        super().__init__(acknowledge=True)
        self.more = {"retain": True, **options}

    def message_attr(self) -> dict[str, Any]:
        return {**super().message_attr(), "more": self.more}


class StateOptions(types.SubscribeOptions):
    """Subscribe to keys: the handler gets the existing keys first, then each change.

    Without arguments, the key is gone. `details.topic` names the key; `details.publication` is the
    publication id of its value.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(details=True)
        self.more = {"retained": True, **options}

    def message_attr(self) -> dict[str, Any]:
        return {**super().message_attr(), "more": self.more}


class ReducerOptions(types.RegisterOptions):
    """Register a reducer: `ReducerOptions(durable="totals", mission="com.example.total")`.

    The reducer gets `details` with `topic` and `publication` of the event, and with `retained`, the
    key's present value. It returns the new one.
    """

    def __init__(self, match: str | None = None, invoke: str | None = None, **options: object):
        super().__init__(match=match, invoke=invoke, details_arg="details")
        self.more = {"reducer": True, **options}

    def message_attr(self) -> dict[str, Any]:
        return {**super().message_attr(), "more": self.more}


class _Publish(message.Publish):
    def __init__(self, *args: Any, more: dict[str, Any] | None = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.more = more or {}

    def marshal_options(self) -> dict[str, Any]:
        return {**super().marshal_options(), **self.more}


class _Subscribe(message.Subscribe):
    def __init__(self, *args: Any, more: dict[str, Any] | None = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.more = more or {}

    def marshal_options(self) -> dict[str, Any]:
        return {**super().marshal_options(), **self.more}


class _Register(message.Register):
    def __init__(self, *args: Any, more: dict[str, Any] | None = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.more = more or {}

    def marshal_options(self) -> dict[str, Any]:
        return {**super().marshal_options(), **self.more}


class _CallDetails(types.CallDetails):
    """The details of an invocation; those of a reducer say what is to be reduced."""

    def __init__(self, registration: Any, *, transaction_hash: Any = None, **rest: Any) -> None:
        super().__init__(registration, **rest)
        # The only field of the message that autobahn passes on without a look at it.
        self.reduced: dict[str, Any] = transaction_hash or {}

    def __getattr__(self, name: str) -> Any:
        if name in ("topic", "publication", "retained"):
            return self.reduced[name]
        raise AttributeError(name)


def _parse_invocation(wmsg: list[Any]) -> message.Invocation:
    invocation = _parse(wmsg)
    if "retained" in wmsg[3]:
        invocation._transaction_hash = wmsg[3]  # noqa: SLF001 - autobahn would refuse a dict
    return invocation


_parse = message.Invocation.parse
message.Invocation.parse = staticmethod(_parse_invocation)

# autobahn's sessions look up the classes by these names.
message.Publish = _Publish
message.Subscribe = _Subscribe
message.Register = _Register
types.CallDetails = _CallDetails
