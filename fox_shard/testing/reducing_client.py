"""A simulated client that is an instance of a reducer.

Owns: how it registers, answers, fails and comes back. Never: the checks.

It folds each event, whose arguments are the publisher's name and a number, into the list of all
events that the key is. So the key shows which events were folded, how often and in which order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

SKIPPED = 7
RETRIED = 5
"""Numbers divisible by these are refused, and are put off the first time."""

BACK = 0.3
"""Seconds until a client whose connection has ended comes back."""

RETRY = "fox.error.retry"
BAD = "app.error.bad"


class Shown(NamedTuple):
    """An event that an instance was shown. retained: the key's value then."""

    publication: int
    topic: str
    event: tuple[str, int]
    retained: Any
    client: str
    at: float


@final
class ReducingClient:
    """One instance, which returns to another gateway whenever its connection ends.

    shown: all events that it was shown. out: those of them that it has not answered.
    """

    def __init__(
        self,
        world: World,
        name: str,
        pattern: str,
        options: dict[str, Any],
        *,
        delay: float = 0.0,
        hangs: float = 0.0,
    ) -> None:
        """options: those of REGISTER. delay: average seconds before an answer.

        hangs: the probability that an event is never answered.
        """
        self.world = world
        self.name = name
        self.shown: list[Shown] = []
        self.out: dict[int, Shown] = {}
        self.registered = False
        self._pattern = pattern
        self._options = {"reducer": True, **options}
        self._delay = delay
        self._hangs = hangs
        self._put_off: set[int] = set()
        self._left = False
        self._request = 0
        self.client: WampClient | None = None
        self._come()

    # Coming and going

    def _come(self) -> None:
        self.registered = False
        self.out.clear()
        gateways = self.world.running_gateways
        if gateways and not self._left:
            self.client = WampClient(
                self.world, self.world.rng.choice(gateways), on_message=self._message
            )
        self._soon(self._look, BACK)

    def _soon(self, action: Callable[[], None], seconds: float) -> None:
        self.world.at(self.world.now + seconds * (0.5 + self.world.rng.random()), action)

    def _look(self) -> None:
        """Come back if the connection has ended."""
        if self._left:
            return
        if self.client is None or self.client.closed:
            self._come()
        else:
            self._soon(self._look, BACK)

    def drop(self) -> None:
        """Lose the connection; the client comes back."""
        if self.client is not None:
            self.client.drop()
            self.client = None

    def leave(self) -> None:
        """Go for good."""
        self._left = True
        self.drop()

    # Messages

    def _message(self, message: list[Any]) -> None:
        match message:
            case [2, *_]:
                self._register()
            case [65, *_]:
                self.registered = True
            case [8, 64, *_]:
                self._soon(self._register, BACK)
            case [68, request, _, details, args, *_]:
                self._invoked(request, details, args)
            case [69, request, *_]:
                self.out.pop(request, None)

    def _register(self) -> None:
        if self.client is not None and not self.client.closed and not self._left:
            self.client.register(self._pattern, **self._options)

    def _invoked(self, request: int, details: dict[str, Any], args: list[Any]) -> None:
        event = (args[0], args[1])
        one = Shown(
            details["publication"],
            details["topic"],
            event,
            details["retained"],
            self.name,
            self.world.now,
        )
        self.shown.append(one)
        self.out[request] = one
        if self.world.rng.random() >= self._hangs:
            client = self.client
            if self._delay:
                self._soon(lambda: self._answer(client, request), self._delay)
            else:
                self._answer(client, request)

    def _answer(self, client: WampClient | None, request: int) -> None:
        if client is None or client is not self.client or client.closed:
            return
        one = self.out.pop(request, None)
        if one is None:
            return
        number = one.event[1]
        if not number % SKIPPED:
            client.send([8, 68, request, {}, BAD])
        elif not number % RETRIED and one.publication not in self._put_off:
            self._put_off.add(one.publication)
            client.send([8, 68, request, {}, RETRY])
        else:
            client.send([70, request, {}, [[*(one.retained or []), list(one.event)]]])
