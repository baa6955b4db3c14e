"""The wire, over real sockets: batches arrive, and lost peers are reported.

No test waits for a fixed time: `until` polls the descriptors that the event loop would watch.
"""

import select
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
import zmq

from fox_shard.backplane.frames import VERSION, Batch, Hello, SyncEnd, encode
from fox_shard.backplane.wire import BATCHES_A_TURN, Wire

PATIENCE = 10_000
"""Milliseconds after which a test that waits has failed."""

PAUSE = 5
"""Milliseconds between two attempts to reach a peer."""


class Process:
    """The wire of one process, and everything that it has reported."""

    def __init__(self, run_dir, name, incarnation=1, *, listens=False, connects=()):
        self.name = name
        self.incarnation = incarnation
        self.batches, self.lost, self.garbage = [], [], []
        self.wire = Wire(
            name,
            incarnation,
            run_dir,
            listens=listens,
            connects=connects,
            on_batch=self.take,
            on_lost=self.lost.append,
            on_garbage=self.garbage.append,
        )

    def take(self, batch, size):
        """Note a batch. A hello is repeated until it is heard, so one heard twice counts once."""
        again = type(batch.frames[0]) is Hello and (batch, size) in self.batches
        if not again:
            self.batches.append((batch, size))

    def batch(self, number, *frames):
        return encode(
            Batch(self.name, 1, 1, number, 0, 0, 0, prompt=False, frames=[*(frames or [SyncEnd()])])
        )

    def hello(self):
        incarnation = self.incarnation
        hello = Hello(
            incarnation, incarnation, reply=False, version=VERSION, generation=0, shards=1
        )
        return self.batch(0, hello)

    @property
    def firsts(self):
        return [batch.first for batch, _ in self.batches]


@pytest.fixture
def run_dir():
    """A short path, because that of a Unix socket has 108 bytes at most."""
    path = tempfile.mkdtemp(prefix="fox", dir="/tmp")
    yield Path(path) / "run"
    shutil.rmtree(path)


@pytest.fixture
def start(run_dir):
    started = []

    def start(*args, **options):
        started.append(Process(run_dir, *args, **options))
        return started[-1]

    yield start
    for process in started:
        process.wire.close()


def until(holds, *processes):
    """Let the processes read, as their event loops would, until `holds()` is true."""
    poll = select.poll()
    owners = {}
    for process in processes:
        for descriptor in process.wire.descriptors:
            poll.register(descriptor, select.POLLIN)
            owners[descriptor] = process.wire
    busy = True
    while not holds():
        ready = poll.poll(0 if busy else PATIENCE)
        assert ready or busy, "nothing arrived"
        for descriptor, _ in ready:
            owners[descriptor].read(descriptor)
        came = [process.wire.read_on() for process in processes]
        busy = any(came)


def deliver(sender, receiver, data):
    """Send until the data arrives, as links do, because a connector has no peer at first."""
    before = len(receiver.batches)
    for _ in range(PATIENCE // PAUSE):
        sender.wire.send(receiver.name, data)
        select.select([*receiver.wire.descriptors], [], [], PAUSE / 1000)
        for process in (sender, receiver):
            for descriptor in process.wire.descriptors:
                process.wire.read(descriptor)
        if len(receiver.batches) > before:
            return
    raise AssertionError("nothing arrived")


@pytest.fixture
def pair(start):
    """(connector, listener), where the listener knows the connector's socket."""
    listener = start("shard-0", 11, listens=True)
    connector = start("gateway-0", 12, connects=["shard-0"])
    deliver(connector, listener, connector.hello())
    connector.lost.clear()
    return connector, listener


def test_batches_cross_both_ways_whole_and_in_order(pair):
    connector, listener = pair
    sent = [connector.batch(number, SyncEnd()) for number in range(1, 11)]
    for data in sent:
        connector.wire.send("shard-0", data)
    until(lambda: len(listener.batches) == 11, connector, listener)
    assert listener.firsts[1:] == [*range(1, 11)]
    assert [size for _, size in listener.batches[1:]] == [len(data) for data in sent]
    for number in range(1, 4):
        listener.wire.send("gateway-0", listener.batch(number))
    until(lambda: len(connector.batches) == 3, connector, listener)
    assert connector.firsts == [1, 2, 3]
    assert connector.lost == listener.lost == []


def test_many_batches_are_read_in_several_turns(pair):
    connector, listener = pair
    many = BATCHES_A_TURN * 3
    for number in range(many):
        connector.wire.send("shard-0", connector.batch(number))
    most = 0

    def all_there():
        nonlocal most, seen
        most = max(most, len(listener.batches) - seen)
        seen = len(listener.batches)
        return seen == many + 1

    seen = 1
    until(all_there, connector, listener)
    assert listener.firsts[1:] == [*range(many)]
    assert most <= 2 * BATCHES_A_TURN


def test_an_absent_peer_is_reported_lost_when_it_is_sent_to(start):
    connector = start("gateway-0", connects=["shard-0", "shard-1"])
    connector.wire.send("shard-1", connector.hello())
    assert connector.lost == ["shard-1"]


def test_a_batch_for_an_unknown_peer_is_dropped(start):
    listener = start("shard-0", listens=True)
    listener.wire.send("gateway-7", listener.batch(1))
    assert (listener.lost, listener.batches) == ([], [])
    alone = start("gateway-0")
    alone.wire.send("shard-0", alone.batch(1))
    assert alone.lost == []


def test_a_peer_that_has_closed_is_reported_lost_once_it_is_sent_to(pair, start):
    connector, listener = pair
    connector.wire.close()
    while not listener.lost:
        listener.wire.send("gateway-0", listener.batch(1))
        listener.wire.read_on()
    assert listener.lost == ["gateway-0"]
    # The peer is not tried again until it comes back.
    listener.wire.send("gateway-0", listener.batch(2))
    assert listener.lost == ["gateway-0"]


def test_a_peer_that_returns_is_answered_at_its_new_socket(pair, start):
    old, listener = pair
    new = start("gateway-0b", 13, connects=["shard-0"])
    new.name = "gateway-0"
    deliver(new, listener, new.hello())
    listener.wire.send("gateway-0", listener.batch(5))
    until(lambda: new.batches, new, listener)
    assert new.firsts == [5]
    assert old.batches == []


def test_batches_without_a_hello_do_not_change_a_peers_socket(pair, start):
    """Such batches may be the last ones of an ended incarnation."""
    connector, listener = pair
    late = start("gateway-0b", 13, connects=["shard-0"])
    late.name = "gateway-0"
    deliver(late, listener, late.batch(7))
    listener.wire.send("gateway-0", listener.batch(5))
    until(lambda: connector.batches, connector, listener)
    assert late.batches == []


@pytest.mark.parametrize("data", [b"", b"\xc1", b"not msgpack", encode([1, 2, 3])])
def test_garbage_is_reported_and_later_batches_arrive(data, pair):
    connector, listener = pair
    connector.wire.send("shard-0", data)
    connector.wire.send("shard-0", connector.batch(1))
    until(lambda: len(listener.batches) == 2, connector, listener)
    assert len(listener.garbage) == 1
    assert listener.garbage[0]


def test_a_restarted_listener_is_found_again(run_dir, start):
    first = Process(run_dir, "shard-0", 11, listens=True)
    connector = start("gateway-0", connects=["shard-0"])
    deliver(connector, first, connector.hello())
    first.wire.close()
    second = start("shard-0", 12, listens=True)
    deliver(connector, second, connector.hello())
    second.wire.send("gateway-0", second.batch(9))
    until(lambda: connector.batches, connector, second)
    assert connector.firsts == [9]


def test_only_this_user_has_access_to_the_run_directory(pair, run_dir):
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((run_dir / "shard-0.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((run_dir / "tap").stat().st_mode) == 0o700


def test_batches_are_copied_to_the_tap_while_it_has_a_subscriber(pair, run_dir):
    connector, listener = pair
    with zmq.Context() as context, context.socket(zmq.SUB) as tap:
        tap.setsockopt(zmq.SUBSCRIBE, b"")
        tap.connect(f"ipc://{run_dir}/tap/shard-0")
        select.select([listener.wire.tap.fileno()], [], [], PATIENCE / 1000)
        while not listener.wire.tap.active:
            listener.wire.tap.on_readable()
        connector.wire.send("shard-0", connector.batch(1))
        until(lambda: len(listener.batches) == 2, connector, listener)
        listener.wire.send("gateway-0", listener.batch(4))
        assert tap.poll(PATIENCE)
        _, _, received = tap.recv_multipart()
        assert tap.poll(PATIENCE)
        _, _, sent = tap.recv_multipart()
    assert (received, sent) == (connector.batch(1), listener.batch(4))


def test_other_socket_errors_are_not_taken_for_a_lost_peer(start):
    connector = start("gateway-0", connects=["shard-0"])
    connector.wire.close()
    with pytest.raises(zmq.ZMQError):
        connector.wire.send("shard-0", b"")
    connector.wire.close = lambda: None
