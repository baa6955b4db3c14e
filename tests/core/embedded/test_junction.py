"""The three cores of one process, which hand each other their batches."""

import pytest
from joined_server import JoinedServer

from fox_shard.backplane.frames import Batch, encode
from fox_shard.deadline import Deadline
from fox_shard.embedded.junction import ROUNDS, Junction
from fox_shard.testing.clients import MqttClient, WampClient

BATCH = encode(Batch("any", 1, 1, 1, 0, 0, 0, prompt=False))


class Talker:
    """A node that sends a batch to `peer` in each of its turns, if `answers`."""

    journal = None

    def __init__(self, name, peer, *, answers=True, due=float("inf")):
        self.name, self.peer, self.answers = name, peer, answers
        self.deadline = Deadline()
        self.deadline.by(due)
        self.received = self.flushed = self.ticked = 0

    def receive(self, batch, size, now, wall):
        assert size == len(BATCH)
        self.received += 1

    def flush(self, now):
        self.flushed += 1
        return [(self.peer, BATCH)] if self.answers else []

    def tick(self, now):
        self.ticked += 1
        self.deadline.at = now + 1


@pytest.fixture
def server():
    server = JoinedServer()
    server.run_until(lambda: server.gateway.linked)
    return server


def test_the_nodes_are_linked_without_any_time_passing():
    server = JoinedServer()
    began = server.now
    server.run_until(lambda: all(n.health()["status"] == "ok" for n in server.junction.nodes))
    assert server.now == began


def test_only_nodes_to_which_something_has_happened_take_part_in_a_turn():
    first, second = Talker("a", "b", answers=False), Talker("b", "a", answers=False)
    junction = Junction([first, second])
    junction.stir("b")
    junction.turn(1.0, 2.0)
    assert (first.flushed, second.flushed) == (0, 1)
    assert not junction.busy


def test_nodes_that_always_answer_do_not_keep_clients_waiting():
    first, second = Talker("a", "b"), Talker("b", "a")
    junction = Junction([first, second])
    junction.stir("a")
    junction.turn(1.0, 2.0)
    assert (first.flushed, second.flushed) == (ROUNDS, ROUNDS)
    assert junction.busy
    junction.turn(1.0, 2.0)
    assert first.received == 2 * ROUNDS


def test_only_nodes_whose_deadline_has_come_do_what_is_due():
    first, second = Talker("a", "b", answers=False, due=5.0), Talker("b", "a", due=7.0)
    junction = Junction([first, second])
    assert junction.due == 5.0
    junction.tick(5.0)
    junction.turn(5.0, 0.0)
    assert (first.ticked, second.ticked, second.flushed) == (1, 0, 0)
    assert junction.due == 6.0


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_arrives_in_the_turn_in_which_it_was_read(server, qos):
    publisher, subscriber = MqttClient(server, 0), MqttClient(server, 0)
    subscribed = subscriber.subscribe("sensors/#")
    server.run_until(lambda: subscribed in subscriber.subscribed and publisher.connected)
    server.run(1.0)
    began, turns = server.now, server.turns
    publisher.publish("sensors/kitchen", b"21.5", qos)
    server.run_until(lambda: subscriber.payloads == [b"21.5"])
    assert (server.now, server.turns) == (began, turns + 1)
    if qos == 1:
        # Its acknowledgement comes in the same turn, although it waits for the delivery.
        server.run_until(lambda: publisher.acknowledged)
        assert server.turns == turns + 1
    server.run_until(lambda: publisher.acknowledged or not qos)


def test_a_call_comes_back_in_the_turn_in_which_the_callee_has_answered(server):
    caller, callee = WampClient(server, 0), WampClient(server, 0)
    server.run_until(lambda: caller.session and callee.session)
    request = callee.register("com.example.add")
    server.run_until(lambda: callee.answer(65, request))
    request = caller.call("com.example.add", 2, 3)
    server.run_until(lambda: callee.of(68))
    callee.send([70, callee.of(68)[0][1], {}, [5]])
    began, turns = server.now, server.turns
    server.run_until(lambda: caller.answer(50, request))
    assert caller.answer(50, request)[3] == [5]
    assert (server.now, server.turns) == (began, turns + 1)


def test_the_coordinator_answers_about_the_sessions(server):
    client = WampClient(server, 0)
    MqttClient(server, 0)
    server.run(1.0)
    request = client.call("wamp.session.count")
    server.run_until(lambda: client.answer(50, request))
    assert client.answer(50, request)[3] == [2]


def test_a_key_is_acknowledged_when_it_is_on_the_disk(server):
    publisher = MqttClient(server, 0)
    server.run_until(lambda: publisher.connected)
    disk = server.disks["shard-0"]
    publisher.publish("sensors/kitchen", b"21.5", qos=1, retain=True)
    turns = server.turns
    server.run_until(lambda: server.turns > turns)
    assert not publisher.acknowledged
    assert not any(b"21.5" in row for row in disk.rows.values())
    server.run_until(lambda: publisher.acknowledged)
    assert any(b"21.5" in row for row in disk.rows.values())


@pytest.mark.parametrize("seed", range(20))
def test_a_killed_process_keeps_what_it_has_acknowledged(seed):
    server = JoinedServer(seed, max_delay=0.01)
    acknowledged = {}
    for life in range(3):
        server.run_until(lambda: server.gateway.linked)
        publishers = [MqttClient(server, 0) for _ in range(3)]
        server.run_until(lambda publishers=publishers: all(one.connected for one in publishers))
        sent = {}
        for number in range(60):
            publisher = publishers[number % 3]
            topic = f"k/{life}/{number % 20}/{number % 3}"
            sent[publisher, publisher.publish(topic, b"%d" % number, 1, retain=True)] = (
                topic,
                number,
            )
            server.run(server.rng.random() * 0.004)
        server.kill()
        for (publisher, packet), (topic, number) in sent.items():
            if packet in publisher.acknowledged:
                acknowledged[topic] = number
        server.start()
    assert acknowledged
    reader = MqttClient(server, 0)
    server.run_until(lambda: server.gateway.linked)
    subscribed = reader.subscribe("k/#")
    server.run_until(lambda: subscribed in reader.subscribed)
    server.run(5.0)
    found = {message.topic: int(message.payload) for message in reader.messages}
    assert all(found[topic] >= number for topic, number in acknowledged.items())


def test_the_process_stands_still_for_long_and_nobody_is_gone(server):
    client = WampClient(server, 0)
    server.run_until(lambda: client.session)
    server.timing.now += 60.0
    server.run(3.0)
    request = client.publish("com.example.any", acknowledge=True)
    server.run_until(lambda: client.answer(17, request))
    assert not client.closed
    assert all(node.health()["status"] == "ok" for node in server.junction.nodes)


def test_nothing_happens_but_heartbeats_while_there_is_nothing_to_do(server):
    server.run(5.0)
    turns = server.turns
    server.run(60.0)
    # The gateway, the shard and the coordinator have one each second, and what answers them.
    assert server.turns - turns < 60 * 8


def test_an_observer_sees_what_is_handed_over_as_long_as_it_observes():
    first, second = Talker("a", "b"), Talker("b", "a", answers=False)
    junction, seen = Junction([first, second]), []
    junction.observer = lambda *handed: seen.append(handed)
    junction.stir("a")
    junction.turn(1.0, 2.0)
    assert seen == [(2.0, "a", "b", BATCH)]
    junction.observer = None
    junction.stir("a")
    junction.turn(3.0, 4.0)
    assert len(seen) == 1
