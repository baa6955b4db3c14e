"""A link and its two ends: numbering, credit, reliable frames, epochs (architecture: links)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from link_ends import SETTINGS, Ends, number_of, publish, state

from fox_shard.backplane.frames import (
    VERSION,
    Batch,
    Call,
    Hello,
    Join,
    Leave,
    SyncEnd,
    Will,
    decode,
)
from fox_shard.backplane.link import HELLO_INTERVAL, LAZY_ACK, Link
from fox_shard.backplane.terms import KEY, REQUEST, LinkEvent, LinkSettings
from fox_shard.deadline import NEVER, Deadline

JOIN = Join(1, "realm1", "", "", "", "", "", "", "", "", 0.0, False)
CALL = Call("realm1", "p", 1, 1, 1, 0, 0, 0, b"")


def kinds(frames):
    return [type(frame).__name__ for frame in frames]


# Opening


def test_a_pair_opens_with_a_hello_and_the_end_of_a_replay_from_each_end():
    ends = Ends(opened=False)
    ends.a.tick(ends.now)
    (hello,) = ends.batches_to_b()
    assert (hello.source, hello.target, hello.frames[0].reply) == ("gateway-0", 0, False)
    ends.settle()
    for end in (ends.a, ends.b):
        assert end.changes == [LinkEvent.OPENED]
        assert end.handled == [SyncEnd()]
        assert (end.link.peer_incarnation, end.link.refusal) == (1, "")
    assert ends.a.link.peer_epoch == ends.b.link.epoch
    assert ends.b.link.peer_epoch == ends.a.link.epoch


def test_the_connecting_end_says_hello_until_it_is_answered():
    ends = Ends(opened=False)
    said = 0
    for _ in range(10):
        ends.now += HELLO_INTERVAL + 0.001
        assert ends.a.link.next_tick() <= ends.now
        ends.a.tick(ends.now)
        said += len(ends.batches_to_b())
        ends.lose()
    assert said == 10
    ends.a.tick(ends.now)
    assert ends.a.flush(ends.now) == []
    ends.settle(0.2)
    assert ends.a.link.open


def test_the_listening_end_does_not_speak_first():
    ends = Ends(opened=False)
    ends.b.tick(ends.now + 1000)
    assert ends.b.flush(ends.now + 1000) == []
    assert ends.b.link.next_tick() == NEVER
    assert ends.b.link.congested


def test_a_repeated_hello_opens_the_pair_once():
    ends = Ends(opened=False)
    ends.a.tick(ends.now)
    (hello,) = ends.a.flush(ends.now)
    for _ in range(2):
        ends.b.take(hello, ends.now)
    ends.settle()
    assert ends.a.changes == ends.b.changes == [LinkEvent.OPENED]
    assert ends.a.handled == ends.b.handled == [SyncEnd()]


def test_an_answer_to_an_earlier_hello_is_ignored():
    ends = Ends(opened=False)
    ends.a.tick(ends.now)
    ends.b.take(ends.a.flush(ends.now)[0], ends.now)
    ends.a.link.break_off(ends.now)
    for data in ends.b.flush(ends.now):
        ends.a.take(data, ends.now)
    assert ends.a.changes == []
    assert not ends.a.link.open


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (LinkSettings(shards=3), "with 3 shards"),
        (LinkSettings(shards=2, generation=1), "layout 1 with 2 shards"),
    ],
)
def test_a_peer_with_another_layout_is_refused_with_a_sentence(other, named):
    ends = Ends(LinkSettings(shards=2), b_settings=other, opened=False)
    ends.settle(0.5)
    assert set(ends.b.changes) == {LinkEvent.REFUSED}
    assert not ends.b.link.open
    assert f"gateway-0 speaks protocol {VERSION}, layout 0 with 2 shards" in ends.b.link.refusal
    assert "start them from one configuration" in ends.b.link.refusal
    assert ends.b.handled == ends.a.handled == []
    # The same with the layouts exchanged.
    exchanged = Ends(other, b_settings=LinkSettings(shards=2), opened=False)
    exchanged.settle(0.5)
    assert named in exchanged.b.link.refusal


def test_a_peer_with_another_protocol_version_is_refused():
    ends = Ends(opened=False)
    hello = Hello(1, 1, reply=False, version=99, generation=0, shards=2)
    batch = Batch("gateway-0", 5, 0, 0, 0, 0, 0, prompt=False, frames=[hello])
    assert ends.b.link.receive(batch, 10, ends.now) == (LinkEvent.REFUSED, [])
    assert "speaks protocol 99" in ends.b.link.refusal


def test_a_refusal_is_forgotten_when_a_matching_peer_connects():
    ends = Ends(opened=False)
    hello = Hello(1, 1, reply=False, version=99, generation=0, shards=2)
    batch = Batch("gateway-0", 5, 0, 0, 0, 0, 0, prompt=False, frames=[hello])
    ends.b.link.receive(batch, 10, ends.now)
    ends.settle()
    assert ends.b.link.open
    assert ends.b.link.refusal == ""


# Sending and receiving


def test_frames_arrive_in_order_and_have_the_numbers_that_send_returned():
    ends = Ends()
    numbers = [ends.a.link.send(publish(1)), ends.a.link.send_reliable(publish(2))]
    numbers += [ends.a.link.send(state(3)), ends.a.link.last]
    ends.turn()
    numbers += [ends.a.link.send(publish(4)), ends.a.link.last]
    assert numbers == [2, 3, 4, 4, 5, 5]
    assert ends.b.link.received == 4
    ends.turn()
    assert ends.b.numbers == [1, 2, 3, 4]
    assert ends.b.link.received == 5


def test_one_batch_carries_all_frames_of_a_turn():
    ends = Ends()
    for number in range(100):
        ends.a.link.send(publish(number))
    (batch,) = ends.batches_to_b()
    assert (batch.first, len(batch.frames)) == (2, 100)
    assert ends.a.flush(ends.now) == []


def test_an_idle_end_sends_no_batch():
    ends = Ends()
    ends.settle(0.2)
    assert ends.batches_to_b() == []
    assert ends.b.flush(ends.now) == []


# Credit


def test_bytes_are_counted_as_in_flight_until_they_are_handled():
    ends = Ends()
    ends.settle(LAZY_ACK)
    assert ends.a.link.in_flight == 0
    ends.a.link.send(publish(1))
    (data,) = ends.a.flush(ends.now)
    assert ends.a.link.in_flight == len(data)
    assert not ends.a.link.idle
    ends.b.take(data, ends.now)
    ends.settle(LAZY_ACK)
    assert ends.a.link.in_flight == 0
    assert ends.a.link.idle


def test_an_end_is_congested_beyond_its_credit():
    ends = Ends(LinkSettings(shards=2, credit=200))
    ends.settle(0.1)
    for number in range(8):
        ends.a.link.send(publish(number))
        assert not ends.a.link.congested
    sent = ends.a.flush(ends.now)
    assert ends.a.link.congested
    for data in sent:
        ends.b.take(data, ends.now)
    # More than a quarter of the credit has been handled, which is reported at once.
    assert ends.b.link.urgent
    ends.turn()
    assert not ends.a.link.congested


def plain(link, number):
    link.send(publish(number))


def reliable(link, number):
    link.send_reliable(publish(number))


def request(link, number):
    """Send what its sender counts itself, see `Backpressure.sent`."""
    link.send(state(number))
    link.extra_work += REQUEST


@pytest.mark.parametrize(("send", "most"), [(plain, 8 * (KEY + 1)), (reliable, 8), (request, 15)])
def test_an_end_may_be_congested_by_frames_that_have_few_bytes(send, most):
    """What counts is how much they cost the other end."""
    ends = Ends()
    link = ends.a.link
    link.work_limit = 8 * (KEY + 1)
    ends.settle(0.5)
    for number in range(most):
        send(link, number)
    sent = ends.a.flush(ends.now)
    assert not link.congested
    send(link, most)
    sent += ends.a.flush(ends.now)
    assert link.congested
    for data in sent:
        ends.b.take(data, ends.now)
    # So much is reported at once when it has been handled.
    assert ends.b.link.urgent
    ends.turn()
    assert not link.congested
    assert link.work_in_flight == 0


def test_little_of_what_the_other_end_may_be_given_is_not_reported_at_once():
    ends = Ends()
    ends.a.link.work_limit = 9 * KEY
    ends.settle(0.5)
    for number in range(2):
        ends.a.link.send_reliable(publish(number))
    for data in ends.a.flush(ends.now):
        ends.b.take(data, ends.now)
    assert not ends.b.link.urgent


def test_frames_of_a_pair_that_has_ended_are_not_in_flight():
    ends = Ends()
    ends.settle(0.5)
    for number in range(9):
        ends.a.link.send_reliable(publish(number))
    ends.a.flush(ends.now)
    assert ends.a.link.work_in_flight == 9 * (KEY + 1)
    ends.a.link.break_off(ends.now)
    assert ends.a.link.work_in_flight == 0


def test_frames_that_wait_for_a_new_pair_or_are_sent_again_count_as_much_as_others():
    ends = Ends()
    link = ends.a.link
    link.send_reliable(publish(1))
    ends.a.flush(ends.now)
    request(link, 2)
    link.send_reliable(publish(3))
    ends.a.cut(ends.now)
    # The request is answered with an error; the publish waits.
    assert link.extra_work == KEY
    link.resume([])
    assert link.extra_work == 2 * KEY


def test_held_credit_is_given_later():
    ends = Ends(LinkSettings(shards=2, credit=200))
    ends.settle(0.1)
    ends.b.link.hold_credit = True
    for number in range(8):
        ends.a.link.send(publish(number))
    ends.settle(0.5)
    assert ends.b.numbers == [*range(8)]
    assert ends.a.link.congested
    # Handled and delivered frames are reported all the same.
    assert ends.a.link.handled == ends.a.link.peer_delivered == ends.b.link.received
    ends.b.link.hold_credit = False
    ends.b.link.acknowledge_soon()
    ends.turn()
    assert not ends.a.link.congested
    assert ends.a.link.in_flight == 0


def test_an_acknowledgement_that_nobody_waits_for_is_delayed():
    ends = Ends()
    ends.settle(0.1)
    ends.a.link.send(publish(1))
    (data,) = ends.a.flush(ends.now)
    ends.b.take(data, ends.now)
    assert ends.b.flush(ends.now) == []
    due = ends.b.link.next_tick()
    assert ends.now < due <= ends.now + LAZY_ACK
    assert ends.b.deadline.at <= due
    ends.b.tick(due)
    (ack,) = ends.b.flush(due)
    assert decode(ack).handled == ends.b.link.received
    assert decode(ack).frames == []
    assert ends.b.link.next_tick() > due + LAZY_ACK


def test_an_acknowledgement_travels_with_the_next_batch():
    ends = Ends()
    ends.settle(0.1)
    ends.a.link.send(publish(1))
    ends.turn()
    ends.b.link.send(publish(1))
    (batch,) = (decode(data) for data in ends.b.flush(ends.now))
    assert batch.handled == ends.a.link.sent
    assert ends.b.link.next_tick() > ends.now + LAZY_ACK


def test_a_prompt_batch_is_acknowledged_at_once():
    ends = Ends()
    ends.settle(0.1)
    ends.a.link.prompt = True
    ends.a.link.send(publish(1))
    ends.turn()
    ends.turn()
    assert ends.a.link.in_flight == 0
    assert ends.a.link.peer_delivered == ends.b.link.received
    assert not ends.a.link.prompt


# Reliable frames


def test_a_reliable_frame_is_kept_until_it_is_durable():
    ends = Ends()
    ends.b.confirms = False
    ends.a.link.send_reliable(publish(1))
    ends.settle(LAZY_ACK)
    assert (ends.a.link.in_flight, ends.a.link.idle) == (0, False)
    ends.b.confirm()
    ends.b.link.acknowledge_soon()
    ends.turn()
    ends.turn()
    assert ends.a.link.idle


def test_lost_reliable_frames_are_sent_again_and_lost_plain_frames_are_not():
    ends = Ends()
    ends.a.link.send(publish(1))
    ends.a.link.send_reliable(publish(2))
    ends.a.link.send_reliable(publish(3))
    ends.lose()
    ends.a.link.send(publish(4))
    ends.settle(0.5)
    assert ends.b.numbers == [2, 3]
    assert ends.b.changes == [LinkEvent.OPENED, LinkEvent.BROKEN, LinkEvent.OPENED]
    assert ends.a.link.idle


def test_a_reliable_frame_is_not_handled_twice_by_the_same_process():
    ends = Ends()
    ends.b.confirms = False
    for number in (1, 2):
        ends.a.link.send_reliable(publish(number))
        ends.turn()
    ends.a.link.send_reliable(publish(3))
    ends.lose()
    ends.a.cut(ends.now)
    ends.settle(0.5)
    assert ends.b.numbers == [1, 2, 3]
    assert len(ends.b.sent) == 2


def test_reliable_frames_that_are_not_durable_are_handled_again_by_a_restarted_process():
    ends = Ends()
    ends.a.link.send_reliable(publish(1))
    ends.settle(0.1)
    ends.b.confirms = False
    ends.a.link.send_reliable(publish(2))
    ends.settle(0.1)
    assert ends.b.numbers == [1, 2]
    ends.b.start(ends.now)
    ends.settle(2.0)
    assert ends.b.numbers == [2]
    ends.b.confirm()
    ends.a.link.send_reliable(publish(3))
    ends.settle(0.1)
    assert ends.b.numbers == [2, 3]


def test_a_restarted_sender_does_not_repeat_its_earlier_reliable_frames():
    ends = Ends()
    ends.b.confirms = False
    ends.a.link.send_reliable(publish(1))
    ends.settle(LAZY_ACK)
    ends.a.start(ends.now)
    ends.b.confirms = True
    ends.settle(0.5)
    ends.a.link.send_reliable(publish(2))
    ends.settle(LAZY_ACK)
    assert ends.b.numbers == [1, 2]
    assert ends.b.link.peer_incarnation == 2
    assert ends.a.link.idle


@given(st.lists(st.booleans(), max_size=8), st.integers(1, 6), st.integers(0, 12), st.booleans())
def test_reliable_numbers_stay_right_when_known_frames_are_left_out(kinds, rfirst, known, prompt):
    """`marks` and `rfirst` refer to the frames that `receive` returns."""
    link = Ends().b.link
    link.watermark = known
    frames = [publish(i) for i in range(len(kinds))]
    marks = [i for i, reliable in enumerate(kinds) if reliable]
    numbers = {mark: rfirst + place for place, mark in enumerate(marks)}
    batch = Batch(
        "gateway-0", link.peer_epoch, link.epoch, link.received + 1, 0, 0, 0, prompt, rfirst, marks,
        frames,
    )  # fmt: skip
    _, handled = link.receive(batch, 10, 100.0)
    places = {mark: link.rfirst + place for place, mark in enumerate(link.reliable_indexes)}
    assert [(number_of(frame), places.get(i)) for i, frame in enumerate(handled)] == [
        (i, numbers.get(i)) for i in range(len(kinds)) if i not in numbers or numbers[i] > known
    ]
    assert link.watermark == max([known, *numbers.values()])


def test_the_receiver_hears_which_frames_will_not_be_sent_again():
    ends = Ends()
    ends.a.link.send_reliable(publish(1))
    ends.settle(LAZY_ACK)
    assert (ends.a.link.idle, ends.b.link.peer_forgotten) == (True, 0)
    ends.a.link.send(publish(2))
    ends.settle(LAZY_ACK)
    assert ends.b.link.peer_forgotten == 1
    # A restarted sender numbers anew, and has not forgotten any of these frames.
    ends.a.cut(ends.now)
    ends.settle(0.5)
    assert ends.b.link.peer_forgotten == 1
    ends.a.start(ends.now)
    ends.settle(0.5)
    assert ends.b.link.peer_forgotten == 0


@pytest.mark.parametrize(("identity", "expected"), [(0, 7), (99, 99)])
def test_a_hello_names_the_identity_of_its_sender(identity, expected):
    link = Link(
        "shard-0", "shard-1", incarnation=7, settings=SETTINGS, new_epoch=lambda: 5,
        deadline=Deadline(), connects=True, now=0.0, identity=identity,
    )  # fmt: skip
    link.tick(1.0)
    (hello,) = (frame for data in link.flush(1.0) for frame in decode(data).frames)
    assert (hello.incarnation, hello.identity) == (7, expected)


def test_the_watermark_applies_to_a_new_incarnation_with_the_same_identity():
    """A peer with the same store repeats known frames; only another store numbers anew."""
    link = Ends().b.link
    link.watermark, link.durable = 5, 4
    for epoch, identity, watermark in ((10, 1, 5), (11, 1, 5), (12, 2, 0)):
        hello = Hello(epoch, identity, reply=False, version=VERSION, generation=0, shards=2)
        batch = Batch("gateway-0", epoch, 0, 0, 0, 0, 0, prompt=False, frames=[hello])
        assert link.receive(batch, 10, 100.0) == (LinkEvent.OPENED, [])
        assert (link.watermark, link.peer_incarnation) == (watermark, epoch)


# Frames that wait for a pair


@pytest.mark.parametrize(
    ("frame", "kept"),
    [
        (publish(1), True),
        (Will(publish(1)), True),
        (JOIN, True),
        (Leave(1, False), True),
        (state(1), False),
        (CALL, False),
    ],
)
def test_publications_joins_and_leaves_are_kept_for_a_peer_that_is_down(frame, kept):
    """State is replayed instead, and calls are answered with an error."""
    ends = Ends()
    ends.a.cut(ends.now)
    ends.a.link.send(frame)
    ends.settle(0.5)
    assert ends.b.handled == [SyncEnd(), SyncEnd(), *([frame] if kept else [])]


def test_kept_frames_follow_the_replay_in_order():
    ends = Ends()
    ends.a.replay = [state(100), state(101)]
    ends.b.confirms = False
    ends.a.link.send_reliable(publish(1))
    ends.turn()
    ends.b.start(ends.now)
    ends.a.cut(ends.now)
    ends.a.link.send(publish(2))
    ends.a.link.send(state(3))
    ends.a.link.send_reliable(publish(4))
    ends.a.link.send(publish(5))
    ends.settle(0.5)
    assert kinds(ends.b.handled) == [
        "Unsubscribe", "Unsubscribe", "Publish", "SyncEnd", "Publish", "Publish", "Publish",
    ]  # fmt: skip
    assert ends.b.numbers == [100, 101, 1, 2, 4, 5]


def test_unflushed_publishes_are_kept_when_the_pair_breaks():
    ends = Ends()
    ends.a.link.send(state(1))
    ends.a.link.send(publish(2))
    ends.a.link.send_reliable(publish(3))
    ends.a.cut(ends.now)
    ends.settle(0.5)
    assert ends.b.numbers == [2, 3]
    assert ends.a.link.idle


def test_kept_reliable_frames_are_still_reliable_after_the_replay():
    ends = Ends()
    ends.a.cut(ends.now)
    ends.a.link.send(publish(1))
    ends.a.link.send_reliable(publish(2))
    ends.a.replay = [state(100)]
    opened = 0
    while opened < 2:  # the batch that opens the pair is lost the first time
        ends.turn()
        ends.a.tick(ends.now)
        ends.now += 0.2
        opened = ends.a.changes.count(LinkEvent.OPENED)
    ends.lose()
    ends.a.cut(ends.now)
    ends.settle(2.0)
    assert ends.b.numbers == [100, 2]


@pytest.mark.parametrize("durable", [0, 2])
def test_reliable_frames_that_were_sent_are_repeated_before_the_end_of_the_replay(durable):
    """The same holds if a pair ends before anything was flushed. Durable frames are left out."""
    ends = Ends()
    ends.b.confirms = False
    for number in (1, 2, 3):
        ends.a.link.send_reliable(publish(number))
    ends.settle()
    ends.a.cut(ends.now)
    ends.a.link.send_reliable(publish(4))
    ends.a.link.resume([])
    ends.a.link._acked = durable  # the peer says so in the pair that is about to end
    ends.a.link.break_off(ends.now)
    ends.b.handled.clear()
    ends.b.start(ends.now)
    ends.settle(1)
    end = next(i for i, frame in enumerate(ends.b.handled) if isinstance(frame, SyncEnd))
    again = [number_of(frame) for frame in ends.b.handled[:end]]
    assert again == [number for number in (1, 2, 3) if number > durable]
    assert ends.b.numbers == [*again, 4]
    ends.b.confirms = True
    ends.b.confirm()
    ends.b.link.acknowledge_soon()
    ends.settle()
    assert ends.a.link.idle


def test_a_reliable_frame_may_be_confirmed_while_it_waits_to_be_sent_again():
    """The peer confirms it in the batch behind its hello, before any frame is sent again."""
    ends = Ends()
    ends.a.link.send_reliable(publish(1))
    ends.turn()
    ends.turn()
    ends.a.link.send_reliable(publish(2))
    ends.flush()
    ends.b.take(ends.to_b.popleft(), ends.now)
    ends.lose()
    ends.a.cut(ends.now)
    ends.settle(2.0)
    assert ends.b.numbers == [1, 2]
    assert ends.a.link.idle


def test_a_listening_end_keeps_reliable_frames_too():
    ends = Ends()
    ends.b.cut(ends.now)
    ends.b.link.send(state(1))
    ends.b.link.send_reliable(publish(2))
    ends.settle(3.0)
    assert ends.a.numbers == [2]


def test_keep_reliable_drops_plain_frames_after_a_number():
    """A shard drops the plain events for a lost gateway, and keeps the acknowledged ones."""
    ends = Ends()
    ends.a.cut(ends.now)
    link = ends.a.link
    link.send(publish(1))
    link.send_reliable(publish(2))
    mark = link.last
    link.send(publish(3))
    link.send_reliable(publish(4))
    link.send(publish(5))
    link.send_reliable(publish(6))
    link.drop_plain(mark)
    link.send_reliable(publish(7))
    ends.settle(0.5)
    assert ends.b.numbers == [1, 2, 4, 6, 7]
    assert link.idle


def test_frames_for_a_peer_that_has_gone_are_dropped():
    ends = Ends()
    ends.b.confirms = False
    ends.a.link.send_reliable(publish(1))
    ends.settle(0.1)
    ends.a.cut(ends.now)
    ends.a.link.send_reliable(publish(2))
    ends.a.link.peer_gone()
    assert ends.a.link.idle
    ends.b.start(ends.now)
    ends.a.link.send_reliable(publish(3))
    ends.b.confirms = True
    ends.settle(0.5)
    assert ends.b.numbers == [3]
    assert ends.a.link.idle


# The end of a pair


def test_epochs_of_an_end_count_up():
    """The higher of two epochs belongs to the later pair."""
    ends = Ends()
    epochs = [ends.a.link.epoch]
    for _ in range(3):
        ends.a.cut(ends.now)
        ends.settle(0.5)
        epochs.append(ends.a.link.epoch)
    assert epochs == [*range(epochs[0], epochs[0] + 4)]


def test_a_hole_ends_the_pair_and_no_frame_after_it_is_handled():
    ends = Ends()
    ends.a.link.send(publish(1))
    ends.lose()
    ends.a.link.send(publish(2))
    ends.turn()
    assert ends.b.numbers == []
    assert ends.b.changes == [LinkEvent.OPENED, LinkEvent.BROKEN]
    ends.settle(2.0)
    assert ends.a.changes == [LinkEvent.OPENED, LinkEvent.BROKEN, LinkEvent.OPENED]
    ends.a.link.send(publish(3))
    ends.turn()
    assert ends.b.numbers == [3]


@pytest.mark.parametrize("which", ["a", "b"])
def test_a_new_pair_opens_with_a_restarted_process(which):
    ends = Ends()
    epoch = ends.a.link.epoch
    getattr(ends, which).start(ends.now)
    ends.settle(2.0)
    other = ends.b if which == "a" else ends.a
    assert other.link.peer_incarnation == 2
    assert ends.a.link.open
    assert ends.b.link.open
    assert ends.a.link.epoch != epoch
    assert ends.a.link.peer_epoch == ends.b.link.epoch


def test_a_restarted_process_handles_no_frames_of_the_ended_pair():
    ends = Ends()
    ends.a.link.send(publish(1))
    on_the_way = ends.a.flush(ends.now)
    ends.b.start(ends.now)
    for data in on_the_way:
        ends.b.take(data, ends.now)
    assert ends.b.handled == []
    ends.settle(0.5)
    assert ends.b.numbers == []
    assert ends.a.changes == [LinkEvent.OPENED, LinkEvent.BROKEN, LinkEvent.OPENED]


def test_a_pair_breaks_after_peer_timeout_of_silence():
    ends = Ends()
    heard = ends.now
    ends.b.link.outbox.clear()
    for step in (1.0, 3.0, SETTINGS.peer_timeout):
        ends.a.tick(heard + step)
        assert ends.a.changes == [LinkEvent.OPENED]
    assert ends.a.link.next_tick() <= heard + SETTINGS.peer_timeout + 0.2
    ends.a.tick(heard + SETTINGS.peer_timeout + 0.1)
    assert ends.a.changes == [LinkEvent.OPENED, LinkEvent.BROKEN]
    assert not ends.a.link.open
    assert ends.a.link.congested


def test_heartbeats_keep_an_idle_pair_alive():
    ends = Ends()
    sent = 0
    for _ in range(200):
        ends.now += 0.1
        for end, wire, other in ((ends.a, ends.to_b, ends.b), (ends.b, ends.to_a, ends.a)):
            assert end.link.next_tick() > 0
            end.tick(ends.now)
            wire.extend(end.flush(ends.now))
            while wire:
                sent += 1
                other.take(wire.popleft(), ends.now)
    assert ends.a.changes == ends.b.changes == [LinkEvent.OPENED]
    # Each end sends about one batch a second, for 20 seconds.
    assert 40 <= sent <= 48


def test_a_pair_stays_open_if_each_end_is_ticked_when_it_is_due():
    """No other ticks are needed."""
    ends = Ends()
    for _ in range(300):
        ends.now = max(ends.now, min(ends.a.link.next_tick(), ends.b.link.next_tick())) + 1e-6
        ends.a.tick(ends.now)
        ends.b.tick(ends.now)
        ends.turn()
    assert ends.now > 110
    assert ends.a.changes == ends.b.changes == [LinkEvent.OPENED]


def test_the_end_of_a_pair_advances_the_deadline():
    ends = Ends()
    ends.a.deadline.at = NEVER
    ends.a.cut(ends.now)
    assert ends.a.deadline.at <= ends.now + HELLO_INTERVAL


def test_batches_of_another_pair_are_not_handled():
    ends = Ends()
    ends.a.link.send(publish(1))
    (data,) = ends.a.flush(ends.now)
    batch = decode(data)
    batch.target += 1
    before = ends.b.link.received
    assert ends.b.link.receive(batch, len(data), ends.now) == (LinkEvent.NONE, [])
    assert ends.b.link.received == before
    # The connecting end just waits, because its own hello will be answered.
    batch = Batch("shard-0", 1, 2, 3, 0, 0, 0, prompt=False, frames=[publish(1)])
    assert ends.a.link.receive(batch, 10, ends.now) == (LinkEvent.NONE, [])
    assert not ends.a.link.urgent


def test_the_last_reliable_number_is_known_before_its_frame_is_sent():
    """Once `forgotten` has reached that number, the peer has the frame durably."""
    ends = Ends()
    link = ends.a.link
    assert link.reliably_sent == 0
    link.send_reliable(publish(1))
    link.send(publish(2))
    link.send_reliable(publish(3))
    assert (link.reliably_sent, link.forgotten) == (2, 0)
    ends.settle(1.0)
    assert (link.reliably_sent, link.forgotten) == (2, 2)
    link.send_reliable(publish(4))
    assert link.reliably_sent == 3


def test_reliable_numbers_go_on_in_the_next_pair():
    ends = Ends()
    link = ends.a.link
    link.send_reliable(publish(1))
    ends.lose()
    ends.a.cut(ends.now)
    link.send_reliable(publish(2))
    assert link.reliably_sent == 2
    ends.settle(3.0)
    assert ends.b.numbers == [1, 2]
    assert (link.reliably_sent, link.forgotten) == (2, 2)
