"""Arrivals: the frames of a batch, of which some may have been left out."""

from fake_peer import FakePeer

from fox_shard.backplane.frames import Batch, FencePassed, Publish
from fox_shard.backplane.terms import LinkSettings
from fox_shard.shard.links.arrival import Arrival


def publish(number):
    return Publish("realm1", f"t{number}", 1, number, number, 0, 0, b"")


PLAIN = FencePassed("gateway-0", 1, 2)


def arrival_of(*frames, watermark=0, before=0):
    """Return the arrival of a batch, in which publishes are reliable and numbered from 1.

    watermark: up to which number they were applied before. before: frames of the pair before it.
    """
    link = FakePeer("shard-0", "shard-1", LinkSettings(shards=2), 0.0).link
    link.open, link.peer_epoch, link.received, link.watermark = True, 5, before, watermark
    reliable = [i for i, frame in enumerate(frames) if isinstance(frame, Publish)]
    batch = Batch("shard-1", 5, link.epoch, before + 1, 0, 0, 0, False, 1, reliable, list(frames))
    _, left = link.receive(batch, 10, 0.0)
    return Arrival.of(link, left)


def test_the_parts_of_an_arrival_end_with_their_last_frames():
    arrival = arrival_of(PLAIN, publish(1), PLAIN, publish(2), before=10)
    first, rest = arrival.split(2)
    assert (first.last, first.durable, first.marks, first.rseq(1)) == (12, 1, [1], 1)
    assert (rest.last, rest.durable, rest.marks, rest.rseq(1)) == (14, 2, [1], 2)


def test_a_part_does_not_claim_a_frame_of_the_rest_if_frames_were_left_out():
    """Two publishes were left out: before the frame with the number 11, or behind it."""
    arrival = arrival_of(PLAIN, publish(1), publish(2), PLAIN, publish(3), before=10, watermark=2)
    assert (arrival.left_out, len(arrival.frames)) == (2, 3)
    first, rest = arrival.split(1)
    assert (first.frames, first.last) == ([PLAIN], 11)
    second, third = rest.split(1)
    assert 11 < second.last <= 14
    assert (third.last, third.durable, third.rseq(0)) == (15, 3, 3)


def test_the_next_batch_has_all_its_frames():
    arrival = arrival_of(PLAIN, PLAIN)
    assert (arrival.left_out, arrival.split(1)[0].last) == (0, 1)
