"""A subscription that is not complete yet: not confirmed, or its replay is not over.

Owns: what is awaited from which shard, what came too early, how far the replay is. Never: sending.

1. Every shard concerned confirms the subscription. What comes before the last one does is kept.
2. The session is told (SUBSCRIBED), and gets what was kept. From now on it gets a shard's live
   events as they come. Only if that shard still replays its history, recorded events are left out,
   as the history will include them.
3. The shards' replays go on, a page at a time, as the client reads. The events of the history are
   merged by their ids: at most a page of each shard waits for the others.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, final

from fox_shard.backplane.frames import TRACE, Event, SelectedEvent, Subscribe, sent_bytes
from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.authorization.rules import SUBSCRIBE
from fox_shard.gateway.sessions.held_events import HeldBefore
from fox_shard.gateway.sessions.session import Session
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.ids import MAX_ID, SHARDS
from fox_shard.topics.pattern import Pattern

_by_id: Final = attrgetter("publication")

OVERHEAD = 64
"""Bytes counted for one kept event besides its topic and payload."""


@final
@dataclass(slots=True)
class ReplayProgress:
    """How far a shard's replay is.

    topic: of the last key that came in its turn. id: of the last event of the history that was
    taken. events: those that have come and wait for other shards. over: the id up to which the
    history has come; None: there is more of it. paused: the shard waits until it is asked for the
    next page. ahead: topics whose keys came before their turn, with their publication ids (0: there
    was no key). again: topics whose change a restarted shard has sent again before it showed the
    key, with the change's publication id.
    """

    topic: str = ""
    id: int = 0
    events: deque[Event] = field(default_factory=deque)
    over: int | None = None
    paused: bool = False
    ahead: dict[str, int] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)

    def rewind(self) -> None:
        """Discard the events that wait, to ask for them again."""
        self.events.clear()
        self.over = None
        self.paused = False


@final
class PendingSubscription:
    """One session's subscription, until it is complete."""

    __slots__ = (
        "confirmed",
        "counted",
        "created",
        "granted_qos",
        "held",
        "held_back_before",
        "kept",
        "narrowed_by",
        "options",
        "replaying",
        "request",
        "retained",
        "session",
        "subscription",
        "token",
        "unconfirmed_shards",
        "undelivered",
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
        created: float,
    ) -> None:
        """token: its number at the shards. request: its number in the session.

        shards: those that have to confirm it. created: see `Subscribers`.
        """
        self.token = token
        self.session = session
        self.request = request
        self.subscription = subscription
        self.granted_qos = granted_qos
        self.created = created
        self.options = options
        self.narrowed_by = narrowing(session, subscription.pattern)
        # Shards that have not confirmed.
        self.unconfirmed_shards = dict.fromkeys(shards)
        # Shards whose replays are not over.
        self.replaying = (
            {shard: ReplayProgress() for shard in self.unconfirmed_shards}
            if options.replays
            else {}
        )
        # Whether it is one of `Subscriptions.incomplete`.
        self.counted = False
        # Whether all shards have confirmed, and the session has been told.
        self.confirmed = False
        # Before that: keys as each shard sent them, and live events of shards that have confirmed.
        self.retained: dict[int, list[Event]] = {}
        self.held: list[Event | SelectedEvent] = []
        # Their bytes, which are a part of `Session.kept`.
        self.kept = 0
        # Per shard, the events that it sent before it confirmed and that are held back (see
        # `Ordering`). This subscription does not get them.
        self.held_back_before: dict[int, HeldBefore] = {}
        # The shards of which some of them have not been delivered yet. Before that, the
        # subscription is not confirmed to the session.
        self.undelivered: dict[int, None] = {}

    def subscribe(self, shard: int) -> Subscribe:
        """Return the frame that asks the shard; if it has returned, for the rest of the replay."""
        options, progress = self.options, self.replaying.get(shard) or ReplayProgress()
        progress.rewind()
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
            created=self.created,
        )

    def count(self, event: Event) -> int:
        """Count an event that is kept until the session has been told; return the session's sum."""
        publish = event.publish
        size = OVERHEAD + len(publish.topic) + sent_bytes(publish)
        self.kept += size
        self.session.kept += size
        return self.session.kept

    def keep_nothing(self) -> None:
        """Note that nothing is kept any more. Idempotent."""
        self.session.kept -= self.kept
        self.kept = 0

    def begin_anew(self, shard: int) -> None:
        """Discard what came from a shard that has returned before the session was told."""
        self.retained.pop(shard, None)
        if shard in self.replaying:
            self.unconfirmed_shards[shard] = None
            self.replaying[shard] = ReplayProgress()
            self.held = [one for one in self.held if publication_of(one) % SHARDS != shard]

    def take_history(self) -> list[Event]:
        """Take the recorded events that have come, as far as their order over all shards is known.

        That is up to the lowest id up to which a shard has told its events; [] if one has yet to
        tell any.
        """
        running = [one for one in self.replaying.values() if one.over is None]
        if not all(one.events for one in running):
            return []
        bound = min((one.events[-1].publication for one in running), default=MAX_ID)
        taken: list[Event] = []
        for progress in self.replaying.values():
            events = progress.events
            while events and events[0].publication <= bound:
                progress.id = events[0].publication
                taken.append(events.popleft())
        taken.sort(key=_by_id)
        return taken

    def sees(self, topic: str) -> bool:
        """Whether the session may see a topic that the pattern matches."""
        return self.narrowed_by is None or self.narrowed_by.may(SUBSCRIBE, topic)

    def is_asked(self, shard: int) -> bool:
        """Whether the shard owes a confirmation or a part of the replay."""
        return shard in self.unconfirmed_shards or shard in self.replaying

    def is_live(self, shard: int, event: Event | SelectedEvent) -> bool:
        """Whether this subscription gets a live event of that shard."""
        if isinstance(event, SelectedEvent):
            publication, flags = -event.event.publication, event.event.publish.flags
        else:
            publication, flags = event.publication, event.publish.flags
        if self.options.snapshot or shard in self.unconfirmed_shards:
            return False
        held_back = self.held_back_before.get(shard)
        if held_back is not None and held_back.has(publication):
            return False
        # While the shard replays its history, recorded events come as a part of it.
        return self.options.after is None or shard not in self.replaying or not flags & TRACE


def narrowing(session: Session, pattern: Pattern) -> Permissions | None:
    """Return the session's permissions, if it may not see all topics that the pattern matches."""
    permissions = session.permissions
    return None if permissions is None or permissions.sees_all(pattern) else permissions


def publication_of(held: Event | SelectedEvent) -> int:
    """Return the event's publication id."""
    return held.event.publication if isinstance(held, SelectedEvent) else held.publication
