"""A reducer on one shard: its instances, and its queues of events.

Owns: which instance is asked about which key. Never: frames, rows, when something is durable.

The events for one key are one queue, in which only the first event is ever out at an instance. So
the events for a key are reduced one by one, in order, and those for different keys in parallel.
"""

from collections import OrderedDict, deque
from enum import Enum, auto
from itertools import islice
from typing import final
from zlib import crc32

from fox_shard.config import Webhook
from fox_shard.shard.links.peer import Peer
from fox_shard.shard.reducers.functions import Function
from fox_shard.shard.rows import QueuedEvent
from fox_shard.topics.pattern import EXACT, ONE, PREFIX, Pattern


class State(Enum):
    """The state of a queue."""

    IDLE = auto()
    """No event in it is durable."""
    WAITING = auto()
    """The first event waits for an instance that has room."""
    ASKED = auto()
    """The first event is out at an instance."""
    ANSWERED = auto()
    """The instance has answered, and the answer has yet to have its effect."""
    SETTLING = auto()
    """The effect waits for its commit; the event it came from is not in the queue any more."""
    DELAYED = auto()
    """The first event will be asked about again after a while."""


@final
class Instance:
    """One session that has registered the reducer.

    running: the numbers of the invocations that are out. waiting: queues for which there was no
    room. away: the link with the session's gateway is broken, and the session may come back.
    """

    __slots__ = ("away", "concurrency", "peer", "running", "session", "waiting")

    def __init__(self, peer: Peer, session: int, concurrency: int) -> None:
        self.peer = peer
        self.session = session
        self.concurrency = concurrency
        self.running: set[int] = set()
        self.waiting: deque[KeyQueue] = deque()
        self.away = False

    @property
    def has_room(self) -> bool:
        """Whether the instance may get another invocation."""
        return len(self.running) < self.concurrency


@final
class KeyQueue:
    """The events of one reducer for one key, in order.

    topic: the key's; where the key is another shard's, the events'. ready: the number of events, at
    the beginning, that are durable. shown: the publication id of the key's value that the instance
    was shown; 0: there was no key. attempts: failed ones for the first event.
    """

    __slots__ = (
        "_chosen",
        "_generation",
        "attempts",
        "events",
        "instance",
        "invocation",
        "ready",
        "reducer",
        "shown",
        "state",
        "topic",
    )

    def __init__(self, reducer: "Reducer", topic: str) -> None:
        self.reducer = reducer
        self.topic = topic
        self.events: deque[QueuedEvent] = deque()
        self.ready = 0
        self.state = State.IDLE
        self.invocation = 0
        self.instance: Instance | None = None
        self.shown = 0
        self.attempts = 0
        self._chosen: Instance | None = None
        self._generation = -1

    def first(self, most: int) -> list[QueuedEvent]:
        """Return the first events that are ready, at most so many."""
        return list(islice(self.events, min(most, self.ready)))

    def choose(self) -> Instance | None:
        """Return the instance that is asked about this key; None: none is there.

        A topic stays on one instance, and moves only if that one leaves, or if one comes that ranks
        higher for it (rendezvous hashing).
        """
        reducer = self.reducer
        if self._generation != reducer.generation:
            self._generation = reducer.generation
            self._chosen = max(
                (one for one in reducer.instances.values() if not one.away),
                key=lambda one: crc32(b"%d\0%b" % (one.session, self.topic.encode())),
                default=None,
            )
        return self._chosen


@final
class Reducer:
    """A reducer of one realm.

    function: that of a built-in reducer, which has no instances; None: it is a client's. mission:
    the topic of the key; "": each event's own. durable: the name under which events queue up even
    while there is no instance; "": they do not. size: bytes of the queued events. folded, failed:
    events that were reduced, and that the reducer refused, since the start. generation: changes
    with the instances. removed: a durable reducer is not wanted any more. parked: queues that wait
    for an instance to come. abandoned: when the events of a reducer without instances are dropped
    (monotonic seconds); 0: not planned. webhook: the settings of one, which keeps no keys; None: it
    is none. dropped: events that found no room, since the start. retries: (when, number) of the
    queues that wait before their first events are asked about again, as a heap. retried: how many
    there have been. last_failure: in words.
    """

    __slots__ = (
        "abandoned",
        "arrivals",
        "dropped",
        "durable",
        "failed",
        "folded",
        "function",
        "generation",
        "id",
        "instances",
        "invoke",
        "last_failure",
        "mission",
        "parked",
        "pattern",
        "queues",
        "realm",
        "removed",
        "retried",
        "retries",
        "size",
        "webhook",
    )

    def __init__(
        self,
        id_: int,
        realm: str,
        pattern: Pattern,
        mission: str,
        durable: str,
        function: Function | None,
        webhook: Webhook | None = None,
    ) -> None:
        self.id = id_
        self.realm = realm
        self.pattern = pattern
        self.mission = mission
        self.durable = durable
        self.function = function
        self.webhook = webhook
        self.invoke = "single"
        # By session.
        self.instances: dict[int, Instance] = {}
        # By the topic of the key (see `KeyQueue`).
        self.queues: dict[str, KeyQueue] = {}
        # Arrivals of the events that wait, the oldest first.
        self.arrivals: OrderedDict[int, None] = OrderedDict()
        self.removed = False
        self.size = 0
        self.folded = self.failed = self.dropped = 0
        self.retries: list[tuple[float, int]] = []
        self.retried = 0
        self.last_failure = ""
        self.generation = 0
        self.parked: deque[KeyQueue] = deque()
        self.abandoned = 0.0

    @property
    def takes_events(self) -> bool:
        """Whether events are queued; without an instance those of no durable reducer are."""
        durable = self.durable and not self.removed
        return bool(durable or self.instances or self.function)

    def queue(self, topic: str) -> KeyQueue:
        """Return the queue for a key; make it if there is none."""
        queue = self.queues.get(topic)
        if queue is None:
            queue = self.queues[topic] = KeyQueue(self, topic)
        return queue

    @property
    def oldest(self) -> int:
        """The arrival of the oldest event that waits; 0: none does."""
        return next(iter(self.arrivals), 0)

    def instances_changed(self) -> list[KeyQueue]:
        """Return all queues that wait: their instances must be chosen anew."""
        self.generation += 1
        waiting = [*self.parked]
        self.parked.clear()
        for instance in self.instances.values():
            waiting += instance.waiting
            instance.waiting.clear()
        return waiting


def shown_pattern(pattern: Pattern) -> tuple[str, str]:
    """Return a pattern as users write it: the URI, and `exact` or `prefix`."""
    if pattern.kind == PREFIX:
        return pattern.literal, "prefix"
    if pattern.kind == EXACT:
        return pattern.literal, "exact"
    parts = ["*" if component is ONE else component for component in pattern.components]
    return ".".join([*parts, *(["#"] if pattern.rest else [])]), "exact"
