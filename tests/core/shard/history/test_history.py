"""The history of a realm: recording, reading, trimming, gaps and restarts."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import event as label
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from shard_harness import publish

from fox_shard.backplane.frames import TRACE, Audience, Event, Fence, RetainOptions
from fox_shard.config import History as Rule
from fox_shard.config import Realm
from fox_shard.deadline import NEVER, Deadline
from fox_shard.shard import rows
from fox_shard.shard.budget import TURN_UNITS, Budget
from fox_shard.shard.history import event_log
from fox_shard.shard.history.cursor import START, Cursor, TrimMarks
from fox_shard.shard.history.history import History
from fox_shard.store.journal import Journal
from fox_shard.topics.ids import EPOCH, SHARDS, TICKS
from fox_shard.topics.pattern import Pattern

ALL = Pattern.wamp("#")


class Rig:
    """A history and its store, in which a transaction is durable after `commit`."""

    def __init__(self, *rules, store="sqlite", fresh=True, stored=(), resharded=0, last=64):
        self.realm = Realm(name="realm1", store=store, history=rules)
        self.rows = dict(stored)
        self.journal = Journal(Deadline(), lambda *_: None, lambda *_: None, lambda _: None)
        self.history = History(self.realm, self.journal, Budget())
        for key, value in sorted(self.rows.items()):
            kind, (_, rest) = key[:1], rows.realm_and_rest(key)
            if kind == rows.RECORDED:
                self.history.load_event(rows.decode_event(value))
            elif kind == rows.LOG_MARKS:
                self.history.load_log_marks(rest, rows.decode_marks(value))
            elif kind == rows.TOPIC_MARKS:
                self.history.load_topic_marks(rest.decode(), rows.decode_marks(value))
        self.history.begin(last, resharded, fresh=fresh)
        self.last = last
        self.commit()

    def reload(self, *rules, **more):
        """Return the history after a kill and a restart, perhaps with other rules."""
        more = {"fresh": False, "last": self.last, **more}
        stored = {} if self.realm.store == "memory" else self.rows
        return Rig(*(rules or self.realm.history), stored=stored, **more)

    def record(self, topic, *, flags=0, args=b"[1]", origin=0, ticket=True, **more):
        """Record an event if the history wants it; return its publication id.

        ticket: of the transaction that the event waits for; True: the present one; 0: none.
        """
        self.last += SHARDS
        one = Event(self.last + origin, publish(topic, flags=flags, args=args, **more))
        if self.history.wants(one.publish):
            ticket = self.journal.ticket if ticket is True else ticket
            self.history.record(one, ticket)
        return one.publication

    def commit(self):
        write = self.journal.take(0.0)
        if write is not None:
            self.rows.update(write.changes)
            self.rows = {key: value for key, value in self.rows.items() if value is not None}
            self.journal.outcome(write.ticket, "", 0.0)
        self.history.committed(self.journal.durable)

    def fail(self):
        write = self.journal.take(0.0)
        if write is not None:
            self.journal.outcome(write.ticket, "disk full", 0.0)
        self.history.commit_failed()

    def record_durably(self, *topics, **more):
        """Record and commit an event on each topic; return the publication ids."""
        ids = [self.record(topic, **more) for topic in topics]
        self.commit()
        return ids

    def read(self, pattern=ALL, cursor=START, start=0, limit=1000):
        if isinstance(pattern, str):
            pattern = Pattern.wamp(pattern)
        return [one.publication for one in self.history.read(pattern, cursor, start, limit)]

    def walk(self, pattern, first, last, *, reverse=False):
        steps = self.history.steps(pattern, first, last, reverse=reverse)
        return [event for _, event in steps if event is not None]

    def gap(self, pattern=ALL, cursor=START):
        if isinstance(pattern, str):
            pattern = Pattern.wamp(pattern)
        return self.history.gap(pattern, cursor)

    def stored(self):
        """Return the publication ids of the events in the store."""
        keys = [key for key in self.rows if key[:1] == rows.RECORDED]
        return [int.from_bytes(key[-8:], "big") for key in sorted(keys)]


# Recording


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (publish("a.b"), True),
        (publish("b"), False),
        (publish("b", flags=TRACE), True),
        (publish("$SYS.a", flags=TRACE), False),
        (publish("a.b", audience=Audience(exclude=[1])), False),
        (publish("a.b", audience=Audience(eligible=[])), False),
        (publish("a.b", audience=Audience(eligible_authid=["a"])), True),
    ],
)
def test_rules_and_tracing_decide_which_events_are_recorded(frame, wanted):
    assert Rig(Rule(topic="a.*")).history.wants(frame) is wanted


def test_reserved_topics_are_recorded_if_a_rule_names_them_unless_they_begin_with_a_dollar():
    rig = Rig(Rule(topic="wamp.session", match="prefix"), Rule(topic="$SYS.#"), Rule(topic="#"))
    wanted = [rig.history.wants(publish(topic)) for topic in ("wamp.session.on_join", "wamp.x")]
    assert wanted == [True, False]
    assert not rig.history.wants(publish("$SYS.x"))


def test_a_stored_event_has_neither_a_fence_nor_retain_options():
    rig = Rig(Rule(topic="a"))
    fence, retain = Fence("gateway-0", [(0, 1, 1)]), RetainOptions(weak=True)
    (id_,) = rig.record_durably("a", fence=fence, retain=retain)
    assert rows.decode_event(rig.rows[rows.recorded("realm1", id_)]) == Event(
        id_, publish("a", flags=0)
    )
    assert rig.reload().read() == [id_]


def test_an_event_is_not_read_before_it_is_durable():
    rig = Rig(Rule(topic="#"))
    first = rig.record("a")
    assert rig.read() == []
    rig.commit()
    assert rig.read() == [first]


def test_a_failed_commit_drops_stored_events_and_keeps_those_that_only_waited():
    rig = Rig(Rule(topic="#"))
    rig.record("a")
    rig.fail()
    assert (rig.read(), rig.stored(), len(rig.history)) == ([], [], 0)
    rig = Rig(Rule(topic="#"), store="memory")
    waits, passes = rig.record("a"), rig.record("b", ticket=0)
    assert rig.read() == [passes]
    rig.fail()
    assert rig.read() == [waits, passes]
    assert rig.rows == {}


# Reading


def test_events_are_read_by_topic_and_pattern_in_the_order_of_ids():
    rig = Rig(Rule(topic="a.#"), Rule(topic="#"))
    ids = rig.record_durably("a.x", "b", "a.y", "a.x", "c.x", "b", flags=0)
    assert rig.read() == ids
    assert rig.read("a.x") == [ids[0], ids[3]]
    assert rig.read("*.x") == [ids[0], ids[3], ids[4]]
    assert rig.read("a.#") == [ids[0], ids[2], ids[3]]
    assert rig.read("nothing") == []
    assert rig.read(limit=2) == ids[:2]
    assert rig.read(start=ids[1], limit=2) == ids[2:4]
    assert rig.read(cursor=Cursor([ids[3]])) == ids[4:]


def test_events_of_many_topics_are_walked_in_the_order_of_ids():
    rig = Rig(Rule(topic="#"))
    ids = rig.record_durably(*(f"a.t{n % 50}" for n in range(200)))
    assert rig.read() == ids
    found = rig.walk(ALL, ids[3], ids[100], reverse=True)
    assert [one.publication for one in found] == ids[100:2:-1]


@pytest.mark.parametrize("reverse", [False, True])
def test_passing_over_events_is_told_in_steps_from_which_a_walk_can_go_on(reverse):
    rig = Rig(Rule(topic="a.#"), Rule(topic="#"))
    ids = rig.record_durably(*(f"{'ab'[n % 2]}.t{n % 60}.x{n % 300 == 0}" for n in range(900)))
    pattern = Pattern.wamp("..xTrue", "wildcard")
    found, first, last = [], 0, ids[-1]
    for _ in range(300):
        steps = rig.history.steps(pattern, first, last, reverse=reverse)
        taken = [*islice(steps, 3)]
        found += [id_ for id_, event in taken if event is not None]
        if len(taken) < 3:
            break
        if reverse:
            last = taken[-1][0] - 1
        else:
            first = taken[-1][0] + 1
    expected = [ids[0], ids[300], ids[600]]
    assert found == (expected[::-1] if reverse else expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_range_of_ids_can_be_walked_both_ways(reverse):
    rig = Rig(Rule(topic="a.#"), Rule(topic="#"))
    ids = rig.record_durably("a.x", "b", "a.y", "c", "a.x")
    found = rig.walk(ALL, ids[1], ids[3], reverse=reverse)
    assert [one.publication for one in found] == (ids[3:0:-1] if reverse else ids[1:4])


def test_a_cursor_distinguishes_origins():
    cursor = Cursor([130, 66, 193], floor=10)
    assert [cursor.of(origin) for origin in (0, 1, 2)] == [10, 193, 130]
    ids = (11, 64, 65, 193, 257, 130, 194)
    assert [cursor.is_unread(id_) for id_ in ids] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]


# Limits


def test_the_last_events_of_each_topic_are_kept():
    rig = Rig(Rule(topic="#", max_events=16))
    a = rig.record_durably(*["a"] * 18)
    assert rig.read("a") == a
    a += rig.record_durably("a")
    b = rig.record_durably(*["b"] * 5)
    assert (rig.read("a"), rig.read("b")) == (a[-16:], b)
    rig.commit()
    rig.record_durably("b")
    assert rig.stored() == rig.read()


def test_traced_events_have_the_default_limits_of_a_rule():
    rig = Rig()
    ids = rig.record_durably(*["a"] * 11_251, flags=TRACE)
    assert rig.read("a", limit=20_000) == ids[1251:]
    assert rig.gap("a", Cursor(floor=ids[1])) == ids[1251]


def test_bytes_are_limited_over_all_topics():
    rig = Rig(Rule(topic="#", max_bytes=4096))
    ids = rig.record_durably(*(f"t{n % 7}" for n in range(100)), args=bytes(198))
    assert 4096 // 300 <= len(rig.history) <= 4096 * 9 // 8 // 300
    assert rig.read() == ids[-len(rig.history) :]
    rig.record_durably("other", args=b"")
    assert rig.stored() == rig.read()


def test_events_that_are_too_old_are_trimmed():
    rig = Rig(Rule(topic="old", max_age=800), Rule(topic="#"), last=100 * TICKS * SHARDS)
    assert rig.history.next_expiry == NEVER
    (first,) = rig.record_durably("old")
    assert rig.history.next_expiry == pytest.approx(EPOCH + 100 + 900, abs=0.1)
    rig.last += 50 * TICKS * SHARDS
    second, other = rig.record_durably("old", "other")
    rig.history.expire(EPOCH + 999)
    assert rig.read() == [first, second, other]
    rig.history.expire(EPOCH + 1001)
    assert rig.read() == [other] if rig.read("old") == [] else [second, other]
    rig.commit()
    assert rig.gap("old", Cursor(floor=1)) > first


def test_old_events_are_trimmed_some_at_a_time(monkeypatch):
    monkeypatch.setattr(event_log, "AT_ONCE", 3)
    rig = Rig(Rule(topic="#", max_age=8))
    ids = rig.record_durably(*["a"] * 5)
    rig.history.expire(EPOCH + 1000)
    assert rig.read() == ids[3:]
    assert rig.history.next_expiry < EPOCH + 1000
    rig.history.expire(EPOCH + 1000)
    assert rig.read() == []


def test_lower_limits_hold_from_the_next_start():
    rig = Rig(Rule(topic="#"))
    ids = rig.record_durably(*["a"] * 20)
    again = rig.reload(Rule(topic="#", max_events=4))
    assert again.read() == ids[-4:]
    assert again.gap("a", Cursor(floor=ids[0])) == ids[-4]
    assert again.reload().read() == ids[-4:]


# Gaps


def test_a_reader_that_has_read_nothing_has_no_gap():
    rig = Rig(Rule(topic="#", max_events=1))
    ids = rig.record_durably("a", "a", "a")
    assert (rig.gap(), rig.gap("a")) == (0, 0)
    assert rig.gap("a", Cursor(floor=ids[0])) == ids[2]
    assert rig.gap("a", Cursor(floor=ids[1])) == 0
    assert rig.gap("a", Cursor([ids[0] + 1])) == 0  # of another shard


def test_events_trimmed_on_other_topics_are_no_gap():
    rig = Rig(Rule(topic="noisy", max_events=1), Rule(topic="#"))
    (first,) = rig.record_durably("quiet")
    rig.record_durably(*["noisy"] * 5)
    (last,) = rig.record_durably("quiet")
    assert rig.gap("quiet", Cursor(floor=first)) == 0
    assert rig.gap("qu*", Cursor(floor=first)) == 0
    assert 0 < rig.gap("#", Cursor(floor=first)) < last


def test_a_new_rule_has_a_gap_before_its_beginning():
    rig = Rig(Rule(topic="a"), last=640)
    assert rig.gap("a", Cursor(floor=639)) == 640 + SHARDS
    (first,) = rig.record_durably("a")
    assert rig.gap("a", Cursor(floor=639)) == first
    assert rig.gap("a", Cursor(floor=640)) == 0
    # A restart with the same rule makes no gap.
    rig.last += 640
    assert rig.reload().gap("a", Cursor(floor=640)) == 0


def test_a_rule_that_is_configured_again_begins_anew():
    rig = Rig(Rule(topic="a"), Rule(topic="b"))
    (first,) = rig.record_durably("a")
    without = rig.reload(Rule(topic="b"))
    assert without.read("a") == [first]  # as if it had been traced
    without.record("a")
    again = without.reload(Rule(topic="a"), Rule(topic="b"))
    assert again.read("a") == [first]
    assert again.gap("a", Cursor(floor=first)) > first


def test_an_added_rule_changes_nothing_for_the_rules_before_it():
    rig = Rig(Rule(topic="a"))
    first, traced = rig.record("a"), rig.record("t", flags=TRACE)
    rig.commit()
    again = rig.reload(Rule(topic="a"), Rule(topic="b"))
    assert again.gap("a", Cursor(floor=first)) == 0
    assert again.gap("b", Cursor(floor=first)) > traced


def test_a_restart_makes_no_gap_in_stored_traced_events():
    rig = Rig(fresh=False)
    first, last = rig.record("t", flags=TRACE), rig.record("u", flags=TRACE)
    rig.commit()
    rig.last += 640
    again = rig.reload()
    assert again.gap("#", Cursor(floor=first)) == 0
    assert again.read() == [first, last]


def test_a_restart_makes_a_gap_in_a_history_in_memory():
    rig = Rig(Rule(topic="#"), store="memory")
    (first,) = rig.record_durably("a")
    again = Rig(Rule(topic="#"), store="memory", last=rig.last)
    assert again.gap("a", Cursor(floor=first)) == 0
    rig.record_durably("a")
    again = Rig(Rule(topic="#"), store="memory", last=rig.last)
    assert again.gap("a", Cursor(floor=first)) > first


def test_the_stored_history_of_a_realm_that_moves_to_memory_is_dropped():
    rig = Rig(Rule(topic="#"))
    rig.record_durably("a")
    rig.realm = Realm(name="realm1", store="memory", history=rig.realm.history)
    memory = Rig(Rule(topic="#"), store="memory", stored=rig.rows, fresh=False, last=rig.last)
    assert memory.read() == []
    memory.commit()
    assert [key for key in memory.rows if key[:1] == rows.LOG_MARKS] == []


def test_trim_marks_and_trimmed_events_are_stored_together():
    rig = Rig(Rule(topic="#", max_events=8, max_bytes=1 << 20))
    ids = rig.record_durably(*["a"] * 10)
    assert rig.gap("a", Cursor(floor=ids[0])) == ids[2]
    again = rig.reload()
    rig.fail()  # the trimming is not on the disk
    assert again.read("a") == rig.reload().read("a") == ids[-8:]
    rig.commit()
    assert rig.reload().gap("a", Cursor(floor=ids[0])) == ids[2]


def test_a_history_may_have_ids_of_several_shards_after_resharding():
    rig = Rig(Rule(topic="#", max_events=4))
    mine = rig.record_durably("a", "b")
    others = rig.record_durably("a", "b", origin=1)
    assert rig.read() == [*mine, *others]
    assert rig.read(cursor=Cursor([mine[0], others[1]])) == [mine[1]]
    rig.record_durably(*["a"] * 4)
    assert rig.gap("a", Cursor([others[0]])) == 0
    assert rig.gap("a", Cursor([others[0] - SHARDS])) > others[0]


def test_a_new_rule_after_resharding_has_a_gap_for_ids_of_earlier_shards():
    """Ids that another shard has given since the resharding are no gap."""
    rig = Rig(Rule(topic="a"), fresh=False, resharded=640, last=6400)
    assert rig.gap("a", Cursor([577 - SHARDS])) > 0
    assert rig.gap("a", Cursor([641])) == 0
    assert rig.gap("a", Cursor([640])) == 6400 + SHARDS


def test_trim_marks_have_one_id_per_origin():
    marks = TrimMarks([64, 65])
    marks.add([129, 1])
    assert marks.ids == [64, 129]
    assert marks.missing_after(Cursor(floor=100)) == 129
    assert marks.missing_after(Cursor([66])) == 0


# The model

TOPICS = ["a.x", "a.y", "b", "c"]
PATTERNS = [Pattern.wamp(text) for text in (*TOPICS, "a.*", "#", "*")]
RULES = (Rule(topic="a.#", max_events=3, max_bytes=4096), Rule(topic="b", max_age=16))


class Model(RuleBasedStateMachine):
    """A history, compared with a list of all events whose recording has not failed."""

    def __init__(self):
        super().__init__()
        self.rig = Rig(*RULES, fresh=False)
        self.events = []
        self.uncommitted = []

    @rule(topic=st.sampled_from(TOPICS), size=st.sampled_from([1, 500]), traced=st.booleans())
    def record(self, topic, size, traced):
        flags = TRACE if traced else 0
        id_ = self.rig.record(topic, flags=flags, args=bytes(size))
        if traced or topic != "c":
            self.uncommitted.append((id_, topic))

    @rule()
    def commit(self):
        self.rig.commit()
        self.events += self.uncommitted
        self.uncommitted = []

    @precondition(lambda self: self.rig.journal.changed)
    @rule()
    def fail(self):
        self.rig.fail()
        self.uncommitted = []
        self.rig.journal.tick(10.0**9)
        self.rig.commit()

    @rule(seconds=st.integers(1, 30))
    def age(self, seconds):
        self.rig.last += seconds * TICKS * SHARDS
        self.rig.history.expire(EPOCH + self.rig.last / SHARDS / TICKS)

    @rule()
    def restart(self):
        self.uncommitted = []
        self.rig = self.rig.reload()

    @rule(pattern=st.sampled_from(PATTERNS), back=st.integers(0, 12), limit=st.integers(1, 9))
    def read(self, pattern, back, limit):
        ids = [id_ for id_, _ in self.events]
        floor = ids[-back] if 0 < back <= len(ids) else 0
        due = [id_ for id_, topic in self.events if id_ > floor and pattern.matches(topic)]
        got = self.rig.read(pattern, Cursor(floor=floor))
        gap = self.rig.gap(pattern, Cursor(floor=floor))
        assert got == [id_ for id_ in due if id_ in set(got)]
        if floor and not gap:
            assert got == due
        if gap:
            label("gap")
            assert [id_ for id_ in due if id_ >= gap] == [id_ for id_ in got if id_ >= gap]
        assert self.rig.read(pattern, Cursor(floor=floor), 0, limit) == got[:limit]
        if got:
            assert self.rig.read(pattern, Cursor(floor=floor), got[0]) == got[1:]

    @rule()
    def check_limits(self):
        """Check that the last events are kept, and on a.x and a.y no more than the rule allows."""
        kept = set(self.rig.read())
        of_topics = Counter(topic for id_, topic in self.events if id_ in kept)
        last = {id_ for topic in ("a.x", "a.y") for id_, one in self.events[-3:] if one == topic}
        assert last <= kept
        assert all(of_topics[topic] <= 3 for topic in ("a.x", "a.y"))
        assert {id_ for id_, topic in self.events if topic == "c"} <= kept

    @invariant()
    def memory_agrees_with_the_store(self):
        if not self.rig.journal.changed and not self.rig.journal.failing:
            self.rig.journal.keep(b"~", b"")
            self.rig.commit()
            assert self.rig.stored() == [*self.rig.read(), *(id_ for id_, _ in self.uncommitted)]


TestModel = Model.TestCase


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from(TOPICS)), max_size=60, unique=True))
def test_events_added_out_of_order_are_walked_in_order(found):
    """In memory, an event that waits for nothing is added before earlier ones that wait."""
    log = event_log.EventLog(Rule(topic="#", max_events=10), Budget())
    for id_, topic in found:
        if all(id_ != one for one, _ in log.steps(ALL, 0, 1000)):
            log.add(Event(id_, publish(topic)))
            log.trim_topic(topic)
    ids = [one for one, _ in log.steps(ALL, 0, 1000)]
    assert ids == sorted(ids)
    assert len(ids) == len(log)


# Steps


@pytest.mark.parametrize("rule", [Rule(topic="#", max_bytes=4096), Rule(topic="#", max_events=8)])
def test_no_step_of_trimming_drops_more_than_a_limited_number_of_events(rule, monkeypatch):
    monkeypatch.setattr(event_log, "AT_ONCE", 3)
    log = event_log.EventLog(rule, Budget())
    dropped = []
    for number in range(1, 301):
        log.add(Event(64 * number, publish("a.b")))
        for trimmed in (log.trim_topic("a.b"), log.trim_size()):
            assert len(trimmed.ids) <= 3
            dropped += trimmed.ids
    # Many small steps keep the log within its limits as well as few large ones.
    assert log.size <= rule.max_bytes * 9 / 8
    assert len(log) <= rule.max_events * 9 / 8
    assert dropped == [64 * number for number in range(1, 301 - len(log))]


def test_lower_limits_apply_at_once_after_a_restart(monkeypatch):
    monkeypatch.setattr(event_log, "AT_ONCE", 3)
    rig = Rig(Rule(topic="#"))
    for _ in range(30):
        rig.record("a.b")
    rig.commit()
    assert 8 <= len(rig.reload(Rule(topic="#", max_events=8)).history) <= 9


def test_reading_is_paid_for_by_what_is_looked_at_not_by_what_is_found():
    budget = Budget()
    log = event_log.EventLog(Rule(topic="#"), budget)
    topics = [f"a.{n}.{kind}" for n in range(100) for kind in ("x", "y")]
    for number in range(1, 4001):
        log.add(Event(64 * number, publish(topics[number % 200])))
    # Of each second event, the 4,000th is the last one that is found.
    found = [event for _, event in log.steps(Pattern.wamp("a.*.x"), 1, 1 << 53)]
    assert len(found) - found.count(None) == 2000
    assert found.count(None) == 2000 // event_log.EXAMINED_PER_UNIT
    # A pattern that matches no topic is compared with all topics, if there are not too many.
    budget.begin_turn()
    assert list(log.steps(Pattern.wamp("*.*.z"), 1, 1 << 53)) == []
    assert TURN_UNITS - budget.left >= 100 // event_log.EXAMINED_PER_UNIT


def test_only_topics_that_were_trimmed_since_then_are_looked_at_for_gaps():
    budget = Budget()
    log = event_log.EventLog(Rule(topic="#", max_events=1), budget)
    for number in range(1, 401):
        log.add(Event(64 * number, publish(f"a.{number % 100}")))
        log.trim_topic(f"a.{number % 100}")
    before = log.trims
    log.add(Event(64 * 401, publish("a.7")))
    log.trim_topic("a.7")
    budget.begin_turn()
    assert log.last_missing(ALL, Cursor([64]), before) == 64 * 307
    assert TURN_UNITS - budget.left == 1
