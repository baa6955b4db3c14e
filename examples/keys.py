"""fox-shard's options of keys for autobahn, which by itself sends only the options that it knows.

Owns: `KeyOptions` and `StateOptions`, which replace autobahn's options. Sends autobahn's log to
standard error. Never: connections.

autobahn-js does not need this: it sends any option that it is given.
"""

import sys
from typing import Any

import txaio
from autobahn.wamp import message, types

txaio.use_asyncio()
txaio.start_logging(out=sys.stderr, level="warn")


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


# autobahn's sessions look up the message classes by these two names.
message.Publish = _Publish
message.Subscribe = _Subscribe
