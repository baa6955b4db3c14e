"""A subscription as sessions know it: to what, and how.

Owns: its name and its id. Never: who has subscribed (see `pubsub.subscriptions`).
"""

from typing import final

from msgspec import Struct

from fox_shard.backplane.frames import SelectorSpec
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern


class SubscribeOptions(Struct, frozen=True, gc=False):
    """How to subscribe.

    replay: the retained keys first. state: changes of keys instead of events. filter: of documents,
    an object in msgpack, b"": all. after, floor: the history first, see `frames.Subscribe`.
    snapshot: the replay alone.
    """

    replay: bool = False
    state: bool = False
    filter: bytes = b""
    after: tuple[int, ...] | None = None
    floor: int = 0
    snapshot: bool = False

    @property
    def replays(self) -> bool:
        """Is there anything to come first?"""
        return self.replay or self.after is not None


@final
class Subscription:
    """One pattern, and what is wanted of it: the same for all sessions that want the same.

    name: names it on this gateway. id: a hash of that, the same everywhere. selection: None: all
    events. once: it is a replay alone, which the shards need not know.
    """

    __slots__ = ("id", "name", "once", "pattern", "realm", "selector")

    def __init__(self, realm: str, pattern: Pattern, options: SubscribeOptions) -> None:
        self.realm = realm
        self.pattern = pattern
        self.once = options.snapshot
        self.name = pattern.text
        follow = options.after is not None and not options.snapshot
        if options.state or options.filter or options.snapshot or follow:
            marks = "s" * options.state + "1" * options.snapshot + "f" * follow
            self.name += f"\0{marks}\0{options.filter.hex()}"
        self.id = pattern_id(realm, "subscription", self.name)
        spec = SelectorSpec(self.id, options.state, options.filter, follow)
        self.selector = spec if options.state or options.filter or follow else None

    @property
    def is_plain(self) -> bool:
        """Is it to all events, as they come?"""
        return self.selector is None and not self.once
