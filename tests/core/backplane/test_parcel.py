"""Batches that are handed over within one process."""

import pytest
from msgspec import DecodeError

from fox_shard.backplane.frames import Batch, Publish, encode
from fox_shard.backplane.link import Link
from fox_shard.backplane.parcel import Parcel, batch_of
from fox_shard.backplane.terms import LinkSettings
from fox_shard.deadline import Deadline


def ends(**settings):
    """Return both ends of an open link."""
    made = []
    for name, peer, connects in (("gateway-0", "shard-0", True), ("shard-0", "gateway-0", False)):
        made.append(
            Link(
                name,
                peer,
                incarnation=1,
                settings=LinkSettings(shards=1, **settings),
                new_epoch=lambda: 7,
                deadline=Deadline(),
                connects=connects,
                now=0.0,
            )
        )
    one, other = made
    one.tick(0.0)
    for _ in range(3):
        for source, target in ((one, other), (other, one)):
            for data in source.flush(0.0):
                target.receive(batch_of(data), len(data), 0.0)
    assert one.open
    assert other.open
    return one, other


def publish(**more):
    return Publish("realm1", "topic", 1, 1, 1, 0, 1, b"payload", **more)


def test_a_plain_frame_arrives_as_it_is_and_its_bytes_count_as_credit():
    one, other = ends(hands_over=True)
    sent = publish()
    one.send(sent)
    (data,) = one.flush(0.0)
    assert one.in_flight == len(data) == len(encode(batch_of(data)))
    assert one.outbox == []
    _, frames = other.receive(batch_of(data), len(data), 0.0)
    assert frames[0] is sent


def test_a_reliable_frame_arrives_as_a_copy_because_the_receiver_may_change_it():
    one, other = ends(hands_over=True)
    kept, plain = publish(), publish()
    one.send_reliable(kept)
    one.send(plain)
    (data,) = one.flush(0.0)
    _, frames = other.receive(batch_of(data), len(data), 0.0)
    assert frames == [kept, plain]
    frames[0].flags |= 1
    assert kept.flags == 0
    assert other.reliable_indexes == [0]


def test_the_next_batch_does_not_change_the_one_before():
    one, _ = ends(hands_over=True)
    batches = []
    for number in range(3):
        one.send(publish(attributes=bytes([number])))
        (data,) = one.flush(0.0)
        batches.append(batch_of(data))
    assert [[frame.attributes for frame in batch.frames] for batch in batches] == [
        [b"\0"],
        [b"\1"],
        [b"\2"],
    ]


def test_between_processes_there_are_bytes():
    one, _ = ends()
    one.send(publish())
    (data,) = one.flush(0.0)
    assert type(data) is bytes
    assert batch_of(data).frames == [publish()]


def test_a_parcel_is_the_encoded_batch():
    one, _ = ends(hands_over=True)
    one.send(publish())
    (data,) = one.flush(0.0)
    assert isinstance(data, Parcel)
    assert data == encode(data.batch)
    assert isinstance(data.batch, Batch)


def test_garbage_is_no_batch():
    with pytest.raises(DecodeError):
        batch_of(b"\xc1")
