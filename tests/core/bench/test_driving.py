"""fox bench: the pace, what is under way, the end."""

import asyncio

import pytest

from fox_shard.bench import driving
from fox_shard.bench.driving import NO_ANSWER, Pace, drive
from fox_shard.bench.loads import pattern_of
from fox_shard.bench.measured import Sending
from fox_shard.client import ConnectionLost, Refused


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(driving, "SETTLING", 0.01)
    monkeypatch.setattr(driving, "PAUSE", 0.0)


def run(pace, send):
    """Return what was counted; send: is also given the event that stops the load."""
    sending = Sending(pace.rate)

    async def drive_it():
        stop = asyncio.Event()
        await drive(pace, lambda client, number: send(client, number, stop), sending, stop)

    asyncio.run(drive_it())
    return sending


def test_messages_of_all_clients_are_spread_evenly():
    pace = Pace(clients=3, rate=30.0, seconds=1.0, window=1)
    due = sorted(pace.due(client, number) for client in range(3) for number in range(10))
    assert due == pytest.approx([one / 30 for one in range(30)])


def test_no_more_is_under_way_than_the_window():
    under_way, most = 0, 0

    async def send(client, number, stop):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if number == 50:
            stop.set()

    sending = run(Pace(2, 0.0, 60.0, window=4), send)
    assert most == 8
    assert sending.answered == sending.count > 50


def test_numbers_have_no_gaps():
    sent = []

    async def send(client, number, stop):
        sent.append((client, number))
        if number == 20:
            stop.set()

    run(Pace(3, 0.0, 60.0, window=5), send)
    for client in range(3):
        numbers = [number for one, number in sent if one == client]
        assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("error", [Refused("a.b", ["not allowed"]), ConnectionLost("it is gone")])
def test_failures_are_counted_by_their_reasons(error):
    async def send(client, number, stop):
        if number == 10:
            stop.set()
        raise error

    sending = run(Pace(1, 0.0, 60.0, window=1), send)
    assert sending.failed == sending.count >= 11
    assert sending.result(1.0).reasons == {error.sentence: sending.count}


def test_what_is_not_answered_in_the_end_has_failed():
    async def send(client, number, stop):
        if number == 2:
            stop.set()
        await asyncio.Event().wait()

    sending = run(Pace(1, 0.0, 60.0, window=3), send)
    assert (sending.count, sending.answered, sending.failed) == (3, 0, 3)
    assert sending.result(1.0).reasons == {NO_ANSWER: 3}


@pytest.mark.parametrize(
    ("topic", "pattern"),
    [("bench.%i", "bench.*"), ("a.x%iy.b", "a.*.b"), ("a.b", "a.b"), ("a/%i", "*")],
)
def test_the_pattern_of_a_load_covers_its_topics(topic, pattern):
    assert pattern_of(topic) == pattern
