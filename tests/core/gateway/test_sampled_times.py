"""How long deliveries and calls take: the first of each in a turn, after a rest."""

import pytest
from gateway_harness import GatewayHarness, event

from fox_shard.backplane.frames import CallError, Report, Result
from fox_shard.documents.payloads import JSON
from fox_shard.gateway.clients.sampled_times import REST, SampledTimes
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS


class FakeClock:
    def __init__(self):
        self.now = 100.0
        self.wall = EPOCH + 50.0


@pytest.fixture
def clock():
    return FakeClock()


def publication(seconds, shard=3):
    """Return an id given out so many seconds after the epoch."""
    return int(seconds * TICKS) * SHARDS + shard


def counted(times, name):
    """Return the number of times, and their sum in seconds."""
    microseconds, *counts = times.take()[name]
    return sum(counts), microseconds / 1e6


@pytest.mark.parametrize(("given_out", "seconds"), [(49.75, 0.25), (50.0, 0.0), (51.0, 0.0)])
def test_a_delivery_takes_from_the_id_until_the_end_of_the_turn(clock, given_out, seconds):
    times = SampledTimes(clock)
    times.event = publication(given_out)
    times.turn_ends(clock.now, clock.wall)
    times.turn_ends(clock.now, clock.wall)
    assert counted(times, "delivery_seconds") == (1, pytest.approx(seconds, abs=1e-5))


def test_the_first_call_of_a_turn_is_measured_until_its_answer(clock):
    times = SampledTimes(clock)
    for request in (1, 2):
        times.call_sent(7, request)
    times.turn_ends(100.0, clock.wall)
    clock.now = 102.5
    for request in (1, 2):
        times.call_over(7, request, answered=True)
    assert times.idle
    assert counted(times, "call_seconds") == (1, 2.5)


def test_after_one_measured_event_and_call_the_gateway_measures_none_for_a_while(clock):
    times = SampledTimes(clock)
    for request, at in enumerate((0.0, 0.5 * REST, 1.1 * REST, 1.2 * REST)):
        times.event = publication(50.0)
        times.call_sent(7, request)
        times.turn_ends(100.0 + at, clock.wall + at)
        assert times.event == 0
    for request in range(4):
        times.call_over(7, request, answered=True)
    taken = times.take()
    assert {name: sum(buckets[1:]) for name, buckets in taken.items()} == {
        "call_seconds": 2,
        "delivery_seconds": 2,
    }
    assert times.idle


@pytest.mark.parametrize("turn_ended", [False, True])
def test_a_call_whose_session_ends_is_not_measured(clock, turn_ended):
    times = SampledTimes(clock)
    times.call_sent(7, 1)
    if turn_ended:
        times.turn_ends(100.0, clock.wall)
    times.call_over(7, 1, answered=False)
    assert times.idle
    times.turn_ends(101.0, clock.wall)
    assert times.idle
    assert counted(times, "call_seconds") == (0, 0.0)


def reported(harness):
    harness.gateway.send_report(harness.now)
    (report,) = harness.got("coordinator", Report)
    return {name: sum(buckets[1:]) for name, buckets in report.histograms.items()}


@pytest.mark.parametrize("is_error", [False, True])
def test_a_gateway_reports_the_times_of_calls(is_error):
    harness = GatewayHarness(shards=1)
    session = harness.session()
    for request in (1, 2):
        harness.gateway.requests.call(session, request, "p.q", 0, 0, JSON, b"[]", b"", None)
    harness.turn()
    for request in (1, 2):
        answer = (
            CallError(session.id, request, "com.example.no", JSON, b"[]", b"")
            if is_error
            else Result(session.id, request, False, JSON, b"[]")
        )
        harness.say("shard-0", answer)
    assert reported(harness)["call_seconds"] == 1
    assert harness.gateway.calls.idle


def test_a_session_that_ends_with_a_call_leaves_nothing_behind():
    harness = GatewayHarness(shards=1)
    session = harness.session()
    harness.gateway.requests.call(session, 1, "p.q", 0, 0, JSON, b"[]", b"", None)
    harness.turn()
    harness.gateway.requests.session_ended(session, "wamp.close.normal")
    harness.turn()
    assert harness.gateway.calls.idle


def test_a_gateway_reports_the_times_of_deliveries():
    harness = GatewayHarness(shards=1)
    session = harness.session()
    harness.subscribe(session, "=a.b")
    harness.turns()
    harness.say("shard-0", event(64), event(128))
    harness.say("shard-0", event(192))
    assert 1 <= reported(harness)["delivery_seconds"] <= 2
