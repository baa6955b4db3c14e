"""How far a peer's reliable frames are in the store, and how each of them ended."""

from types import SimpleNamespace

import pytest

from fox_shard.deadline import Deadline
from fox_shard.shard import rows
from fox_shard.shard.links.outcomes import REFUSED, Ledger
from fox_shard.shard.links.peer import Kind
from fox_shard.store.journal import TRIAL, Journal


def peer(name="gateway-0", *, identity=7, forgotten=0):
    link = SimpleNamespace(peer_identity=identity, peer_forgot=forgotten)
    return SimpleNamespace(name=name, kind=Kind(name.partition("-")[0]), link=link)


class Stored:
    """A ledger, and the rows its journal would write."""

    def __init__(self):
        self.rows = {}
        self.start()

    def start(self):
        """From the rows that there are."""
        self.journal = Journal(Deadline(), lambda *_: None, lambda *_: None, lambda _: None)
        self.ledger = Ledger(self.journal)
        for key, value in sorted(self.rows.items()):
            if key.startswith(rows.PEER):
                self.ledger.load_peer(key[1:].decode(), rows.decode_peer(value))
            elif key != TRIAL:
                name = key[1 : key.index(b"\0")].decode()
                self.ledger.load_outcomes(name, key, rows.decode_outcomes(value))

    def batch(self, of, *outcomes, last=None):
        """A batch with those recorded frames; returns what it wrote."""
        for rseq, publication in outcomes:
            self.ledger.note(rseq, publication)
        self.ledger.close(of, last or outcomes[-1][0])
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
        if (publication := stored.ledger.outcome(of, rseq)) is not None
    }


def test_a_batch_with_nothing_recorded_leaves_no_row(stored):
    stored.ledger.close(peer(), 5)
    assert stored.commit() == {}
    assert stored.ledger.watermark(peer()) == 0


def test_a_batch_leaves_its_outcomes_and_how_far_it_went(stored):
    assert stored.batch(peer(), (3, 300), (5, 500), last=6) == {
        rows.peer("gateway-0"): rows.encode(rows.PeerRow(7, 6)),
        rows.outcomes("gateway-0", 3): rows.encode([(3, 300), (5, 500)]),
    }
    assert stored.ledger.watermark(peer()) == 6


def test_what_has_no_reliable_number_is_not_recorded(stored):
    stored.ledger.note(0, 300)
    stored.ledger.close(peer(), 6)
    assert stored.commit() == {}


def test_after_a_restart_each_outcome_is_known(stored):
    stored.batch(peer(), (3, 300), (5, REFUSED))
    stored.batch(peer(), (6, 600))
    stored.batch(peer("gateway-1", identity=8), (1, 100))
    stored.start()
    assert outcomes(stored, peer()) == {3: 300, 5: REFUSED, 6: 600}
    assert outcomes(stored, peer("gateway-1")) == {1: 100}
    assert outcomes(stored, peer("gateway-2")) == {}
    assert stored.ledger.names == {"gateway-0": 7, "gateway-1": 8}


@pytest.mark.parametrize(("identity", "watermark"), [(7, 5), (8, 0)])
def test_how_far_it_went_counts_for_the_same_peer_only(identity, watermark, stored):
    stored.batch(peer(), (5, 500))
    stored.start()
    assert stored.ledger.watermark(peer(identity=identity)) == watermark


def test_the_watermark_never_goes_back(stored):
    stored.batch(peer(), (5, 500))
    stored.ledger.keep_watermark(peer(), 3)
    stored.commit()
    stored.start()
    assert stored.ledger.watermark(peer()) == 5


# When the store fails


def test_a_refusal_is_told_the_store_when_it_works_again(stored):
    stored.ledger.note(3, REFUSED)
    stored.ledger.close(peer(), 3)
    write = stored.journal.take(0.0)
    stored.journal.outcome(write.ticket, "full", 100.0)
    stored.journal.tick(200.0)
    stored.commit()
    stored.start()
    assert outcomes(stored, peer()) == {3: REFUSED}


def test_what_has_failed_is_refused_in_the_store_too(stored):
    stored.ledger.note(3, 300)
    stored.ledger.note(4, 400)
    stored.ledger.close(peer(), 4)
    write = stored.journal.take(0.0)
    stored.ledger.refused("gateway-0", 7, [3, 4])
    stored.journal.outcome(write.ticket, "full", 100.0)
    stored.journal.tick(200.0)
    stored.commit()
    stored.start()
    assert outcomes(stored, peer()) == {3: REFUSED, 4: REFUSED}
    assert stored.ledger.watermark(peer()) == 4


def test_what_has_failed_of_another_with_that_name_is_not_noted(stored):
    stored.batch(peer(identity=8), (1, 100))
    stored.ledger.refused("gateway-0", 7, [3, 4])
    stored.ledger.refused("gateway-1", 7, [3, 4])
    assert stored.commit() == {}


# Forgetting


@pytest.mark.parametrize(
    ("forgotten", "left"),
    [(0, {3, 6, 9}), (4, {3, 6, 9}), (5, {6, 9}), (8, {9}), (99, set())],
)
def test_the_outcomes_of_a_batch_are_kept_until_all_of_it_is_forgotten(forgotten, left, stored):
    for first in (3, 6, 9):
        stored.batch(peer(), *((first + i, first * 100 + i) for i in range(3)))
    stored.ledger.prune(peer(forgotten=forgotten))
    # The rows go with the next transaction there is.
    assert stored.commit() == {}
    stored.batch(peer("gateway-1"), (1, 1))
    ours = [key for key in stored.rows if key.startswith(b"ogateway-0\0")]
    assert ours == [rows.outcomes("gateway-0", first) for first in sorted(left)]


def test_who_is_not_known_has_nothing_to_forget(stored):
    stored.ledger.prune(peer(forgotten=9))
    stored.ledger.opened(peer())
    stored.ledger.gone(peer())
    assert stored.ledger.names == {}


def test_when_all_is_forgotten_nothing_is_known_any_more(stored):
    stored.batch(peer(), (3, 300))
    stored.start()
    stored.ledger.prune(peer(forgotten=3))
    assert outcomes(stored, peer()) == {}
    assert stored.ledger.lowest is None


@pytest.mark.parametrize("name", ["gateway-0", "shard-1", "coordinator"])
def test_of_a_gateway_that_will_not_come_back_nothing_is_kept(name, stored):
    """Others may come back with what their own stores hold."""
    stored.batch(peer(name), (3, 300))
    stored.ledger.gone(peer(name))
    stored.batch(peer("gateway-1"), (1, 1))
    gone = name == "gateway-0"
    assert (rows.peer(name) in stored.rows) is not gone
    assert (rows.outcomes(name, 3) in stored.rows) is not gone


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("identity", "known"), [(7, True), (8, False)])
def test_of_another_with_that_name_nothing_is_known(identity, known, restarted, stored):
    """Its numbers begin anew, below those of the one before it."""
    stored.batch(peer("coordinator"), (3, 300), (5, 500))
    if restarted:
        stored.start()
    comes = peer("coordinator", identity=identity)
    stored.ledger.opened(comes)
    stored.batch(comes, (6, 600) if known else (1, 700))
    assert stored.ledger.watermark(comes) == (6 if known else 1)
    stored.start()
    assert outcomes(stored, comes) == ({3: 300, 5: 500, 6: 600} if known else {1: 700})


def test_the_lowest_is_the_first_that_may_come_again_since_the_restart(stored):
    stored.batch(peer(), (3, 300), (4, 400))
    stored.batch(peer("gateway-1"), (1, 200))
    assert stored.ledger.lowest is None
    stored.start()
    assert stored.ledger.lowest == 200
    stored.ledger.caught_up(peer("gateway-1"))
    assert stored.ledger.lowest == 300
    stored.ledger.gone(peer())
    assert stored.ledger.lowest is None
