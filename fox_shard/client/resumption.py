"""How a subscription goes on after a lost connection: what to ask for, and what to show.

Owns: what a program has seen of a subscription. Never: messages, subscription ids.
"""

from typing import Any, Final, Protocol, final

from fox_shard.client.event import Event
from fox_shard.topics.ids import SHARDS, TICKS

CLOCK_SKEW: Final = 2 * TICKS * SHARDS
"""How far the clocks of other shards may lag behind: two seconds, in publication ids."""

MISSED: Final = "missed"
"""Why a key is shown as gone that was there before the connection was lost, and is no more."""


KEYS_FIRST: Final = ("get_retained", "retainedState", "snapshot")
"""Options of subscriptions to events that are shown the keys first."""


class Resumption(Protocol):
    """What one program has seen of one subscription."""

    def options(self) -> dict[str, Any]:
        """Return the options with which to subscribe next."""

    def shows(self, event: Event) -> bool:
        """Note an event, and say whether it is new to the program."""

    def resume(self) -> bool:
        """Begin anew after a lost connection; return whether a snapshot is needed (see `State`)."""


@final
class Plain:
    """Events that are lost while there is no connection."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        # Others that share the router's subscription may have asked for the keys.
        self._wants_keys = any(options.get(name) for name in KEYS_FIRST)

    def options(self) -> dict[str, Any]:
        """Return the options with which to subscribe next."""
        return self._options

    def shows(self, event: Event) -> bool:
        """Say that an event is new, and a key only if it was asked for."""
        return self._wants_keys or not event.details.get("retained")

    def resume(self) -> bool:
        """Say that no snapshot is needed."""
        return False


@final
class State:
    """A state stream, whose new session shows all keys again, but not those that have gone.

    Keys that the program knows are not shown again. Which of them have gone is known when a
    snapshot, begun after the stream, has come to its end: those that neither has shown. The memory
    that this takes grows with the number of keys.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        # Topic -> publication id of the value that the program knows.
        self._known: dict[str, int] = {}
        # Topics among these that have not been shown since the stream was resumed.
        self._unseen: set[str] = set()

    def options(self) -> dict[str, Any]:
        """Return the options with which to subscribe next."""
        return self._options

    def shows(self, event: Event) -> bool:
        """Note a key or its change, and say whether it is new to the program."""
        topic = event.topic
        self._unseen.discard(topic)
        if event.removed:
            self._known.pop(topic, None)
            return True
        if event.details.get("retained") and self._known.get(topic) == event.publication:
            return False
        self._known[topic] = event.publication
        return True

    def resume(self) -> bool:
        """Expect to be shown all known keys again; say whether there are any."""
        self._unseen = set(self._known)
        return bool(self._unseen)

    def is_there(self, topic: str) -> None:
        """Note that the snapshot has shown a key."""
        self._unseen.discard(topic)

    def gone(self) -> list[Event]:
        """Return the removals that were missed, at the end of the snapshot."""
        topics, self._unseen = sorted(self._unseen), set()
        return [Event(topic, self._known.pop(topic), [], {}, MISSED) for topic in topics]


@final
class Following:
    """A subscription with `after`, which goes on behind the last recorded event of each shard."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        after = options["after"]
        # Publication id modulo SHARDS -> the highest recorded one that the program has been shown.
        self._seen: dict[int, int] = {}
        self._resumed = False
        if isinstance(after, list):
            for publication in after:
                self._note(publication)
        elif after:
            floor = max(0, after - CLOCK_SKEW) // SHARDS * SHARDS
            self._seen = {shard: floor + shard for shard in range(SHARDS)}
            self._seen[after % SHARDS] = after

    def options(self) -> dict[str, Any]:
        """Return the options with which to subscribe next."""
        if not self._resumed:
            return self._options
        return {**self._options, "after": sorted(self._seen.values())}

    def shows(self, event: Event) -> bool:
        """Note an event, which is new, since the server sends only what is behind `after`."""
        # One that is not recorded may come before a recorded one that waits for the disk.
        if event.details.get("recorded"):
            self._note(event.publication)
        return True

    def resume(self) -> bool:
        """Go on behind what the program has seen; say that no snapshot is needed."""
        self._resumed = True
        return False

    def _note(self, publication: int) -> None:
        shard = publication % SHARDS
        self._seen[shard] = max(publication, self._seen.get(shard, 0))


def resumption_of(options: dict[str, Any]) -> Resumption:
    """Return how a subscription with these options goes on."""
    if options.get("after") is not None:
        return Following(options)
    return State(options) if options.get("retained") else Plain(options)
