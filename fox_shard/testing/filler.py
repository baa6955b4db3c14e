"""A client that fills its realm: with keys and subscriptions, more than the realm may have.

Owns: what it asks for, and what the answers say there must be. Never: what there is.

Each key is one client's alone, so the answers say which value it has.
"""

from random import Random
from typing import Any, Final, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

EXCEEDED: Final = "fox.error.limit_exceeded"
UNSTORED: Final = "fox.error.unavailable_store"
NO_SUBSCRIPTION: Final = "wamp.error.no_such_subscription"

SIZES: Final = (10, 100, 300)
"""Lengths of the values."""

TOPICS: Final = 8
"""Keys, and subscriptions, for which a client asks."""


@final
class Filler:
    """One client. asked: (what, topic, value) of each request; value None: erase, or unsubscribe.

    answers: the error URIs of all answers to each request; "": it was granted.
    """

    def __init__(self, world: World, gateway: int, name: str, rng: Random) -> None:
        self.world = world
        self.name = name
        self._rng = rng
        self.asked: dict[int, tuple[str, str, str | None]] = {}
        self.answers: dict[int, list[str]] = {}
        self._subscriptions: dict[int, int] = {}
        self.client = WampClient(world, gateway, on_message=self._message)

    def _message(self, message: list[Any]) -> None:
        match message:
            case [8, _, request, _, uri, *_]:
                self.answers.setdefault(request, []).append(uri)
            case [17, request, *_]:
                self.answers.setdefault(request, []).append("")
            case [33, request, subscription]:
                self.answers.setdefault(request, []).append("")
                self._subscriptions[subscription] = request
            case [35, request, *_]:
                self.answers.setdefault(request, []).append("")

    def ask(self) -> None:
        """Ask for something at random: a key or a subscription, or the end of one."""
        what = self._rng.choice(("put", "put", "put", "erase", "brief", "subscribe", "leave"))
        topic = f"{self.name}.{self._rng.randrange(TOPICS)}"
        if what == "subscribe":
            request = self.client.subscribe(f"of.{topic}")
            self.asked[request] = what, topic, ""
        elif what == "leave":
            if self._subscriptions:
                subscription, subscribed = self._subscriptions.popitem()
                request = self.client.request(34, subscription)
                self.asked[request] = what, self.asked[subscribed][1], None
        elif what == "brief":
            # Keys that expire, of which it is not said which of them are left.
            self._publish(what, f"brief.{topic}", "x", retain=1)
        else:
            value = None if what == "erase" else self._value()
            self._publish(what, f"key.{topic}", value, retain=True)

    def _value(self) -> str:
        return f"{len(self.asked)}".ljust(self._rng.choice(SIZES), ".")

    def _publish(self, what: str, topic: str, value: str | None, *, retain: bool | int) -> None:
        args = [] if value is None else [value]
        request = self.client.publish(topic, *args, acknowledge=True, retain=retain)
        self.asked[request] = what, topic, value

    def erase_all(self) -> None:
        """Erase all keys that do not expire."""
        for number in range(TOPICS):
            self._publish("erase", f"key.{self.name}.{number}", None, retain=True)

    @property
    def unanswered(self) -> list[int]:
        """The requests that wait for their answers."""
        return [request for request in self.asked if request not in self.answers]

    def values(self, *, failing: bool) -> dict[str, str]:
        """Check the answers, and return the values that the client's keys must have, by topic.

        failing: a store has failed. A key that was erased in vain may be missed by a publish that
        is refused then.
        """
        check, about = self.world.check, (self.name,)
        check(not self.unanswered, f"{self.name} was not told about {self.unanswered}", about)
        values: dict[str, str] = {}
        for request, (what, topic, value) in self.asked.items():
            answers = self.answers[request]
            check(len(answers) == 1, f"{self.name} was answered twice: {request}", about)
            answer = answers[0]
            before = values.get(topic, "") if what != "brief" else ""
            if answer == NO_SUBSCRIPTION:
                # It was granted twice, and has ended with the first UNSUBSCRIBE.
                check(what == "leave", f"{what} ended with {answer}", about)
                continue
            check(answer in ("", EXCEEDED, UNSTORED), f"{what} ended with {answer}", about)
            if answer == EXCEEDED and not failing:
                needs = value is not None and (what == "subscribe" or len(value) > len(before))
                check(needs, f"{what} {topic} was refused, which needs no room", about)
            if what in ("put", "erase") and not answer:
                if value is None:
                    values.pop(topic, None)
                else:
                    values[topic] = value
        return values
