"""Outcomes: up to where a peer's reliable frames are stored, and how each of them ended."""

from types import SimpleNamespace

import pytest

from fox_shard.deadline import Deadline
from fox_shard.shard import rows
from fox_shard.shard.links.outcomes import REFUSED, Outcomes
from fox_shard.shard.links.peer import Kind
from fox_shard.store.journal import TRIAL, Journal


def peer(name="gateway-0", *, identity=7, forgotten=0):
    link = SimpleNamespace(peer_identity=identity, peer_forgotten=forgotten)
    return SimpleNamespace(name=name, kind=Kind(name.partition("-")[0]), link=link)


class Stored:
    """Outcomes, and the rows that their journal has written."""

    def __init__(self):
        self.rows = {}
        self.start()

    def start(self):
        """Start again from the rows."""
        self.journal = Journal(Deadline(), lambda *_: None, lambda *_: None, lambda _: None)
        self.outcomes = Outcomes(self.journal)
        for key, value in sorted(self.rows.items()):
            if key.startswith(rows.PEER):
                self.outcomes.load_peer(key[1:].decode(), rows.decode_peer(value))
            elif key != TRIAL:
                name = key[1 : key.index(b"\0")].decode()
                self.outcomes.load_outcomes(name, key, rows.decode_outcomes(value))

    def batch(self, of, *outcomes, last=None):
        """Handle a batch of recorded frames, and return the rows that it writes.

        outcomes: (reliable number, publication id). last: the batch's last reliable number; None:
        that of its last recorded frame.
        """
        for rseq, publication in outcomes:
            self.outcomes.add(rseq, publication)
        self.outcomes.batch_handled(of, last or outcomes[-1][0])
        return self.commit()

    def commit(self):
        write = self.journal.take(0.0)
        if write is None:
            return {}
        for key, value in write.changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        return write.changes


@pytest.fixture
def stored():
    return Stored()


def outcomes(stored, of, last=20):
    return {
        rseq: publication
        for rseq in range(1, last)
        if (publication := stored.outcomes.outcome(of, rseq)) is not None
    }


def test_a_batch_without_recorded_frames_writes_no_row(stored):
    stored.outcomes.batch_handled(peer(), 5)
    assert stored.commit() == {}
    assert stored.outcomes.watermark(peer()) == 0


def test_a_batch_writes_its_outcomes_and_its_watermark(stored):
    assert stored.batch(peer(), (3, 300), (5, 500), last=6) == {
        rows.peer("gateway-0"): rows.encode(rows.PeerRow(7, 6)),
        rows.outcomes("gateway-0", 3): rows.encode([(3, 300), (5, 500)]),
    }
    assert stored.outcomes.watermark(peer()) == 6


def test_a_frame_without_a_reliable_number_is_not_recorded(stored):
    stored.outcomes.add(0, 300)
    stored.outcomes.batch_handled(peer(), 6)
    assert stored.commit() == {}


def test_outcomes_are_known_after_a_restart(stored):
    stored.batch(peer(), (3, 300), (5, REFUSED))
    stored.batch(peer(), (6, 600))
    stored.batch(peer("gateway-1", identity=8), (1, 100))
    stored.start()
    assert outcomes(stored, peer()) == {3: 300, 5: REFUSED, 6: 600}
    assert outcomes(stored, peer("gateway-1")) == {1: 100}
    assert outcomes(stored, peer("gateway-2")) == {}
    assert stored.outcomes.names == {"gateway-0": 7, "gateway-1": 8}


@pytest.mark.parametrize(("identity", "watermark"), [(7, 5), (8, 0)])
def test_the_watermark_applies_to_the_same_identity_only(identity, watermark, stored):
    stored.batch(peer(), (5, 500))
    stored.start()
    assert stored.outcomes.watermark(peer(identity=identity)) == watermark


def test_the_watermark_never_goes_back(stored):
    stored.batch(peer(), (5, 500))
    stored.outcomes.keep_watermark(peer(), 3)
    stored.commit()
    stored.start()
    assert stored.outcomes.watermark(peer()) == 5


# When the store fails


def test_a_refusal_is_stored_when_the_store_works_again(stored):
    stored.outcomes.add(3, REFUSED)
    stored.outcomes.batch_handled(peer(), 3)
    write = stored.journal.take(0.0)
    stored.journal.outcome(write.ticket, "full", 100.0)
    stored.journal.tick(200.0)
    stored.commit()
    stored.start()
    assert outcomes(stored, peer()) == {3: REFUSED}


def test_a_frame_whose_commit_failed_is_stored_as_refused(stored):
    stored.outcomes.add(3, 300)
    stored.outcomes.add(4, 400)
    stored.outcomes.batch_handled(peer(), 4)
    write = stored.journal.take(0.0)
    stored.outcomes.commit_failed("gateway-0", 7, [3, 4])
    stored.journal.outcome(write.ticket, "full", 100.0)
    stored.journal.tick(200.0)
    stored.commit()
    stored.start()
    assert outcomes(stored, peer()) == {3: REFUSED, 4: REFUSED}
    assert stored.outcomes.watermark(peer()) == 4


def test_failures_of_another_identity_are_not_stored(stored):
    stored.batch(peer(identity=8), (1, 100))
    stored.outcomes.commit_failed("gateway-0", 7, [3, 4])
    stored.outcomes.commit_failed("gateway-1", 7, [3, 4])
    assert stored.commit() == {}


# Dropping outcomes


@pytest.mark.parametrize(
    ("forgotten", "left"),
    [(0, {3, 6, 9}), (4, {3, 6, 9}), (5, {6, 9}), (8, {9}), (99, set())],
)
def test_the_outcomes_of_a_batch_are_kept_until_all_of_it_is_forgotten(forgotten, left, stored):
    for first in (3, 6, 9):
        stored.batch(peer(), *((first + i, first * 100 + i) for i in range(3)))
    stored.outcomes.confirmed(peer(forgotten=forgotten))
    # The rows are deleted in the next transaction.
    assert stored.commit() == {}
    stored.batch(peer("gateway-1"), (1, 1))
    ours = [key for key in stored.rows if key.startswith(b"ogateway-0\0")]
    assert ours == [rows.outcomes("gateway-0", first) for first in sorted(left)]


@pytest.mark.parametrize("first", [3, 4])
def test_the_row_of_refusals_goes_when_the_frames_are_forgotten(first, stored):
    """It may begin with another frame than the row of the batch, which was not stored."""
    gateway = peer()
    for rseq in (3, 4, 5):
        stored.outcomes.add(rseq, 100 + rseq)
    stored.outcomes.batch_handled(gateway, 5)
    ticket = stored.journal.take(0.0).ticket
    stored.journal.outcome(ticket, "the disk is full", 0.0)
    stored.outcomes.commit_failed("gateway-0", 7, [*range(first, 6)])
    stored.journal.tick(2.0)
    stored.commit()
    assert rows.outcomes("gateway-0", first) in stored.rows
    stored.journal.outcome(ticket + 1, "", 2.0)
    gateway.link.peer_forgotten = 5
    stored.outcomes.confirmed(gateway)
    stored.batch(peer("gateway-1"), (1, 200))
    assert [key for key in stored.rows if key.startswith(b"ogateway-0")] == []


def test_an_unknown_peer_has_no_outcomes_to_drop(stored):
    stored.outcomes.confirmed(peer(forgotten=9))
    stored.outcomes.link_opened(peer())
    stored.outcomes.peer_gone(peer())
    assert stored.outcomes.names == {}


def test_no_outcome_is_known_when_the_peer_has_forgotten_all_frames(stored):
    stored.batch(peer(), (3, 300))
    stored.start()
    stored.outcomes.confirmed(peer(forgotten=3))
    assert outcomes(stored, peer()) == {}
    assert stored.outcomes.lowest is None


@pytest.mark.parametrize("name", ["gateway-0", "shard-1", "coordinator"])
def test_the_rows_of_a_peer_that_has_gone_are_dropped_only_if_it_is_a_gateway(name, stored):
    """Other peers may come back with the frames that their own stores hold."""
    stored.batch(peer(name), (3, 300))
    stored.outcomes.peer_gone(peer(name))
    stored.batch(peer("gateway-1"), (1, 1))
    gone = name == "gateway-0"
    assert (rows.peer(name) in stored.rows) is not gone
    assert (rows.outcomes(name, 3) in stored.rows) is not gone


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("identity", "known"), [(7, True), (8, False)])
def test_outcomes_of_another_identity_are_not_known(identity, known, restarted, stored):
    """The new identity's numbers begin below those of the earlier one."""
    stored.batch(peer("coordinator"), (3, 300), (5, 500))
    if restarted:
        stored.start()
    comes = peer("coordinator", identity=identity)
    stored.outcomes.link_opened(comes)
    stored.batch(comes, (6, 600) if known else (1, 700))
    assert stored.outcomes.watermark(comes) == (6 if known else 1)
    stored.start()
    assert outcomes(stored, comes) == ({3: 300, 5: 500, 6: 600} if known else {1: 700})


def test_lowest_is_the_first_publication_that_may_be_sent_again_since_the_restart(stored):
    stored.batch(peer(), (3, 300), (4, 400))
    stored.batch(peer("gateway-1"), (1, 200))
    assert stored.outcomes.lowest is None
    stored.start()
    assert stored.outcomes.lowest == 200
    stored.outcomes.resent_handled(peer("gateway-1"))
    assert stored.outcomes.lowest == 300
    stored.outcomes.peer_gone(peer())
    assert stored.outcomes.lowest is None
