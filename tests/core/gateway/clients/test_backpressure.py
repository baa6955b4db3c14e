"""Clients that publish to a shard without credit are not read (architecture.md: Links, Credit)."""

import pytest
from gateway_harness import REALM, GatewayHarness, event, invocation, links

from fox_shard.backplane.frames import RETAIN, Reduce, Registered
from fox_shard.backplane.terms import KEY
from fox_shard.documents.payloads import JSON
from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import Connection
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.core import FLOOD
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern


@pytest.fixture
def ends():
    return links(2)


@pytest.fixture
def pressure(ends):
    made = Backpressure(dict(enumerate(ends)), Turns())
    made.update()
    return made


def client():
    return Connection([], "peer")


def congest(ends, pressure, *shards):
    """Leave no credit for these shards, and some for all others."""
    for shard, link in enumerate(ends):
        link.in_flight = link.settings.credit + 1 if shard in shards else 0
    pressure.update()


def test_every_shard_counts_as_congested_until_the_first_look(ends):
    assert Backpressure(dict(enumerate(ends)), Turns()).congested == {0, 1}


@pytest.mark.parametrize("why", ["no credit", "down"])
def test_a_shard_without_credit_is_congested_until_there_is_some(why, ends, pressure):
    assert pressure.congested == set()
    if why == "down":
        ends[1].open = False
    else:
        ends[1].in_flight = ends[1].settings.credit + 1
    pressure.update()
    assert pressure.congested == {1}
    ends[1].open, ends[1].in_flight = True, 0
    pressure.update()
    assert pressure.congested == set()


def test_a_client_that_waits_for_a_shard_is_read_again_when_there_is_credit(ends, pressure):
    one, other = client(), client()
    congest(ends, pressure, 0, 1)
    pressure.pause(one, 0)
    pressure.pause(other, 1)
    assert (one.paused, other.paused) == (True, True)
    congest(ends, pressure, 1)
    assert (one.paused, other.paused) == (False, True)
    congest(ends, pressure)
    assert (one.paused, other.paused) == (False, False)


def test_a_client_that_waits_for_two_shards_waits_for_both(ends, pressure):
    connection = client()
    congest(ends, pressure, 0, 1)
    pressure.pause(connection, 0)
    pressure.pause(connection, 1)
    congest(ends, pressure, 1)
    assert connection.paused
    congest(ends, pressure)
    assert not connection.paused


def test_a_client_whose_session_has_ended_is_read_again_for_its_answer(ends, pressure):
    connection = client()
    congest(ends, pressure, 0)
    pressure.pause(connection, 0)
    pressure.release(connection)
    assert not connection.paused
    connection.pause(paused=True)  # paused again, for another reason
    congest(ends, pressure)
    assert connection.paused


def test_what_waits_for_no_new_pair_does_not_hold_its_client_back_when_the_link_breaks(
    ends, pressure
):
    caller, publisher = client(), client()
    congest(ends, pressure, 1)
    pressure.sent(caller, 0)
    assert not caller.paused
    pressure.sent(caller, 1)
    pressure.sent(publisher, 1)
    pressure.pause(publisher, 1)
    assert (caller.paused, publisher.paused) == (True, True)
    ends[1].open = False
    pressure.update()
    assert (caller.paused, publisher.paused) == (False, True)
    pressure.sent(caller, 1)
    assert not caller.paused


# Everything that a client sends


LARGE = b'["%s"]' % (b"x" * 20_000)


@pytest.fixture
def harness():
    """A gateway whose only shard, and whose coordinator, give no credit back any more."""
    harness = GatewayHarness(shards=1, credit=10_000)
    for peer in harness.peers.values():
        peer.silent = True
    return harness


def use_up(harness):
    """Let others use up the credit of the shard, and of the coordinator."""
    other = harness.session()
    call(harness, other, "p.q", LARGE)
    call(harness, other, "wamp.session.count", LARGE)
    harness.turns()


def call(harness, session, procedure, args=b"[]"):
    request = session.next_invocation = session.next_invocation + 1
    harness.gateway.requests.call(session, request, procedure, 0, 0, JSON, args, b"", None)


def callee(harness):
    session = harness.session()
    harness.gateway.registrations.invoke(invocation(1, session.id), 0)
    return session


def instance(harness):
    """Return a session that a reducer's event is out at."""
    session, pattern = harness.session(), Pattern.wamp("r")
    requests, reductions = harness.gateway.requests, harness.gateway.reductions
    requests.register_reducer(session, 1, pattern, "", "", "single", 1, force=False)
    [registration] = reductions.of(session)
    reductions.registered(Registered(session.id, 1, registration), 0)
    reductions.reduce(Reduce(1, session.id, registration, event()), 0)
    return session


def caller(harness):
    session = harness.session()
    call(harness, session, "p.q")
    return session


def registered(harness):
    session = harness.session()
    register(harness, session)
    registration = pattern_id(REALM, "registration", Pattern.wamp("a.b").text)
    harness.gateway.registrations.registered(Registered(session.id, 1, registration))
    return session


def register(harness, session):
    harness.gateway.requests.register(
        session, 1, Pattern.wamp("a.b"), "single", 0, force=False, disclose=False
    )


def yield_(harness, session, *, progress):
    harness.gateway.requests.yield_(session, 1, JSON, LARGE, b"", progress=progress)


def fail(harness, session):
    harness.gateway.requests.invocation_error(session, 1, "a.b", JSON, LARGE, b"")


def client_of(harness):
    return harness.session()


REQUESTS = {
    "progress": (callee, lambda h, session: yield_(h, session, progress=True)),
    "result": (callee, lambda h, session: yield_(h, session, progress=False)),
    "error": (callee, fail),
    "reduced": (instance, lambda h, session: yield_(h, session, progress=False)),
    "not reduced": (instance, fail),
    "call": (client_of, lambda h, session: call(h, session, "p.q")),
    "cancel": (caller, lambda h, session: h.gateway.requests.cancel(session, 1, "kill")),
    "call of the coordinator": (client_of, lambda h, s: call(h, s, "wamp.session.count")),
    "subscribe": (client_of, lambda h, session: h.subscribe(session, "*a.#")),
    "register": (client_of, register),
    "unregister": (
        registered,
        lambda h, s: h.gateway.requests.unregister(s, 2, next(iter(s.registrations))),
    ),
    "question": (client_of, lambda h, session: call(h, session, "wamp.registration.list")),
    "testament": (
        client_of,
        lambda h, session: call(h, session, "wamp.session.add_testament", b'["t",[1],{}]'),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_client_is_not_read_while_a_peer_that_it_sends_to_has_no_credit(harness, name):
    prepare, request = REQUESTS[name]
    session = prepare(harness)
    use_up(harness)
    assert not session.connection.paused
    request(harness, session)
    harness.turns()
    assert session.connection.paused
    for peer in harness.peers.values():
        peer.silent = False
    harness.pass_time(1)
    assert not session.connection.paused


def test_a_callee_is_read_again_when_the_link_of_the_shard_breaks_to_which_it_sent(harness):
    session = callee(harness)
    use_up(harness)
    yield_(harness, session, progress=True)
    assert session.connection.paused
    harness.kill("shard-0")
    assert not session.connection.paused
    # The call has failed, so nothing is sent any more.
    yield_(harness, session, progress=True)
    assert not session.connection.paused


def test_new_clients_wait_while_clients_that_come_and_go_flood_a_shard(harness):
    """Each is not read any more when there is no credit, but has sent something by then."""
    sent = 0
    while harness.gateway.linked:
        session = harness.session()
        call(harness, session, "p.q", LARGE)
        harness.turns()
        harness.gateway.requests.session_ended(session, "gone")
        sent += len(LARGE)
        assert sent <= (FLOOD + 2) * 10_000 + len(LARGE)
    assert sent > FLOOD * 10_000
    for peer in harness.peers.values():
        peer.silent = False
    harness.pass_time(1)
    assert harness.gateway.linked


def test_a_publisher_waits_while_a_shard_has_many_publishes_to_store():
    """However small they are: what others send waits behind them."""
    harness = GatewayHarness(shards=1)
    harness.peers["shard-0"].silent = True
    plain, publisher = harness.session(), harness.session()
    for number in range(1000):
        harness.publish(plain, "a.b", 0, number + 1)
    harness.turns()
    harness.publish(plain, "a.b", 0, 5000)
    assert not plain.connection.paused
    for number in range(harness.terms.work_credit // KEY + 1):
        harness.publish(publisher, "a.b", RETAIN, number + 1)
    harness.turns()
    harness.publish(publisher, "a.b", RETAIN, 5000)
    assert publisher.connection.paused
    harness.peers["shard-0"].silent = False
    harness.peers["shard-0"].link.acknowledge_soon()
    harness.turns()
    assert not publisher.connection.paused
