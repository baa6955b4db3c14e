"""Clients of a realm whose users are being read wait, and nobody else does."""

import pytest
from gateway_harness import REALM, GatewayHarness
from user_samples import PASSWORD, users

from fox_shard.backplane.frames import CaughtUp, Subscribe
from fox_shard.config import Auth, Role
from fox_shard.gateway.auth import login
from fox_shard.gateway.auth.awaited_users import AT_ONCE, AwaitingAttempt
from fox_shard.gateway.auth.claims import ANONYMOUS, Authenticated, Claim
from fox_shard.gateway.auth.login import NOBODY
from fox_shard.gateway.auth.refusals import AuthenticationFailed, NoMatchingAuthMethod
from fox_shard.gateway.mqtt import packets as mqtt
from fox_shard.testing.clients import MqttClient, WampClient
from fox_shard.testing.world import World

ROLES = (Role(name="dev"), Role(name="anonymous"))


@pytest.fixture
def harness():
    return GatewayHarness(user_keys="u.*", roles=ROLES, users=users())


def begin(harness, method="wampcra", name="ann", realm=REALM):
    claim = Claim(realm=realm, methods=(method,), name=name, address="192.0.2.1")
    return login.begin(harness.gateway.authentication, claim)


def waiting(harness, told, many, method="wampcra"):
    """Let clients come that wait; each appends its number and what it is told to `told`."""
    attempts = [begin(harness, method) for _ in range(many)]
    for number, attempt in enumerate(attempts):
        assert isinstance(attempt, AwaitingAttempt)
        attempt.prepare(lambda outcome, number=number: told.append((number, outcome)))
    return attempts


def read(harness, *shards):
    """Let the shards say that these were all users."""
    for shard in shards:
        for frame in harness.got(f"shard-{shard}", Subscribe):
            harness.say(f"shard-{shard}", CaughtUp(frame.token))


def go_on(harness):
    """Have one part of the chore done."""
    [chore] = harness.gateway.turns._chores
    harness.gateway.turns._chores.clear()
    if chore():
        harness.gateway.turns.add_chore(chore)


def test_other_realms_let_clients_in_while_the_users_of_one_are_read():
    harness = GatewayHarness(user_keys="u.*", roles=ROLES)
    assert harness.gateway.linked
    assert begin(harness, ANONYMOUS, realm="other") is NOBODY
    assert isinstance(begin(harness), AwaitingAttempt)
    assert len(harness.gateway.authentication.awaited) == 0


def test_clients_go_on_in_their_order_a_few_at_a_time(harness):
    told = []
    waiting(harness, told, 2 * AT_ONCE + 1)
    read(harness, 0)
    assert not harness.gateway.turns.busy
    read(harness, 1)
    assert told == []
    go_on(harness)
    assert [number for number, _ in told] == [*range(AT_ONCE)]
    # Nobody waits who comes now.
    assert not isinstance(begin(harness), AwaitingAttempt)
    go_on(harness)
    go_on(harness)
    assert told == [(number, None) for number in range(2 * AT_ONCE + 1)]
    assert not harness.gateway.turns.busy


def test_clients_wait_on_if_a_shard_goes_down_meanwhile(harness):
    told = []
    waiting(harness, told, 2 * AT_ONCE)
    read(harness, 0, 1)
    go_on(harness)
    harness.kill("shard-1")
    harness.turns()
    go_on(harness)
    assert len(told) == AT_ONCE
    assert not harness.gateway.turns.busy
    harness.join("shard-1", incarnation=2)
    harness.pass_time(1)
    read(harness, 1)
    go_on(harness)
    assert len(told) == 2 * AT_ONCE


def test_a_client_that_leaves_is_forgotten(harness):
    told = []
    first, second = waiting(harness, told, 2)
    first.cancel()
    read(harness, 0, 1)
    go_on(harness)
    assert told == [(1, None)]
    assert (second.method, len(second.session.to_bytes(8, "big"))) == ("wampcra", 8)
    assert len(harness.gateway.authentication.awaited) == 0


@pytest.mark.parametrize(
    ("method", "refusal"),
    [("cryptosign", NoMatchingAuthMethod), (ANONYMOUS, NoMatchingAuthMethod)],
)
def test_a_client_that_cannot_log_in_is_refused_when_its_turn_comes(harness, method, refusal):
    told = []
    [attempt] = waiting(harness, told, 1, method)
    read(harness, 0, 1)
    go_on(harness)
    assert isinstance(told[0][1], refusal)
    assert attempt.description == f"{method} as 'ann' in realm1"


def test_the_attempt_that_begins_then_has_the_challenge_and_the_answer(harness):
    told = []
    [attempt] = waiting(harness, told, 1)
    read(harness, 0, 1)
    go_on(harness)
    assert attempt.session
    assert str(attempt.session) in attempt.extra["challenge"]
    attempt.answer("wrong", {}, told.append)
    assert isinstance(told[1], AuthenticationFailed)
    attempt.cancel()


def test_whoever_needs_no_proof_is_let_in_at_once():
    harness = GatewayHarness(user_keys="u.*", roles=ROLES, anonymous=True)
    told = []
    waiting(harness, told, 1, ANONYMOUS)
    read(harness, 0, 1)
    go_on(harness)
    assert [type(outcome) for _, outcome in told] == [Authenticated]


def test_clients_that_come_before_the_gateway_is_linked_log_in():
    world = World(1, shards=2, roles=ROLES, users=users(), user_keys="u.*", auth=Auth())
    device = MqttClient(world, 0, "d", user_name="peter", password=PASSWORD.encode())
    other = MqttClient(world, 0, "e", user_name="peter", password=b"wrong")
    browser = WampClient(world, 0)
    world.run_until(lambda: device.connected and browser.closed and other.closed)
    assert not other.connected
    assert [message[2] for message in browser.inbox] == ["wamp.error.no_matching_auth_method"]


def test_a_client_waits_no_longer_than_for_a_handshake():
    world = World(1, shards=2, roles=ROLES, users=users(), user_keys="u.*", auth=Auth())
    world.run_until(lambda: world.linked)
    world.kill("shard-1")
    world.run(1)
    packets = []
    device = MqttClient(
        world, 0, "d", packets.append, user_name="peter", password=PASSWORD.encode()
    )
    browser = WampClient(world, 0)
    world.run_until(lambda: device.closed and browser.closed, 60)
    assert not any(isinstance(packet, mqtt.Connack) for packet in packets)
    assert [message[0] for message in browser.inbox] == [3]
    assert len(world.gateway(0).authentication.awaited) == 0
