"""Frames from shard to shard, which have their effects once, whichever of the two dies."""

from random import Random

import pytest
from shard_harness import REALM, ShardHarness, publish, subscribe
from shards import Shards

from fox_shard.backplane.frames import Event, Fold, Publish, RouterPublish, SyncEnd
from fox_shard.documents.payloads import NONE
from fox_shard.shard import rows
from fox_shard.shard.links import outbox as outbox_module
from fox_shard.shard.links.outbox import OWN


@pytest.fixture
def shards():
    return Shards(2)


def stored_frames(shards, number):
    """Return the keys of the frames in a shard's store."""
    return [key for key in shards.disks[number].rows if key.startswith(rows.OUTBOX)]


def test_frames_are_handled_by_the_owner_of_their_topic_in_order(shards):
    shards.send(0, 1, 3)
    shards.send(0, 1, 2, topic=1)
    shards.check()
    assert (shards.handled(1), shards.handled(1, 1)) == ([1, 2, 3], [4, 5])


def test_a_frame_is_sent_when_its_row_is_durable(shards):
    shards.disks[0].held = True
    shards.send(0, 1)
    shards.turns()
    assert shards.handled(1) == []
    shards.commit(0)
    shards.turns()
    assert shards.handled(1) == [1]


def test_the_row_goes_when_the_receiver_has_the_frame_in_its_store(shards):
    shards.disks[1].held = True
    shards.send(0, 1)
    shards.turns()
    assert shards.handled(1) == [1]
    assert len(stored_frames(shards, 0)) == 1
    assert shards.nodes[0].outbox.waiting(1) > 0
    shards.commit(1)
    shards.turns()
    assert shards.nodes[0].outbox.waiting(1) == 0
    shards.send(0, 1)  # a row is deleted with the next transaction
    shards.check()
    assert stored_frames(shards, 0) == [rows.outbox("shard-1", 2)]


# Somebody dies


def test_a_sender_that_dies_before_its_commit_has_sent_nothing(shards):
    shards.disks[0].held = True
    shards.send(0, 1)
    shards.turns()
    shards.restart(0)
    shards.check()
    assert shards.handled(1) == []


def test_a_sender_that_dies_after_its_commit_sends_the_frame(shards):
    shards.disks[0].held = True
    shards.send(0, 1, 2)
    shards.turns()
    shards.disks[0].commit()
    shards.restart(0)
    shards.check()
    assert shards.handled(1) == [1, 2]


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_sender_that_dies_after_sending_sends_nothing_twice(confirmed, shards):
    shards.disks[1].held = not confirmed
    shards.send(0, 1, 2)
    shards.turns()
    assert shards.handled(1) == [1, 2]
    shards.restart(0)
    shards.check()
    assert shards.handled(1) == [1, 2]


def test_a_receiver_that_dies_before_its_commit_is_sent_the_frame_again(shards):
    shards.disks[1].held = True
    shards.send(0, 1, 2)
    shards.turns()
    assert shards.handled(1) == [1, 2]
    shards.restart(1)
    assert shards.handled(1) == []
    shards.check()
    assert shards.handled(1) == [1, 2]


def test_a_receiver_that_dies_after_its_commit_handles_nothing_twice(shards):
    shards.disks[1].held = True
    shards.send(0, 1, 2)
    shards.turns()
    shards.disks[1].commit()
    shards.restart(1)
    shards.check()
    assert shards.handled(1) == [1, 2]


@pytest.mark.parametrize("committed", [True, False])
def test_both_die(committed, shards):
    shards.disks[1].held = True
    shards.send(0, 1, 2)
    shards.turns()
    if committed:
        shards.disks[1].commit()
    shards.kill(0)
    shards.restart(1)
    shards.start(0)
    shards.check()
    assert shards.handled(1) == [1, 2]


def test_numbers_go_on_through_restarts_of_the_sender(shards):
    shards.send(0, 1, 2)
    shards.settle()
    for _ in range(2):
        shards.restart(0)
        shards.send(0, 1, 1)
        shards.settle()
    shards.check()
    assert shards.handled(1) == [1, 2, 3, 4]


def test_frames_for_a_shard_that_is_gone_wait_for_its_next_incarnation(shards):
    shards.kill(1)
    shards.send(0, 1, 2)
    shards.turns(400)  # longer than two timeouts
    shards.send(0, 1, 1)
    shards.turns()
    shards.start(1)
    shards.check()
    assert shards.handled(1) == [1, 2, 3]


# Links


def test_frames_that_are_lost_on_the_way_are_sent_again(shards):
    shards.cut = {(0, 1)}
    shards.send(0, 1, 2)
    shards.turns(2)
    shards.cut = set()
    shards.sever(0, 1)
    shards.check()
    assert shards.handled(1) == [1, 2]


def test_confirmations_that_are_lost_on_the_way_cause_nothing_twice(shards):
    shards.cut = {(1, 0)}
    shards.send(0, 1, 2)
    shards.turns(2)
    shards.cut = set()
    shards.sever(0, 1)
    shards.check()
    assert shards.handled(1) == [1, 2]


def test_frames_that_wait_for_a_turn_when_the_link_breaks_are_handled_once(shards):
    shards.nodes[1].budget.left = 3
    shards.nodes[1].budget.units = 3
    shards.send(0, 1, 20)
    shards.turns(2)
    assert 0 < len(shards.handled(1)) < 20
    shards.sever(0, 1)
    shards.check()
    assert shards.handled(1) == [*range(1, 21)]


@pytest.mark.parametrize("restarted", [0, 1])
def test_the_sender_has_heard_nothing_since_a_restart_when_the_link_breaks(restarted, shards):
    """What the receiver's store has is left out of the next pair, too."""
    shards.deaf = {(1, 0)}
    shards.send(0, 1, 3)
    shards.turns(2)
    assert shards.handled(1) == [1, 2, 3]
    shards.restart(restarted)
    shards.turns(3)
    budget = shards.nodes[1].budget
    budget.left = budget.units = 0
    shards.send(0, 1, 1)
    shards.turns(3)
    assert shards.nodes[1].peers["shard-0"].waiting
    shards.sever(0, 1)
    budget.left = budget.units = 5000
    shards.turns(3)
    shards.check()
    assert shards.handled(1) == [1, 2, 3, 4]


def test_both_directions_at_once(shards):
    for _ in range(3):
        shards.send(0, 1, 2)
        shards.send(1, 0, 2)
        shards.turns(1)
        shards.sever(0, 1)
    shards.check()


# Stores that fail


def test_a_commit_of_the_sender_fails_and_the_frame_is_sent_later(shards):
    shards.disks[0].trouble = "disk full"
    shards.send(0, 1)
    shards.turns()
    shards.send(0, 1)
    shards.turns()
    assert shards.handled(1) == []
    shards.check()
    assert shards.handled(1) == [1, 2]


def test_a_revocable_frame_goes_with_its_request_if_the_commit_fails(shards):
    shards.send(0, 1)
    shards.settle()
    shards.disks[0].trouble = "disk full"
    shards.send(0, 1, revocable=True)
    shards.send(0, 1)
    shards.send(0, 1, revocable=True)
    shards.turns()
    assert shards.nodes[0].outbox.waiting(1) > 0
    shards.check()
    shards.send(0, 1, revocable=True)
    shards.check()
    assert shards.handled(1) == [1, 3, 5]


def test_nothing_is_left_of_revocable_frames_alone(shards):
    shards.disks[0].trouble = "disk full"
    shards.send(0, 1, 2, revocable=True)
    shards.turns()
    shards.settle()
    assert shards.nodes[0].outbox.idle
    assert stored_frames(shards, 0) == []
    shards.restart(0)
    shards.send(0, 1)
    shards.check()
    assert shards.handled(1) == [3]


@pytest.mark.parametrize("dies", [True, False])
def test_a_commit_of_the_receiver_fails(dies, shards):
    shards.disks[1].trouble = "disk full"
    shards.send(0, 1, 2)
    shards.turns()
    assert shards.handled(1) == [1, 2]
    assert len(stored_frames(shards, 0)) == 2
    assert shards.nodes[0].outbox.waiting(1) > 0
    if dies:
        shards.restart(1)
    shards.check()
    assert shards.handled(1) == [1, 2]


# The own shard


def test_a_frame_for_the_own_shard_is_handled_at_once(shards):
    shards.send(0, 0)
    assert shards.handled(0) == [1]
    shards.check()
    assert stored_frames(shards, 0) == []


def test_a_revocable_frame_for_the_own_shard_waits_for_the_commit(shards):
    shards.disks[0].held = True
    shards.send(0, 0, 2, revocable=True)
    shards.turns()
    assert shards.handled(0) == []
    assert shards.nodes[0].outbox.waiting(0) > 0
    shards.disks[0].held = False
    shards.check()
    assert shards.handled(0) == [1, 2]
    assert stored_frames(shards, 0) == []


def test_a_revocable_frame_for_the_own_shard_is_dropped_if_the_commit_fails(shards):
    shards.disks[0].trouble = "disk full"
    shards.send(0, 0, revocable=True)
    shards.turns()
    shards.check()
    assert (shards.handled(0), shards.nodes[0].outbox.waiting(0)) == ([], 0)


@pytest.mark.parametrize("handled", [True, False])
def test_the_shard_dies_before_the_effect_of_its_own_frame_is_durable(handled, shards):
    shards.disks[0].held = True
    shards.send(0, 0, 2, revocable=True)
    shards.turns()
    if handled:
        shards.commit(0)
        shards.turns()
        assert shards.handled(0) == [1, 2]
    else:
        shards.disks[0].commit()
    shards.restart(0)
    assert shards.handled(0) == []
    shards.check()
    assert shards.handled(0) == [1, 2]


# Bounds


def test_a_window_of_frames_is_sent_and_the_next_ones_when_these_are_durable(shards):
    shards.nodes[0].outbox._others._window = 100  # a few frames
    shards.disks[1].held = True
    shards.send(0, 1, 50)
    shards.turns()
    some = len(shards.handled(1))
    assert 1 < some < 10
    shards.commit(1)
    shards.turns(2)
    assert some < len(shards.handled(1)) <= 2 * some
    shards.check()
    assert shards.handled(1) == [*range(1, 51)]


def test_a_restarted_sender_sends_a_window_again_and_the_rest_bit_by_bit(shards, monkeypatch):
    monkeypatch.setattr(outbox_module, "WINDOW", 100)
    shards.kill(1)
    shards.send(0, 1, 50)
    shards.turns()
    shards.restart(0)
    shards.turns()
    shards.start(1)
    shards.arrived.clear()
    shards.check()
    sent = [batch for _, receiver, batch in shards.arrived if receiver == 1]
    assert shards.handled(1) == [*range(1, 51)]
    counts = [sum(isinstance(frame, Fold) for frame in batch.frames) for batch in sent]
    assert 1 < max(counts) < 10
    first = next(batch.frames for batch in sent if any(isinstance(f, Fold) for f in batch.frames))
    # What may have been sent before precedes the end of the replay.
    assert isinstance(first[max(counts)], SyncEnd)


@pytest.mark.parametrize("sender", [0, 1])
def test_the_receiver_knows_more_frames_than_the_restarted_sender_sends_first(
    sender, shards, monkeypatch
):
    """Rows that are confirmed are deleted with the next transaction, so that they may be many."""
    receiver = 1 - sender
    shards.send(sender, receiver, 50)
    shards.turns()
    assert len(shards.handled(receiver)) == 50
    assert len(stored_frames(shards, sender)) == 50
    monkeypatch.setattr(outbox_module, "WINDOW", 100)
    shards.restart(sender)
    shards.send(sender, receiver, 5)
    shards.check()
    assert shards.handled(receiver) == [*range(1, 56)]


def test_an_outbox_says_when_it_is_full():
    shards = Shards(2, outbox_limit=500)
    shards.kill(1)
    counts = [0, 0]
    for target in (0, 1):
        while not shards.nodes[0].outbox.is_full(target) and counts[target] < 100:
            shards.send(0, target, revocable=True)
            counts[target] += 1
    assert all(5 < count < 50 for count in counts)
    shards.check()
    assert not any(shards.nodes[0].outbox.is_full(target) for target in (0, 1))


# At random


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_each_frame_has_its_effect_once(seed):
    rng = Random(seed)
    count = rng.choice((2, 3))
    shards = Shards(count)

    def somewhere():
        return rng.randrange(count)

    def fault():
        number, other = rng.sample(range(count), 2)
        what = rng.choice(("kill", "start", "sever", "cut", "heal", "fail", "hold", "commit"))
        node, disk = shards.nodes[number], shards.disks[number]
        if what == "kill" and node is not None:
            if rng.random() < 0.5:
                disk.commit()
            shards.kill(number)
        elif what == "start" and node is None:
            shards.start(number)
        elif what == "sever" and node is not None and shards.nodes[other] is not None:
            shards.sever(number, other)
        elif what == "cut":
            shards.cut.add((number, other))
        elif what == "heal":
            shards.cut.clear()
            disk.held, disk.trouble = False, ""
        elif what == "fail":
            disk.trouble = rng.choice(("disk full", ""))
        elif what == "hold":
            disk.held = not disk.held
        elif node is not None:
            shards.commit(number)

    for _ in range(100):
        source, target = somewhere(), somewhere()
        node = shards.nodes[source]
        if node is not None:
            node.budget.left = node.budget.units = rng.choice((1, 10, 5000))
            node.outbox._others._window = rng.choice((1, 200, 1 << 20))
            # Frames of one kind to each topic, so that their order is the order of sending.
            topic = rng.randrange(2)
            if topic == 0 or not node.journal.failing:
                shards.send(source, target, rng.choice((1, 3)), revocable=bool(topic), topic=topic)
        if rng.random() < 0.3:
            fault()
        shards.turns(rng.choice((0, 1, 3, 30)))
    shards.check()


# After resharding


def test_frames_that_resharding_has_brought_come_before_those_of_other_shards(shards):
    """They may have been sent by the same topic, before it moved to another shard."""
    topic = shards.topic(0)
    for number in range(1, 11):
        own = Event(number, Publish(REALM, topic, 0, 0, 0, 0, NONE, b""))
        value = rows.encode(Fold(REALM, topic, "", "", own))
        shards.disks[0].rows[rows.outbox(OWN, number)] = value
    shards.kill(0)
    shards.targets.update(dict.fromkeys(range(1, 11), topic))
    shards.send(1, 0, 5)
    shards.turns()
    shards.start(0)
    node = shards.nodes[0]
    node.budget.left = node.budget.units = 10
    while not shards.handled(0):
        shards.turns(1)
    assert len(shards.handled(0)) < 10
    while len(shards.handled(0)) < 15:
        shards.turns(1)
    assert shards.handled(0) == [*range(1, 16)]
    shards.settle()
    assert stored_frames(shards, 0) == []


# Publishes of the router


def test_a_publish_of_another_shard_reaches_subscribers():
    harness = ShardHarness(gateways=1, shards=2)
    harness.say("gateway-0", subscribe("=a.b"))
    one = publish("a.b", session=0, flags=0)
    harness.say("shard-1", RouterPublish(one), reliable=True)
    (event,) = harness.got("gateway-0", Event)
    assert event.publish == one
    assert harness["shard-1"].link.forgotten == 1


def test_a_frame_that_nothing_handles_is_a_mistake():
    harness = ShardHarness(gateways=1, shards=2)
    harness.shard.inbox.handlers.clear()
    with pytest.raises(TypeError, match="shard-1 sent a RouterPublish"):
        harness.say("shard-1", RouterPublish(publish()), reliable=True)
    with pytest.raises(TypeError, match="gateway-0 sent a RouterPublish"):
        harness.say("gateway-0", RouterPublish(publish()))
