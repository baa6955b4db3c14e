"""The tap of a process, which copies batches only for subscribers (see also test_zmqtap)."""

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
    """A short path, because that of a Unix socket has 108 bytes at most."""
    path = tempfile.mkdtemp(prefix="fox", dir="/tmp")
    yield Path(path)
    shutil.rmtree(path)


@pytest.fixture
def tap(context, run_dir):
    tap = Tap(context, run_dir, "shard-0")
    yield tap
    tap.close()


@pytest.fixture
def subscriber(context, run_dir):
    """A raw subscriber (XSUB), which sends its subscriptions as messages."""
    socket = context.socket(zmq.XSUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"ipc://{run_dir}/tap/shard-0")
    yield socket
    socket.close()


def send_and_wait(tap, subscriber, message, active):
    """Send a message to the tap, and wait until `tap.active` is `active`."""
    subscriber.send(message)
    while tap.active is not active:
        assert select.select([tap.fileno()], [], [], PATIENCE)[0], "nothing was heard"
        tap.on_readable()


@pytest.mark.parametrize("topic", [b"", b"shard", b"shard-0"])
def test_a_tap_is_active_while_it_has_a_subscriber(topic, tap, subscriber):
    assert not tap.active
    send_and_wait(tap, subscriber, b"\x01" + topic, active=True)
    send_and_wait(tap, subscriber, b"\x00" + topic, active=False)


def test_a_tap_ignores_noise_and_subscriptions_to_other_processes(tap, subscriber):
    subscriber.send(b"\x01gateway-0")
    subscriber.send(b"noise")
    send_and_wait(tap, subscriber, b"\x01shard-0", active=True)
    subscriber.send(b"\x02")
    send_and_wait(tap, subscriber, b"\x00shard-0", active=False)


def test_a_copy_names_its_process_and_is_numbered(tap, subscriber):
    send_and_wait(tap, subscriber, b"\x01", active=True)
    tap.publish(SENT, "gateway-0", b"one")
    tap.publish(RECEIVED, "gateway-1", b"x" * (BATCH_LIMIT + 1))
    copies = []
    for _ in range(2):
        assert subscriber.poll(PATIENCE * 1000)
        copies.append(subscriber.recv_multipart())
    names, headers, batches = zip(*copies, strict=True)
    assert names == (b"shard-0", b"shard-0")
    assert batches == (b"one", b"x" * BATCH_LIMIT)
    first, second = (msgpack.decode(header) for header in headers)
    assert (first[0], first[1], first[3]) == (b">", "gateway-0", 1)
    assert (second[0], second[1], second[3]) == (b"<", "gateway-1", 2)
    assert 0 < first[2] <= second[2]


def test_a_path_that_cannot_be_bound_is_an_error_and_leaves_no_socket(context, run_dir):
    with pytest.raises(zmq.ZMQError):
        Tap(context, run_dir, "n" * 200)
