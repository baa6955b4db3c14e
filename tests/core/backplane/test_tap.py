"""The tap of a process (see also test_zmqtap): nobody looks, nothing is copied."""

import select
import shutil
import tempfile
from pathlib import Path

import pytest
import zmq
from msgspec import msgpack

from fox_shard.backplane.tap import BATCH_LIMIT, RECEIVED, SENT, Tap

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@pytest.fixture
def run_dir():
    """Short: the path of a Unix socket has 108 bytes at most."""
    path = tempfile.mkdtemp(prefix="fox", dir="/tmp")
    yield Path(path)
    shutil.rmtree(path)


@pytest.fixture
def tap(context, run_dir):
    tap = Tap(context, run_dir, "shard-0")
    yield tap
    tap.close()


@pytest.fixture
def look(context, run_dir):
    """A subscriber; it says what it wants by itself."""
    socket = context.socket(zmq.XSUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"ipc://{run_dir}/tap/shard-0")
    yield socket
    socket.close()


def told(tap, look, message, active):
    look.send(message)
    while tap.active is not active:
        assert select.select([tap.fileno()], [], [], PATIENCE)[0], "nothing was heard"
        tap.on_readable()


@pytest.mark.parametrize("topic", [b"", b"shard", b"shard-0"])
def test_a_tap_is_active_from_the_first_subscriber_to_the_last(topic, tap, look):
    assert not tap.active
    told(tap, look, b"\x01" + topic, active=True)
    told(tap, look, b"\x00" + topic, active=False)


def test_a_subscriber_of_another_process_and_noise_change_nothing(tap, look):
    look.send(b"\x01gateway-0")
    look.send(b"noise")
    told(tap, look, b"\x01shard-0", active=True)
    look.send(b"\x02")
    told(tap, look, b"\x00shard-0", active=False)


def test_a_copy_says_whose_it_is_and_is_numbered(tap, look):
    told(tap, look, b"\x01", active=True)
    tap.publish(SENT, "gateway-0", b"one")
    tap.publish(RECEIVED, "gateway-1", b"x" * (BATCH_LIMIT + 1))
    copies = []
    for _ in range(2):
        assert look.poll(PATIENCE * 1000)
        copies.append(look.recv_multipart())
    names, headers, batches = zip(*copies, strict=True)
    assert names == (b"shard-0", b"shard-0")
    assert batches == (b"one", b"x" * BATCH_LIMIT)
    first, second = (msgpack.decode(header) for header in headers)
    assert (first[0], first[1], first[3]) == (b">", "gateway-0", 1)
    assert (second[0], second[1], second[3]) == (b"<", "gateway-1", 2)
    assert 0 < first[2] <= second[2]


def test_a_place_that_cannot_be_bound_is_an_error_and_leaves_no_socket(context, run_dir):
    with pytest.raises(zmq.ZMQError):
        Tap(context, run_dir, "n" * 200)
