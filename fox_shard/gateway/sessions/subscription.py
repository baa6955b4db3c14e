"""A subscription as sessions know it: to what, and how.

Owns: its name and its id. Never: who has subscribed (see `pubsub.subscriptions`).
"""

from typing import final

from msgspec import Struct

from fox_shard.backplane.frames import Selection
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

    __slots__ = ("id", "name", "once", "pattern", "realm", "selection")

    def __init__(self, realm: str, pattern: Pattern, wish: SubscribeOptions) -> None:
        self.realm = realm
        self.pattern = pattern
        self.once = wish.snapshot
        self.name = pattern.text
        follow = wish.after is not None and not wish.snapshot
        if wish.state or wish.filter or wish.snapshot or follow:
            marks = "s" * wish.state + "1" * wish.snapshot + "f" * follow
            self.name += f"\0{marks}\0{wish.filter.hex()}"
        self.id = pattern_id(realm, "subscription", self.name)
        selection = Selection(self.id, wish.state, wish.filter, follow)
        self.selection = selection if wish.state or wish.filter or follow else None

    @property
    def is_plain(self) -> bool:
        """Is it to all events, as they come?"""
        return self.selection is None and not self.once
