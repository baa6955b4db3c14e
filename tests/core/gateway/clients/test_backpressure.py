"""Clients that publish to a shard without credit are not read (architecture.md: Links, Credit)."""

import pytest
from gateway_harness import links

from fox_shard.gateway.clients.backpressure import Backpressure
from fox_shard.gateway.clients.connection import Connection


@pytest.fixture
def ends():
    return links(2)


@pytest.fixture
def pressure(ends):
    made = Backpressure(ends)
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
    assert Backpressure(ends).congested == {0, 1}


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
