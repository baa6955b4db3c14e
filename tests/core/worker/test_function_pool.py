"""Calling a Python function for events: what becomes of what it returns."""

import asyncio

import pytest
from msgspec import msgpack

from fox_shard.client import Refused
from fox_shard.client.callee import CallDetails
from fox_shard.config import Reducer
from fox_shard.worker.functions import Loaded
from fox_shard.worker.pool import AROUND, FunctionPool

LONGEST = 1000
LONGEST_TEXT = LONGEST - AROUND - len(msgpack.encode("x" * 999)) + 999


def reduced(value):
    """Return what is answered if the function returns the value. Raises Refused."""

    async def play():
        loaded = Loaded(Reducer(pattern="a", function="m:f"), lambda *_: value, LONGEST)
        pool = FunctionPool(loaded)
        try:
            return await pool.reduce([], {}, CallDetails(topic="a", publication=64, retained=None))
        finally:
            pool.stop()

    return msgpack.decode(asyncio.run(play()))


def test_a_result_of_as_many_bytes_as_a_message_may_have_is_sent():
    assert reduced(5) == 5
    assert reduced("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT


def test_a_result_that_no_message_can_hold_is_an_error():
    """The gateway would end the worker's session, and the event would be asked about for ever."""
    with pytest.raises(Refused) as refused:
        reduced("x" * (LONGEST_TEXT + 1))
    assert refused.value.uri == "fox.error.limit_exceeded"
    assert "gateway.max_message_size" in refused.value.arguments[0]


@pytest.mark.parametrize("value", [object(), {object(): 1}, 1 << 70])
def test_a_result_that_cannot_be_written_is_an_error(value):
    with pytest.raises(Refused) as refused:
        reduced(value)
    assert refused.value.uri == "wamp.error.runtime_error"
    assert "cannot be sent" in refused.value.arguments[0]
