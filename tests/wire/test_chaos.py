"""Processes killed at random under load (a short `make chaos`), its clients, and its checks."""

import asyncio
import os
import signal
from contextlib import suppress
from itertools import count
from random import Random
from types import SimpleNamespace

import pytest

from chaos import writers
from chaos.broker import send_signal
from chaos.ledger import Found, Kind, Ledger, Mark, Operation, Watch
from chaos.locks import Hold, judge_holds
from chaos.payments import TOTAL, Payments
from chaos.run import Work, run
from chaos.writers import Writer

TOPIC = "chaos.keys.w.k0"


def test_no_acknowledged_publish_is_lost_whatever_process_is_killed():
    least = Work(accidents=4, publishes=500, locks=20, amounts=100)
    summary = asyncio.run(run(seconds=12, seed=7, least=least))
    print(summary)
    assert not summary.complaints, "\n".join((*summary.log, *summary.complaints))
    assert summary.counts["accidents"] >= least.accidents
    assert summary.counts["publishes acknowledged"] >= least.publishes
    assert summary.counts["locks held"] >= least.locks
    assert summary.counts["amounts folded"]["acknowledged"] >= least.amounts


def ledger_of(*operations):
    """Return a ledger of operations on one key: (kind, publication id; None: unacknowledged)."""
    ledger = Ledger()
    account = ledger.open("w", "wamp")
    for kind, publication in operations:
        number = account.send(Operation(TOPIC, kind, 1, 0.0))
        if publication is not None:
            account.acknowledge(number, 1.0, publication)
    return ledger


KEEP, ERASE = Kind.KEEP, Kind.ERASE


@pytest.mark.parametrize(
    ("operations", "number", "publication", "complaint"),
    [
        ([(KEEP, 10)], 1, 10, ""),
        ([(KEEP, 10)], 1, None, ""),
        ([(KEEP, 10)], 1, 11, "with the publication id 11"),
        ([(KEEP, 10)], None, None, "is missing"),
        ([(KEEP, None)], None, None, ""),
        ([(KEEP, None)], 1, 10, ""),
        ([(KEEP, 10), (KEEP, None)], 1, 10, ""),
        ([(KEEP, 10), (KEEP, None)], 2, 11, ""),
        ([(KEEP, 10), (KEEP, 11)], 1, 10, "older than what was acknowledged"),
        ([(KEEP, None), (KEEP, 11)], 1, 10, "older than what was acknowledged"),
        ([(KEEP, 10), (ERASE, 11)], None, None, ""),
        ([(KEEP, 10), (ERASE, None)], None, None, ""),
        ([(KEEP, 10), (ERASE, 11)], 1, 10, "older than what was acknowledged"),
        ([(ERASE, 10), (KEEP, 11)], None, None, "is missing"),
        ([(KEEP, 10)], 2, 11, "was never published there"),
    ],
)
def test_the_ledger_complains_of_a_key_that_differs_from_the_acknowledged_one(
    operations, number, publication, complaint
):
    found = {}
    if number is not None:
        found[TOPIC] = Found(Mark("w", 1, number), publication)
    complaints = list(ledger_of(*operations).judge_keys("reader", found))
    assert len(complaints) == bool(complaint)
    assert complaint in "".join(complaints)


def test_the_ledger_complains_of_a_key_that_nobody_published():
    found = {"chaos.keys.w.k1": Found(Mark("w", 1, 1), 10)}
    (complaint,) = ledger_of().judge_keys("reader", found)
    assert "nobody has published it" in complaint


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        ([(1, 10), (2, 11)], ""),
        ([(1, 10)], "was never seen"),
        ([(1, 10), (2, 11), (1, 10)], "came twice, with the same id"),
        ([(1, 10), (2, 11), (1, 12)], "came twice, with another id"),
        ([(2, 11), (1, 10)], "came late"),
    ],
)
def test_a_watch_complains_of_events_that_do_not_come_once_and_in_order(seen, complaint):
    watch = Watch("watch", ledger_of((KEEP, 10), (KEEP, 11)))
    for number, publication in seen:
        watch.see(TOPIC, ["w", 1, number], publication)
    complaints = list(watch.judge(["w"]))
    assert len(complaints) == bool(complaint)
    assert complaint in "".join(complaints)


def test_the_ledger_complains_of_two_publishes_with_one_publication_id():
    assert len(list(ledger_of((KEEP, 10), (KEEP, 10)).judge_ids())) == 1


@pytest.mark.parametrize(
    ("holds", "complaint"),
    [
        ([("a", 1, 1.0, 2.0), ("a", 2, 2.0, 3.0)], ""),
        ([("a", 1, 1.0, 2.0), ("b", 2, 1.5, 3.0)], ""),
        ([("a", 1, 1.0, 2.0), ("a", 2, 1.9, 3.0)], "and with 2 since 1.900"),
        ([("a", 2, 1.0, 2.0), ("a", 1, 2.0, 3.0)], "and with 2 since 1.000"),
        ([("a", 1, 1.0, None), ("a", 2, 1.5, 3.0)], ""),
        ([("a", 1, 1.0, 2.0), ("a", 1, 2.0, 3.0)], "two clients had the token 1"),
    ],
)
def test_a_lock_has_one_holder_at_a_time_and_its_tokens_grow(holds, complaint):
    found = list(judge_holds(Hold(*hold) for hold in holds))
    assert [complaint in one for one in found] == ([True] if complaint else [])


@pytest.mark.parametrize(
    ("sums", "complaints"),
    [
        ((300, 7), []),
        ((1300, 7), []),  # the third was not acknowledged, but is on the disk
        ((200, 7), ["acknowledged payments make 300", "#0 100 (missing)"]),
        ((500, 7), ["acknowledged payments make 300", "#1 200 (twice)"]),
        ((2300, 7), ["acknowledged payments make 300", "#2 1000 (twice)"]),
        ((None, 7), ["acknowledged payments make 300"]),
        (("300", 7), ["should be an integer"]),
    ],
)
def test_payments_complain_of_a_sum_that_misses_an_amount_or_has_one_twice(sums, complaints):
    payments = Payments()
    topics = []
    for connection, amounts in enumerate(([100, 200, 1000], [7])):
        topic, account = payments.open("p", "wamp", connection)
        account.amounts += amounts
        account.acknowledged |= {number for number, amount in enumerate(amounts) if amount < 1000}
        topics.append(topic)
    keys = {topic: found for topic, found in zip(topics, sums, strict=True) if found is not None}
    total = sum(found for found in keys.values() if isinstance(found, int))
    text = "\n".join(payments.judge({**keys, TOTAL: total}))
    assert all(complaint in text for complaint in complaints)
    assert bool(text) == bool(complaints)


@pytest.mark.parametrize("total", [0, 99, 101, 200, "100"])
def test_payments_complain_of_a_total_that_is_not_the_sum_of_all_topics(total):
    payments = Payments()
    topic, account = payments.open("p", "wamp", 0)
    account.amounts.append(100)
    assert not list(payments.judge({topic: 100, TOTAL: 100}))
    (complaint,) = payments.judge({topic: 100, TOTAL: total})
    assert complaint == f"paid is {total}, and the sums of all topics make 100"


class SlowMqttServer(asyncio.Transport):
    """A server at the other end of an MQTT peer, which answers at QoS 2 with some delay.

    passes: of the event loop, before each answer.
    """

    def __init__(self, peer, passes):
        super().__init__({"sockname": ("127.0.0.1", 1)})
        self.peer = peer
        self.passes = passes
        self.published = self.completed = 0

    def write(self, packet):
        match packet[0] >> 4:
            case 3:  # PUBLISH: length, topic and packet identifier follow
                assert packet[1] < 0x80
                at = 4 + int.from_bytes(packet[2:4], "big")
                self.published += 1
                self.answer(bytes((0x50, 2)) + packet[at : at + 2], self.passes)  # PUBREC
            case 6:  # PUBREL
                self.completed += 1
                self.answer(bytes((0x70, 2)) + packet[2:4], self.passes)  # PUBCOMP

    def answer(self, packet, passes):
        loop = asyncio.get_running_loop()
        if passes:
            loop.call_soon(self.answer, packet, passes - 1)
        else:
            self.peer.data_received(packet)

    def is_closing(self):
        return False

    def abort(self):
        self.peer.connection_lost(None)


class OneVisit:
    """A door that lets one writer in, once, for a single burst of publishes."""

    def __init__(self, passes):
        self.broker = SimpleNamespace(gateway_of=lambda *_: "gateway-0")
        self.passes = passes
        self.clock = count()
        self.now = lambda: next(self.clock)

    async def move(self, make, name, _rng):
        peer = make(name)
        self.server = SlowMqttServer(peer, self.passes)
        peer.connection_made(self.server)
        return peer, next(self.clock) + 1

    async def leave(self, peer):
        peer.abort()
        self.writer.stop()


@pytest.mark.parametrize("passes", [0, 1, 2, 3, 5, 20])
async def test_a_writer_notices_that_its_last_message_at_qos_2_is_complete(monkeypatch, passes):
    monkeypatch.setattr(writers, "PATIENCE", 2.0)
    monkeypatch.setattr(writers, "PACE", 1e-9)  # the answers come after that
    door = OneVisit(passes)
    door.writer = writer = Writer("w", "mqtt 2", Ledger(), door, Random(1))
    await writer.run()
    assert not writer.complaints
    assert door.server.completed == door.server.published > 0


async def test_a_process_that_is_sent_a_signal_as_it_dies_keeps_its_exit_code():
    for _ in range(20):
        process = await asyncio.create_subprocess_exec("sleep", "100")
        os.kill(process.pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # asyncio has been told already
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it dies now
        send_signal(process, signal.SIGTERM)
        assert await process.wait() == -signal.SIGKILL
