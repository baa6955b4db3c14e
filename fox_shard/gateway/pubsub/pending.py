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

from fox_shard.backplane.frames import TRACE, Event, Selected, Subscribe
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.ids import SHARDS


class Progress(Struct, gc=False):
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
class Pending:
    """See the module."""

    __slots__ = (
        "behind",
        "confirmed",
        "earlier",
        "grant",
        "held",
        "request",
        "retained",
        "session",
        "subscription",
        "token",
        "waiting",
        "wish",
    )

    def __init__(
        self,
        token: int,
        session: Session,
        request: int,
        subscription: Subscription,
        grant: int,
        wish: SubscribeOptions,
        shards: Iterable[int],
    ) -> None:
        """token: names it at the shards. request: the session's number for it."""
        self.token = token
        self.session = session
        self.request = request
        self.subscription = subscription
        self.grant = grant
        self.wish = wish
        self.waiting = dict.fromkeys(shards)
        # Shards whose replays are not over.
        self.behind = {shard: Progress() for shard in self.waiting} if wish.replays else {}
        # Has the session been told?
        self.confirmed = False
        # Until then: keys as each shard sent them, and live events of shards that have confirmed.
        self.retained: dict[int, list[Event]] = {}
        self.held: list[Event | Selected] = []
        # Publications that a shard sent before this began, and are held back (see `order`): they
        # are not for this subscription, which waits until they have gone. Of `Selected`: negative.
        self.earlier: set[int] = set()

    def subscribe(self, shard: int) -> Subscribe:
        """What the shard is asked, for the first time or when it has returned."""
        wish, progress = self.wish, self.behind.get(shard) or Progress()
        progress.paused = False
        return Subscribe(
            self.token,
            self.subscription.realm,
            self.subscription.pattern.text,
            wish.replay,
            self.subscription.selection,
            None if wish.after is None else list(wish.after),
            wish.floor,
            progress.topic,
            progress.id,
            once=wish.snapshot,
        )

    def begin_anew(self, shard: int) -> None:
        """The shard has returned before the session was told: what had come of it is replayed."""
        self.retained.pop(shard, None)
        if shard in self.behind:
            self.waiting[shard] = None
            self.behind[shard] = Progress()
            self.held = [one for one in self.held if _publication(one) % SHARDS != shard]

    def is_asked(self, shard: int) -> bool:
        """Does it owe an answer, or a part of the replay?"""
        return shard in self.waiting or shard in self.behind

    def is_live(self, shard: int, event: Event | Selected) -> bool:
        """Is a live event of that shard for this subscription?"""
        if isinstance(event, Selected):
            publication, flags = -event.event.publication, event.event.publish.flags
        else:
            publication, flags = event.publication, event.publish.flags
        if self.wish.snapshot or shard in self.waiting or publication in self.earlier:
            return False
        # Else it is in the history, which is under way.
        return self.wish.after is None or shard not in self.behind or not flags & TRACE


def _publication(held: Event | Selected) -> int:
    return held.event.publication if isinstance(held, Selected) else held.publication
