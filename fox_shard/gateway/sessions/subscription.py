"""A subscription as sessions know it: its pattern and its options.

Owns: the subscription's name and id. Never: which sessions have it (see `pubsub.subscriptions`).
"""

from typing import final

from msgspec import Struct

from fox_shard.backplane.frames import SelectorSpec
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern


class SubscribeOptions(Struct, frozen=True, gc=False):
    """How to subscribe.

    replay: the matching keys come first. state: changes of keys come instead of events. filter:
    an object in msgpack, b"": no filter. after, floor: where to begin in the history, which comes
    first, see `frames.Subscribe`; None: no history. snapshot: nothing comes after the replay.
    """

    replay: bool = False
    state: bool = False
    filter: bytes = b""
    after: tuple[int, ...] | None = None
    floor: int = 0
    snapshot: bool = False

    @property
    def replays(self) -> bool:
        """Whether keys or history come first."""
        return self.replay or self.after is not None


@final
class Subscription:
    """A pattern and the options that matter to the shards, shared by the sessions that want both.

    name: identifies the subscription in its realm. id: a hash of realm and name, the same on all
    gateways. selector: what the shards are asked for; None: all events. once: whether this is a
    snapshot, which the shards do not keep as a subscription. tells_recorded: whether an EVENT says
    that it is in the history, as only these ids are a position from which one can go on.
    """

    __slots__ = ("id", "is_snapshot", "name", "pattern", "realm", "selector", "tells_recorded")

    def __init__(self, realm: str, pattern: Pattern, options: SubscribeOptions) -> None:
        self.realm = realm
        self.pattern = pattern
        self.is_snapshot = options.snapshot
        self.tells_recorded = options.snapshot or options.after is not None
        self.name = pattern.text
        follow = options.after is not None and not options.snapshot
        if options.state or options.filter or options.snapshot or follow:
            marks = "s" * options.state + "1" * options.snapshot + "f" * follow
            self.name += f"\0{marks}\0{options.filter.hex()}"
        self.id = pattern_id(realm, "subscription", self.name)
        spec = SelectorSpec(self.id, options.state, options.filter, follow)
        self.selector = spec if options.state or options.filter or follow else None

    @property
    def shows_keys(self) -> bool:
        """Whether the subscriber is shown which keys there are, and not events."""
        return self.is_snapshot or (self.selector is not None and self.selector.state)

    @property
    def is_gapless(self) -> bool:
        """Whether its subscriber is promised to miss nothing: a key's change, or a recorded event.

        If the subscriber reads too slowly, its session ends, but no event is dropped.
        """
        selector = self.selector
        return self.is_snapshot or (selector is not None and (selector.state or selector.follow))

    @property
    def is_plain(self) -> bool:
        """Whether the subscription is to all events, as they happen."""
        return self.selector is None and not self.is_snapshot
