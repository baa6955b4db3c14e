"""The journal: transactions, and what happens to their rows when the store fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.deadline import NEVER, Deadline
from fox_shard.store.journal import RETRY, TRIAL, TRIAL_SIZE, Journal
from fox_shard.store.write import Write

NOW = 100.0
TRIED = {TRIAL: bytes(TRIAL_SIZE)}


class Watched:
    """A journal, with a record of what it has told the process."""

    def __init__(self, **terms):
        self.told = []
        self.troubles = []
        self.deadline = Deadline()
        self.journal = Journal(
            self.deadline,
            lambda ticket, now: self.told.append(("durable", ticket)),
            lambda ticket, why, now: self.told.append(("failed", ticket, why)),
            self.troubles.append,
            **terms,
        )

    def write(self, **rows):
        """Write a transaction with these rows for a request; returns its ticket."""
        for key, value in rows.items():
            self.journal.put(key.encode(), value)
        return self.journal.take(0.0).ticket


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def journal(watched):
    return watched.journal


def test_a_turn_without_changes_writes_nothing(journal):
    assert journal.take(0.0) is None
    assert (journal.changed, journal.idle, journal.waiting) == (False, True, 0)


def test_a_kept_row_replaces_the_same_row_that_was_put(journal):
    journal.put(b"a", b"1")
    journal.keep(b"a", None)
    assert journal.take(0.0) == Write(1, {b"a": None}, resume=False)


def test_a_row_that_is_put_replaces_the_same_row_that_was_kept(journal):
    journal.keep(b"a", None)
    journal.put(b"a", b"1")
    assert journal.take(0.0) == Write(1, {b"a": b"1"}, resume=False)


def test_all_changes_of_a_turn_are_one_transaction(journal):
    journal.put(b"a", b"1")
    journal.keep(b"b", b"2")
    journal.put(b"a", b"3")
    journal.put(b"c", None)
    assert journal.changed
    assert journal.take(0.0) == Write(1, {b"a": b"3", b"b": b"2", b"c": None}, resume=False)
    assert journal.take(0.0) is None
    assert (journal.changed, journal.idle) == (False, False)


def test_transactions_are_numbered_from_one(watched, journal):
    assert journal.ticket == 1
    assert [watched.write(a=b"1"), watched.write(a=b"2")] == [1, 2]
    assert (journal.ticket, journal.durable) == (3, 0)


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([3], [3]),
        ([2, 3], [2, 3]),
    ],
)
def test_transactions_are_reported_as_durable_up_to_a_ticket(outcomes, told, watched, journal):
    for _ in range(3):
        watched.write(a=b"1")
    for ticket in outcomes:
        journal.outcome(ticket, "", NOW)
        assert journal.durable == ticket
    assert watched.told == [("durable", ticket) for ticket in told]
    assert journal.idle


def test_bytes_count_as_waiting_until_they_are_durable(watched, journal):
    watched.write(a=b"123")
    watched.write(bb=None)
    journal.keep(b"c", b"1")
    assert journal.waiting == 4 + 2 + 2
    journal.outcome(1, "", NOW)
    assert journal.waiting == 2 + 2
    assert journal.take(0.0) is not None
    journal.outcome(3, "", NOW)
    assert journal.waiting == 0


# Obsolete rows


def test_an_obsolete_row_is_deleted_with_the_next_transaction(watched, journal):
    journal.drop(b"old")
    assert (journal.changed, journal.idle, journal.take(0.0)) == (False, True, None)
    journal.put(b"a", b"1")
    assert journal.take(0.0).changes == {b"old": None, b"a": b"1"}
    journal.put(b"a", b"2")
    assert journal.take(0.0).changes == {b"a": b"2"}


def test_a_row_is_deleted_even_if_it_was_changed_in_this_turn(journal):
    """The store may have an older value of the row."""
    journal.keep(b"a", b"1")
    journal.drop(b"a")
    assert journal.take(0.0).changes == {b"a": None}
    journal.outcome(1, "", NOW)
    assert (journal.idle, journal.waiting) == (True, 0)


def test_a_row_that_is_written_again_is_not_deleted(journal):
    journal.drop(b"a")
    journal.keep(b"a", b"1")
    assert journal.take(0.0).changes == {b"a": b"1"}


def test_an_obsolete_row_is_deleted_even_if_the_store_failed(watched, journal):
    journal.drop(b"old")
    watched.write(a=b"1")
    journal.outcome(1, "full", NOW)
    journal.tick(NOW + RETRY)
    assert journal.take(0.0).changes == {b"old": None, **TRIED}


def test_a_failure_does_not_bring_a_dropped_row_back(journal):
    journal.keep(b"a", b"1")
    journal.take(0.0)
    journal.drop(b"a")
    journal.outcome(1, "full", NOW)
    journal.tick(NOW + RETRY)
    assert journal.take(0.0).changes == {b"a": None, **TRIED}
    journal.outcome(2, "", NOW)
    assert (journal.idle, journal.waiting) == (True, 0)


# Failure


def test_all_later_transactions_fail_with_a_failed_one(watched, journal):
    for _ in range(3):
        watched.write(a=b"1")
    journal.outcome(1, "", NOW)
    journal.outcome(2, "full", NOW)
    assert watched.told == [("durable", 1), ("failed", 2, "full")]
    assert (journal.durable, journal.failing) == (1, "full")
    assert (journal.idle, journal.waiting) == (True, 0)


def test_a_failure_loses_rows_that_were_put_and_writes_kept_rows_again(watched, journal):
    journal.put(b"request 1", b"1")
    journal.keep(b"own 1", b"1")
    journal.keep(b"own", b"old")
    journal.take(0.0)
    journal.put(b"request 2", b"2")
    journal.keep(b"own", b"new")
    journal.take(0.0)
    journal.put(b"request 3", b"3")
    journal.keep(b"own 3", None)
    journal.outcome(1, "full", NOW)
    journal.tick(NOW + RETRY)
    write = Write(3, {b"own 1": b"1", b"own": b"new", b"own 3": None, **TRIED}, resume=True)
    assert journal.take(0.0) == write


def test_a_failing_store_is_given_nothing_until_the_retry(watched, journal):
    watched.write(a=b"1")
    journal.outcome(1, "full", NOW)
    journal.keep(b"own", b"1")
    assert journal.next_tick() == watched.deadline.at == NOW + RETRY
    journal.tick(NOW + RETRY / 2)
    assert journal.take(0.0) is None
    journal.tick(NOW + RETRY)
    assert journal.take(0.0) == Write(2, {b"own": b"1", **TRIED}, resume=True)
    # Then nothing more, until this retry has an outcome or the next one is due.
    journal.keep(b"own", b"2")
    journal.tick(NOW + 1.5 * RETRY)
    assert journal.take(0.0) is None
    journal.tick(NOW + 2 * RETRY)
    assert journal.take(0.0) == Write(3, {b"own": b"2", **TRIED}, resume=True)


def test_a_successful_retry_ends_the_failure(watched, journal):
    watched.write(a=b"1")
    journal.outcome(1, "full", NOW)
    journal.keep(b"own", b"1")
    journal.tick(NOW + RETRY)
    journal.take(0.0)
    journal.outcome(2, "", NOW + RETRY)
    assert (journal.failing, journal.durable, journal.next_tick()) == ("", 2, NEVER)
    assert watched.write(a=b"1") == 3
    assert journal.waiting == 2


def test_a_retry_writes_a_large_row_which_is_deleted_later(watched, journal):
    """The retry is made even if there is nothing else to be written."""
    watched.write(a=b"1")
    journal.outcome(1, "full", NOW)
    assert (journal.idle, journal.take(0.0)) == (True, None)
    journal.tick(NOW + RETRY)
    assert journal.take(0.0) == Write(2, TRIED, resume=True)
    journal.outcome(2, "", NOW + RETRY)
    journal.put(b"a", b"1")
    assert journal.take(0.0) == Write(3, {TRIAL: None, b"a": b"1"}, resume=False)


def test_a_retry_may_fail_as_well(watched, journal):
    watched.write(a=b"1")
    journal.outcome(1, "full", NOW)
    journal.keep(b"own", b"1")
    journal.tick(NOW + RETRY)
    journal.take(0.0)
    journal.outcome(2, "still full", NOW + 2 * RETRY)
    assert (journal.failing, journal.next_tick()) == ("still full", NOW + 3 * RETRY)
    journal.tick(NOW + 3 * RETRY)
    assert journal.take(0.0) == Write(3, {b"own": b"1", **TRIED}, resume=True)


def test_rows_kept_because_of_a_failure_are_in_the_retry(watched):
    """The process hears of the failure before the retry, and may keep rows because of it."""
    journal = Journal(
        Deadline(), lambda *_: None, lambda *_: journal.keep(b"refused", b"1"), lambda _: None
    )
    journal.put(b"a", b"1")
    journal.take(0.0)
    journal.outcome(1, "full", NOW)
    journal.tick(NOW + RETRY)
    assert journal.take(0.0).changes == {b"refused": b"1", **TRIED}


def test_the_process_is_told_once_that_the_store_fails_and_once_that_it_works_again(watched):
    watched.write(a=b"1")
    watched.journal.outcome(1, "full", NOW)
    for retry, why in enumerate(("still full", ""), start=1):
        now = NOW + retry * RETRY
        watched.journal.tick(now)
        watched.journal.outcome(watched.journal.take(now).ticket, why, now)
    assert watched.troubles == ["full", ""]


# A store and a journal agree


KEYS = st.sampled_from([b"a", b"b", b"c"])
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS),
    st.tuples(st.just("keep"), KEYS.map(bytes.upper)),
    st.tuples(st.sampled_from(["take", "commit", "fail", "retry"]), st.none()),
)


@given(st.lists(STEPS, max_size=40))
def test_the_store_has_all_kept_rows_and_all_puts_that_have_not_failed(steps):
    """Keys that are put are lower case, kept ones upper case. A failure takes all pending puts."""
    now = NOW
    journal = Journal(Deadline(), lambda *_: None, lambda *_: unstored.clear(), lambda _: None)
    stored, waiting, kept, durable, unstored = {}, [], {}, {}, []
    for number, (step, key) in enumerate([*steps, ("retry", None), ("commit", None)]):
        value = b"%d" % number
        if step == "put" and not journal.failing:
            journal.put(key, value)
            unstored.append((journal.ticket, key, value))
        elif step == "keep":
            journal.keep(key, value)
            kept[key] = value
        elif step == "retry":
            now += RETRY
            journal.tick(now)
        if step in ("take", "retry") and (write := journal.take(0.0)) is not None:
            waiting.append(write)
        elif step == "commit" and waiting:
            for write in waiting:
                stored.update(write.changes)
                stored.pop(TRIAL, None)
            last = waiting[-1].ticket
            durable.update((key, value) for ticket, key, value in unstored if ticket <= last)
            unstored[:] = [one for one in unstored if one[0] > last]
            waiting.clear()
            journal.outcome(last, "", now)
        elif step == "fail" and waiting:
            first = waiting[0].ticket
            waiting.clear()
            journal.outcome(first, "full", now)
    if journal.idle:
        assert stored == {**kept, **durable}
        assert journal.waiting == 0


@pytest.fixture
def patient(watched):
    watched.journal.interval = 0.1
    return watched


def test_the_first_change_after_a_rest_is_taken_at_once(patient):
    patient.write(a=b"1")
    patient.journal.keep(b"b", b"2")
    assert patient.journal.take(5.0) == Write(2, {b"b": b"2"}, resume=False)


def test_what_changes_within_the_interval_is_one_transaction(patient):
    journal = patient.journal
    assert patient.write(a=b"1") == 1
    for now, key in ((0.01, b"b"), (0.05, b"c"), (0.09, b"d")):
        journal.keep(key, b"2")
        assert journal.take(now) is None
        assert (patient.deadline.at, journal.next_tick(), journal.idle) == (0.1, 0.1, False)
    assert journal.take(0.1) == Write(2, {b"b": b"2", b"c": b"2", b"d": b"2"}, resume=False)
    assert journal.next_tick() == NEVER


def test_a_store_that_failed_is_tried_when_the_retry_is_due(patient):
    journal = patient.journal
    journal.keep(b"a", b"1")
    journal.outcome(journal.take(0.0).ticket, "disk full", 0.01)
    assert journal.take(0.02) is None
    assert journal.next_tick() == 0.01 + RETRY
    journal.tick(0.01 + RETRY)
    assert journal.take(0.01 + RETRY) == Write(2, {b"a": b"1", **TRIED}, resume=True)


def test_a_patient_change_waits_for_others_and_no_longer_than_its_patience():
    watched = Watched(interval=0.1, patience=1.0)
    journal = watched.journal
    journal.keep(b"a", b"1", patient=True)
    assert journal.take(5.0) is None
    assert (watched.deadline.at, journal.next_tick(), journal.idle) == (6.0, 6.0, False)
    journal.keep(b"b", b"2", patient=True)
    assert journal.take(5.9) is None
    assert journal.take(6.0) == Write(1, {b"a": b"1", b"b": b"2"}, resume=False)
    journal.keep(b"c", b"3", patient=True)
    assert journal.take(6.01) is None
    journal.keep(b"d", b"4")
    assert journal.take(6.02) is None
    assert journal.next_tick() == 6.1
    assert journal.take(6.1) == Write(2, {b"c": b"3", b"d": b"4"}, resume=False)
    assert journal.next_tick() == NEVER


def test_a_patient_change_that_failed_is_patient_no_more():
    journal = Watched(interval=0.1, patience=1.0).journal
    journal.keep(b"a", b"1", patient=True)
    assert journal.take(0.0) is None
    journal.outcome(journal.take(1.0).ticket, "disk full", 1.0)
    journal.tick(1.0 + RETRY)
    assert journal.take(1.0 + RETRY) == Write(2, {b"a": b"1", **TRIED}, resume=True)


def test_a_process_that_ends_waits_for_nothing():
    journal = Watched(interval=0.1, patience=1.0).journal
    journal.keep(b"a", b"1", patient=True)
    assert journal.take(0.0) is None
    journal.interval = 0.0
    assert journal.take(0.0) == Write(1, {b"a": b"1"}, resume=False)
