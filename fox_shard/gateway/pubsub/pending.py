"""A session's wish to subscribe, until all of it has come true.

Owns: what is awaited from which shard, what came too early, how far the replay is. Never: sending.

1. Every shard that is concerned confirms; what comes until then is kept.
2. The session is told (SUBSCRIBED), and gets what was kept. From here on live events of a shard go
   to it as they come, unless that shard still replays history: they are in it.
3. The shards' replays go on, a page at a time, as the client reads.
"""

from collections.abc import Iterable
from typing import final

from msgspec import Struct

from fox_shard.backplane.frames import TRACE, Event, SelectedEvent, Subscribe
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.ids import SHARDS


class ReplayProgress(Struct, gc=False):
    """How far a shard's replay is: the last topic, and the last id, that have come.

    ahead: topics whose keys have come before their turn, with their ids (0: there was no key).
    again: topics of which a change came again before that, with its id.
    """

    topic: str = ""
    id: int = 0
    paused: bool = False
    ahead: dict[str, int] = {}
    again: dict[str, int] = {}


@final
class PendingSubscription:
    """See the module."""

    __slots__ = (
        "behind",
        "confirmed",
        "earlier",
        "granted_qos",
        "held",
        "options",
        "request",
        "retained",
        "session",
        "subscription",
        "token",
        "waiting",
    )

    def __init__(
        self,
        token: int,
        session: Session,
        request: int,
        subscription: Subscription,
        granted_qos: int,
        options: SubscribeOptions,
        shards: Iterable[int],
    ) -> None:
        """token: names it at the shards. request: the session's number for it."""
        self.token = token
        self.session = session
        self.request = request
        self.subscription = subscription
        self.granted_qos = granted_qos
        self.options = options
        self.waiting = dict.fromkeys(shards)
        # Shards whose replays are not over.
        self.behind = {shard: ReplayProgress() for shard in self.waiting} if options.replays else {}
        # Has the session been told?
        self.confirmed = False
        # Until then: keys as each shard sent them, and live events of shards that have confirmed.
        self.retained: dict[int, list[Event]] = {}
        self.held: list[Event | SelectedEvent] = []
        # Publications that a shard sent before this began and that are held back (see `Ordering`):
        # they are not for this subscription, which waits until they have been delivered. Ids of
        # `SelectedEvent` are negative.
        self.earlier: set[int] = set()

    def subscribe(self, shard: int) -> Subscribe:
        """What the shard is asked, for the first time or when it has returned."""
        options, progress = self.options, self.behind.get(shard) or ReplayProgress()
        progress.paused = False
        return Subscribe(
            self.token,
            self.subscription.realm,
            self.subscription.pattern.text,
            options.replay,
            self.subscription.selector,
            None if options.after is None else list(options.after),
            options.floor,
            progress.topic,
            progress.id,
            once=options.snapshot,
        )

    def begin_anew(self, shard: int) -> None:
        """The shard has returned before the session was told: what had come of it is replayed."""
        self.retained.pop(shard, None)
        if shard in self.behind:
            self.waiting[shard] = None
            self.behind[shard] = ReplayProgress()
            self.held = [one for one in self.held if _publication(one) % SHARDS != shard]

    def is_asked(self, shard: int) -> bool:
        """Does it owe an answer, or a part of the replay?"""
        return shard in self.waiting or shard in self.behind

    def is_live(self, shard: int, event: Event | SelectedEvent) -> bool:
        """Is a live event of that shard for this subscription?"""
        if isinstance(event, SelectedEvent):
            publication, flags = -event.event.publication, event.event.publish.flags
        else:
            publication, flags = event.publication, event.publish.flags
        if self.options.snapshot or shard in self.waiting or publication in self.earlier:
            return False
        # Else it is in the history, which is under way.
        return self.options.after is None or shard not in self.behind or not flags & TRACE


def _publication(held: Event | SelectedEvent) -> int:
    return held.event.publication if isinstance(held, SelectedEvent) else held.publication
