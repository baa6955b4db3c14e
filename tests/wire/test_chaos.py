"""Processes killed at random under load (a short `make chaos`), and the checks of its ledger."""

import asyncio

import pytest

from chaos.ledger import Found, Kind, Ledger, Mark, Operation, Watch
from chaos.locks import Hold, judge_holds
from chaos.run import run

TOPIC = "chaos.keys.w.k0"


def test_no_acknowledged_publish_is_lost_whatever_process_is_killed():
    summary = asyncio.run(run(seconds=12, seed=7))
    print(summary)
    assert not summary.complaints, "\n".join((*summary.log, *summary.complaints))
    assert summary.counts["accidents"] > 3
    assert summary.counts["publishes acknowledged"] > 500
    assert summary.counts["locks held"] > 20


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
