"""What all clients of a gateway send to a shard waits in one line, which is short and shared."""

from functools import partial

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import ACKNOWLEDGE, RETAIN, Call, Publish
from fox_shard.backplane.terms import KEY, REQUEST, SUBSCRIBE
from fox_shard.documents.payloads import JSON

KEEP = ACKNOWLEDGE | RETAIN


class Client:
    """A client that sends requests, one for each byte that the gateway reads of it."""

    def __init__(self, harness, request):
        self.harness = harness
        self.session = harness.session()
        self.connection = self.session.connection
        self.connection.receiver = self
        self._request = request
        self.sent = 0

    def send(self, count):
        """Let the gateway read so many requests at once."""
        self.harness.gateway.turns.receive(self.connection, bytes(count), self.harness.now)

    def receive(self, data, now):
        for at in range(len(data)):
            if self.connection.budget <= 0:
                self.connection.defer(partial(self.receive, data[at:]))
                return
            self.connection.budget -= 1
            self.sent += 1
            self._request(self.harness, self.session, self.sent)


def publish(harness, session, number):
    harness.publish(session, "a.b", KEEP, number)


def call(harness, session, number):
    session.next_invocation = number
    harness.gateway.requests.call(session, number, "p.q", 0, 0, JSON, b"[]", b"", None)


def subscribe(harness, session, number):
    harness.subscribe(session, f"=a.{number}", request=number)


@pytest.fixture
def harness():
    """A gateway whose only shard gives no credit back, until it is told to."""
    harness = GatewayHarness(shards=1)
    harness.pass_time(1)
    harness["shard-0"].silent = True
    return harness


def turn(harness):
    """Let the clients that have something left go on, and then the rest of the turn follow."""
    turns = harness.gateway.turns
    for connection in turns.begin(harness.now):
        turns.go_on(connection, harness.now)
    harness.turn()


def give_credit(harness):
    """Let the shard handle everything, and say so."""
    peer = harness["shard-0"]
    peer.silent = False
    peer.link.acknowledge_soon()
    harness.turn()
    peer.silent = True


def in_line(harness):
    return harness.gateway.links[0].work_in_flight / (KEY + 1)


def most_keys(harness):
    return harness.terms.work_credit // KEY


@pytest.mark.parametrize(
    ("request_", "work"), [(publish, KEY), (call, REQUEST), (subscribe, SUBSCRIBE)]
)
def test_one_client_cannot_send_a_shard_more_than_there_is_credit_for(harness, request_, work):
    """However much the gateway reads at once: it handles the rest when there is credit again."""
    most = harness.terms.work_credit // work + 1
    client = Client(harness, request_)
    client.send(10 * most)
    for _ in range(10):
        turn(harness)
    assert most * 0.9 < client.sent <= most
    assert harness.gateway.links[0].work_in_flight == client.sent * (work + 1)
    assert client.connection.paused


@pytest.mark.parametrize("request_", [publish, call])
def test_all_that_a_client_has_sent_goes_on_its_way_in_order(harness, request_):
    client = Client(harness, request_)
    client.send(2000)
    for _ in range(40):
        turn(harness)
        give_credit(harness)
    got = [
        frame.request
        for frame in harness.got("shard-0", Publish) + harness.got("shard-0", Call)
        if frame.session == client.session.id
    ]
    assert got == list(range(1, 2001))
    assert not client.connection.paused


def test_a_client_that_sends_little_does_not_wait_for_those_that_flood_the_shard(harness):
    floods = [Client(harness, publish) for _ in range(4)]
    for flood in floods:
        flood.send(10_000)
    for _ in range(3):
        turn(harness)
    modest = Client(harness, publish)
    modest.send(1)
    harness.turn()
    last = harness["shard-0"].got[-1]
    assert (last.session, modest.sent) == (modest.session.id, 1)
    assert in_line(harness) <= most_keys(harness) + len(floods) + 1


def test_clients_that_wait_for_credit_share_it(harness):
    floods = [Client(harness, publish) for _ in range(5)]
    for flood in floods:
        flood.send(10_000)
    for _ in range(3):
        turn(harness)
    for _ in range(10):
        before = [flood.sent for flood in floods]
        give_credit(harness)
        turn(harness)
        turn(harness)
        sent = [flood.sent - then for flood, then in zip(floods, before, strict=True)]
        assert max(sent) <= 1.25 * min(sent), sent
        assert sum(sent) >= most_keys(harness) * 0.9


def test_a_client_that_publishes_elsewhere_is_not_held_back():
    harness = GatewayHarness(shards=2)
    harness.pass_time(1)
    topics = [harness.topic(0), harness.topic(1)]
    for name in ("shard-0", "shard-1"):
        harness[name].silent = True
    flood = Client(harness, lambda h, session, n: h.publish(session, topics[0], KEEP, n))
    other = Client(harness, lambda h, session, n: h.publish(session, topics[1], KEEP, n))
    flood.send(10_000)
    turn(harness)
    other.send(100)
    assert other.sent == 100
    assert not other.connection.paused
    assert flood.connection.paused


def test_what_a_client_had_sent_when_it_left_waits_for_credit_as_well(harness):
    client = Client(harness, publish)
    client.send(1000)
    turn(harness)
    harness.gateway.turns.client_gone(client.connection)
    for _ in range(3):
        turn(harness)
    assert in_line(harness) <= most_keys(harness) + 1
    for _ in range(10):
        give_credit(harness)
        turn(harness)
    assert client.sent == 1000
