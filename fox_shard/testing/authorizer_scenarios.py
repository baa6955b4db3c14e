"""Scenarios of authorizers that are slow, wrong or gone while their sessions go on.

Owns: what clients do, and which faults happen. Never: what is allowed, and what must be true (see
`authorizer_checks`). Each takes a seed, and raises AssertionError with the trace.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final, final

from msgspec import json

from fox_shard.config import Gateway as Settings
from fox_shard.config import Role
from fox_shard.gateway.core import Gateway
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.testing.authorizer_checks import (
    FAILED,
    NOT_AUTHORIZED,
    RULES,
    AuthorizerChecks,
    judge,
)
from fox_shard.testing.authorizer_client import PROCEDURE, Authorizer, Questions
from fox_shard.testing.clients import MqttClient
from fox_shard.testing.faults import kill, lose, relink, sever
from fox_shard.testing.recording_client import RecordingClient
from fox_shard.testing.recording_mqtt_client import RecordingMqttClient
from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.rpc_checks import CANCELED, NO_SUCH_PROCEDURE, check_invocation_order
from fox_shard.testing.run import Run
from fox_shard.testing.world import World
from fox_shard.topics.pattern import Pattern

TOPICS: Final = (
    "open.a",
    "open.kept",
    "open.hidden",
    "known.a",
    "half.a",
    "mute.a",
    "secret.a",
    "secret.kept",
    "closed.a",
)
PATTERNS: Final = (
    ("open.a", "exact"),
    ("open.kept", "exact"),
    ("open.", "prefix"),
    ("known.", "prefix"),
    ("half.a", "exact"),
    ("mute.", "prefix"),
    ("secret.a", "exact"),
    ("secret.", "prefix"),
    ("closed.", "prefix"),
    (".a", "wildcard"),
)
FILTERS: Final = ("open/a", "open/#", "known/#", "half/a", "mute/+", "secret/a", "closed/#", "+/a")
PROCEDURES: Final = ("open.p", "open.kept", "known.p", "half.p", "mute.p", "secret.p", "closed.p")
OFFERED: Final = (*((one, "exact") for one in PROCEDURES), ("open.q", "prefix"), ("", "prefix"))

TABLE: Final = {
    "type": "object",
    "properties": {"n": {"type": "string"}},
    "primary_key": ["n"],
}


def authorizers(seed: int) -> None:
    """Nothing fails: all that is allowed is done, in order, and nothing else is."""
    _scenario(seed, faults=False)


def authorizers_under_faults(seed: int) -> None:
    """Authorizers, gateways and shards come and go, and nothing forbidden is ever done.

    In the end, all that is allowed works again.
    """
    _scenario(seed, faults=True)


def _scenario(seed: int, *, faults: bool) -> None:
    rng = Random(f"authorizers {seed}")
    by_function = rng.random() < 0.2
    most = rng.choice((1, 3, 1000)) if faults else 1000
    role = Role(
        name="anonymous",
        rule=RULES,
        authorizer="rules:may" if by_function else PROCEDURE,
        authorizer_timeout=rng.choice((0.5, 2.0)) if faults else 30.0,
    )
    world = World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 2, 4)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        roles=(role,),
        schemas={"realm1": json.encode({"rows": TABLE}).decode()},
        settings=Settings(max_consultations=most),
    )
    questions = Questions(world, rng, judge, good=not faults)

    def may(session: dict[str, Any], action: str, uri: str) -> object:
        answer = questions.answer(session["session"], action, uri)
        return answer if questions.good or rng.random() < 0.8 else None

    world.functions["rules:may"] = may
    cast = Cast(Run(world), questions, faults=faults, by_function=by_function)
    cast.one_at_a_time = most < 1000
    cast.begin()
    for _ in range(rng.choice((60, 120))):
        world.run(rng.random() * rng.choice((0.01, 0.1)))
        cast.step()
        cast.checks.check_done()
    cast.end()


@final
class Cast:
    """The clients of one run, and what they do."""

    def __init__(self, run: Run, questions: Questions, *, faults: bool, by_function: bool) -> None:
        self.run, self.world, self.rng = run, run.world, questions.rng
        self.questions = questions
        self.faults = faults
        self.by_function = by_function
        run.smooth = not faults
        self.checks = AuthorizerChecks(run, questions, faults=faults)
        self.authorizers: list[Authorizer] = []
        # Clients with wills, which do nothing but end, and those that publish rows.
        self.others: list[MqttClient] = []
        # Whether there may be too few consultations for all clients at once.
        self.one_at_a_time = False

    # Actions

    def begin(self) -> None:
        """Add the first authorizers and clients."""
        if not self.by_function:
            for _ in range(self.rng.choice((1, 2))):
                self._add_authorizer()
            if not self.faults:
                self._wait_for_authorizers()
        for gateway in range(self.world.gateways):
            self.run.wamp(gateway)
            self.run.mqtt(gateway)
        if not self.faults:
            self.run.settle()

    def step(self) -> None:
        """Let something happen."""
        rng = self.rng
        if self.faults and rng.random() < 0.15:
            self._fault()
            return
        what = rng.random()
        ready = [one for one in self.run.clients if one.ready and one.connected]
        if what < 0.05 or not ready:
            self._add_client()
        elif what < 0.1:
            self._will()
        elif what < 0.15:
            self._rows()
        elif what < 0.18 and len(ready) > 2:
            rng.choice(ready).leave(graceful=rng.random() < 0.5)
        else:
            self._requests(rng.choice(ready))

    def _add_client(self) -> None:
        running = self.world.running_gateways
        if running and len(self.run.clients) < 20:
            add = self.rng.choice((self.run.wamp, self.run.mqtt))
            add(self.rng.choice(running))

    def _add_authorizer(self) -> None:
        running = self.world.running_gateways
        if running:
            self.authorizers.append(Authorizer(self.questions, self.rng.choice(running)))

    def _fault(self) -> None:
        world, rng = self.world, self.rng
        serving = [one for one in self.authorizers if not one.gone]
        actions: list[Callable[[], object]] = [
            partial(kill, world, rng.choice(world.names), rng),
            partial(rng.choice((sever, lose)), world, rng),
        ]
        if not self.by_function:
            actions.append(self._add_authorizer)
            if serving:
                one = rng.choice(serving).client
                actions += [rng.choice((one.leave, one.drop))] * 2
        rng.choice(actions)()

    def _will(self) -> None:
        """Let a client with a will end without DISCONNECT, perhaps before there is an answer."""
        running = self.world.running_gateways
        if running:
            topic = self.rng.choice(("open/will", "known/will", "secret/will", "closed/will"))
            will = mqtt.Will(topic, b'["",0]', self.rng.choice((0, 1)), retain=False)
            one = MqttClient(self.world, self.rng.choice(running), will=will)
            self.others.append(one)
            self.world.at(self.world.now + self.rng.random(), one.drop)

    def _rows(self) -> None:
        """Let a client publish rows that come at once, each of which is asked about."""
        running = self.world.running_gateways
        if running:
            one = MqttClient(self.world, self.rng.choice(running))
            qos = self.rng.choice((0, 1))
            with one.wire.together():
                for number in range(8):
                    row = {"n": self.rng.choice(("open", "secret")), "v": number}
                    one.publish("rows", json.encode(row), qos)
                if self.rng.random() < 0.5:
                    one.disconnect()
            self.others.append(one)

    def _requests(self, one: RecordingClient) -> None:
        """Let a client make some requests, often all at once."""
        rng = self.rng
        assert isinstance(one, RecordingWampClient | RecordingMqttClient)
        request = self._wamp_request if isinstance(one, RecordingWampClient) else self._mqtt_request
        count = rng.choice((1, 1, 3, 8))
        if rng.random() < 0.5:
            with one.client.wire.together():
                for _ in range(count):
                    request(one)  # type: ignore[arg-type]
        else:
            for _ in range(count):
                request(one)  # type: ignore[arg-type]

    def _wamp_request(self, one: RecordingWampClient) -> None:
        rng = self.rng
        what = rng.random()
        if what < 0.5:
            topic = rng.choice(TOPICS)
            one.publish(topic, acknowledge=rng.random() < 0.5, exclude_me=rng.random() < 0.5)
        elif what < 0.65:
            self._unsubscribe(one)
        elif what < 0.75:
            topic, match = rng.choice(PATTERNS)
            _subscribe(one, topic, match)
        elif what < 0.85:
            one.register(*rng.choice(OFFERED))
        else:
            one.call(rng.choice(PROCEDURES))

    def _mqtt_request(self, one: RecordingMqttClient) -> None:
        rng = self.rng
        what = rng.random()
        if what < 0.7:
            # Several publishes to a topic are a run.
            topic, qos = rng.choice(TOPICS), rng.choice((0, 1, 2))
            for _ in range(rng.choice((1, 1, 4))):
                one.publish(topic, qos)
        elif what < 0.8:
            self._unsubscribe(one)
        else:
            filters = rng.sample(FILTERS, rng.choice((1, 1, 4)))
            one.subscribe_all(filters, rng.choice((0, 1, 2)))

    def _unsubscribe(self, one: RecordingClient) -> None:
        open_ = [
            subscription
            for subscription in one.subscriptions
            if subscription.confirmed is not None and subscription.ended is None
        ]
        if open_:
            one.unsubscribe(self.rng.choice(open_))

    # The end

    def _settle(self) -> None:
        """Wait until no request of a client is unanswered."""
        self.run.settle()
        connected = [one for one in self.run.clients if one.connected]
        self.world.run_until(
            lambda: all(sent.answers for one in connected for sent in one.sent if sent.acknowledge)
        )
        if self.one_at_a_time:
            # What clients have sent before they left is asked about as well.
            world, left = self.world, [one for one in self.run.clients if one.graceful]
            world.run_until(lambda: all(one.closed for one in left))
            world.run_until(lambda: all(_asks_nothing(one) for one in world.gateway_cores))

    def end(self) -> None:
        """Let all faults end, and check that everything works, and what has been done."""
        world, run = self.world, self.run
        self.questions.good = True
        if self.faults:
            relink(world)
            self._serve_again()
        self._settle()
        self.checks.recovered = world.now
        self._everything_works()
        self.checks.note_what_is_not_due()
        self.checks.check_done()
        expected = (NO_SUCH_PROCEDURE, NOT_AUTHORIZED, CANCELED)
        run.end(expected=(*expected, FAILED) if self.faults else expected)
        self.checks.check_answers()
        self.checks.check_kept()
        self.checks.check_own_requests(self.authorizers)
        check_invocation_order(world, run.wamp_clients, run.wamp_clients)
        for gateway in world.gateway_cores:
            world.check(not len(gateway.consultations), f"{gateway.name} still consults")
        run.leave([*(one.client for one in self.authorizers), *self.others])

    def _serve_again(self) -> None:
        if self.by_function:
            return
        self._add_authorizer()
        self._wait_for_authorizers()

    def _wait_for_authorizers(self) -> None:
        serving = [one for one in self.authorizers if not one.gone]
        self.world.run_until(lambda: all(one.registered for one in serving))

    def _everything_works(self) -> None:
        """Check that each session that is left, and new ones, may do what is allowed, at once."""
        self.run.wamp(0)
        self.run.mqtt(1)
        self._settle()
        for one in self.run.clients:
            if isinstance(one, RecordingMqttClient) and one.connected:
                for topic in TOPICS:
                    one.publish(topic, 1)
            elif isinstance(one, RecordingWampClient) and one.connected:
                _request_all(one)
            if self.one_at_a_time:
                self._settle()
        self._settle()


def _asks_nothing(gateway: Gateway) -> bool:
    return gateway.turns.idle and not len(gateway.consultations)


def _request_all(one: RecordingWampClient) -> None:
    for topic in TOPICS:
        one.publish(topic, acknowledge=True)
    for topic, match in PATTERNS:
        _subscribe(one, topic, match)
    for procedure, match in OFFERED:
        one.register(procedure, match)
    for procedure in PROCEDURES:
        one.call(procedure)


def _subscribe(one: RecordingWampClient, topic: str, match: str) -> None:
    """Subscribe, unless the client has that subscription: a session has one for each pattern."""
    pattern = Pattern.wamp(topic, match)
    if all(
        subscription.over or subscription.refused or subscription.pattern != pattern
        for subscription in one.subscriptions
    ):
        one.subscribe(topic, match)
