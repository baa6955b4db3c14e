"""A simulated client that serves an authorizer, well or badly.

Owns: what is asked, and how the client answers. Never: which answers are right (see
`authorizer_scenarios`).
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

PROCEDURE: Final = "auth.may"
WELCOME, ERROR, REGISTER, REGISTERED, INVOCATION, INTERRUPT, YIELD = 2, 8, 64, 65, 68, 69, 70
AGAIN: Final = 0.2
"""Seconds after which a refused registration is tried again."""

RUBBISH: Final[tuple[list[Any], ...]] = ([], [None], ["yes"], [{"allow": 1}], [{"cache": True}])
"""Arguments of results that are no answers."""


class Question(NamedTuple):
    """What a session wants to do. at: when the authorizer was asked."""

    session: int
    action: str
    uri: str
    at: float


Judge = Callable[[str, str], dict[str, Any]]
"""Returns the right answer about an action and a URI."""


@final
class Questions:
    """All questions to all authorizers of a world, and those of them that were answered with yes.

    good: whether the authorizers answer at all and what is right, from now on.
    """

    def __init__(self, world: World, rng: Random, judge: Judge, *, good: bool) -> None:
        self.world = world
        self.rng = rng
        self.judge = judge
        self.good = good
        self.asked: list[Question] = []
        self.allowed: set[tuple[int, str, str]] = set()

    def answer(self, session: int, action: str, uri: str) -> dict[str, Any]:
        """Note a question, and return the right answer."""
        self.asked.append(Question(session, action, uri, self.world.now))
        answer = self.judge(action, uri)
        if answer["allow"]:
            self.allowed.add((session, action, uri))
        return answer


@final
class Authorizer:
    """A client that has registered the procedure together with other ones."""

    def __init__(self, questions: Questions, gateway: int) -> None:
        self._questions = questions
        # Publishes that no rule allows.
        self.requests: list[int] = []
        self.client = WampClient(questions.world, gateway, on_message=self._message)

    @property
    def registered(self) -> bool:
        """Whether it has registered the procedure."""
        return bool(self.client.of(REGISTERED))

    @property
    def gone(self) -> bool:
        """Whether its connection has ended."""
        return self.client.closed or not self.client.wire.open

    def _message(self, message: list[Any]) -> None:
        if message[0] == WELCOME:
            self._register()
        elif message[0] == ERROR and message[1] == REGISTER:
            # The procedure's shard is down.
            world = self._questions.world
            world.at(world.now + AGAIN, self._register)
        elif message[0] == INVOCATION:
            self._invoked(message)
        elif message[0] == INTERRUPT:
            self.client.send([ERROR, INVOCATION, message[1], {}, "wamp.error.canceled"])

    def _register(self) -> None:
        if not self.gone:
            self.client.register(PROCEDURE, invoke="roundrobin")

    def _invoked(self, message: list[Any]) -> None:
        questions, request = self._questions, message[1]
        rng, world = questions.rng, questions.world
        details, uri, action, _ = message[4]
        answer = questions.answer(details["session"], action, uri)
        if rng.random() < 0.2:
            # Nobody is asked about this one, as only its own session could answer.
            self.requests.append(self.client.publish("open.a", acknowledge=True))
        what = rng.random()
        reply: list[Any] = [YIELD, request, {}, [answer]]
        if questions.good:
            what *= 0.8
        if what < 0.6:
            self._send(reply)
        elif what < 0.8:
            delay = rng.random() * (0.1 if questions.good else 0.4)
            world.at(world.now + delay, lambda: self._send(reply))
        elif what < 0.85:
            self._send([ERROR, INVOCATION, request, {}, "app.error.broken", ["no idea"]])
        elif what < 0.9:
            self._send([YIELD, request, {}, rng.choice(RUBBISH)])
        # Otherwise there is no answer.

    def _send(self, message: list[Any]) -> None:
        if not self.gone:
            self.client.send(message)
