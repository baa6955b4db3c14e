"""The options of fox-shard's keys, for autobahn, which sends only those that it knows itself.

Owns: `KeyOptions` and `StateOptions`, in place of autobahn's options; that its log goes to standard
error. Never: connections.

autobahn-js needs nothing of the kind: it sends whatever options it is given.
"""

import sys
from typing import Any

import txaio
from autobahn.wamp import message, types

txaio.use_asyncio()
txaio.start_logging(out=sys.stderr, level="warn")


class KeyOptions(types.PublishOptions):
    """Publish a key: `KeyOptions(weak=True, when=None, watch=True)`. It is acknowledged."""

    def __init__(self, **options: object) -> None:
        super().__init__(acknowledge=True)
        self.more = {"retain": True, **options}

    def message_attr(self) -> dict[str, Any]:
        return {**super().message_attr(), "more": self.more}


class StateOptions(types.SubscribeOptions):
    """Subscribe to keys: first those there are, then each change. One that goes has no arguments.

    The handler gets autobahn's `details`: their topic tells which key, their publication its id.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(details=True)
        self.more = {"retained": True, **options}

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


# Sessions make their messages from these two names.
message.Publish = _Publish
message.Subscribe = _Subscribe
