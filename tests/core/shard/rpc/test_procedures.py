"""Procedures: which one a call is for, and which callee (WAMP #rpc-shared-registration)."""

from random import Random

import pytest
from shard_harness import ShardHarness, call

from fox_shard.shard.rpc.procedures import Callee, PendingCall, Procedure, Procedures
from fox_shard.topics.pattern import Pattern

PEER = ShardHarness(gateways=1).shard.peers["gateway-0"]


def procedure(text="=p.q", invoke="single", callees=(), registration=1):
    made = Procedure("realm1", Pattern.parse(text), registration, invoke, 0.0)
    for session, concurrency in callees:
        made.callees.add(Callee(PEER, session, made, concurrency))
    return made


def busy(made, *sessions):
    for session in sessions:
        callee = made.callees.of(session)
        running = PendingCall(len(callee.running), PEER, call(), made)
        callee.begin(running)


@pytest.mark.parametrize(
    ("concurrency", "running", "room"),
    [(0, 0, True), (0, 1000, True), (1, 0, True), (1, 1, False), (3, 2, True), (3, 3, False)],
)
def test_a_callee_has_room_below_its_concurrency(concurrency, running, room):
    made = procedure(callees=[(1, concurrency)])
    busy(made, *[1] * running)
    assert (made.choose(Random(0)) is not None) is room


@pytest.mark.parametrize(
    ("invoke", "chosen"),
    [
        ("single", [1, 1, 1, 1]),
        ("first", [1, 1, 1, 1]),
        ("last", [3, 3, 3, 3]),
        ("roundrobin", [1, 2, 3, 1]),
    ],
)
def test_the_policy_chooses_the_callee(invoke, chosen):
    made = procedure(invoke=invoke, callees=[(1, 0), (2, 0), (3, 0)])
    rng = Random(0)
    assert [made.choose(rng).session for _ in range(4)] == chosen


@pytest.mark.parametrize(
    ("invoke", "chosen"), [("first", [2, 2]), ("last", [2, 2]), ("roundrobin", [2, 2])]
)
def test_a_callee_without_room_is_passed_over(invoke, chosen):
    made = procedure(invoke=invoke, callees=[(1, 1), (2, 0), (3, 1)])
    busy(made, 1, 3)
    assert [made.choose(Random(0)).session for _ in range(2)] == chosen


@pytest.mark.parametrize("invoke", ["single", "first", "last", "roundrobin", "random"])
@pytest.mark.parametrize("callees", [1, 2])
def test_no_callee_is_chosen_if_none_has_room(invoke, callees):
    made = procedure(invoke=invoke, callees=[(1, 1), (2, 1)][:callees])
    busy(made, *range(1, callees + 1))
    assert made.choose(Random(0)) is None


def test_no_callee_is_chosen_if_there_is_none():
    assert procedure().choose(Random(0)) is None


def test_random_chooses_among_the_callees_with_room():
    made = procedure(invoke="random", callees=[(1, 0), (2, 1), (3, 0)])
    busy(made, 2)
    rng = Random(0)
    assert {made.choose(rng).session for _ in range(50)} == {1, 3}


def test_round_robin_goes_on_when_callees_come_or_go():
    made = procedure(invoke="roundrobin", callees=[(1, 0), (2, 0)])
    rng = Random(0)
    assert [made.choose(rng).session for _ in range(3)] == [1, 2, 1]
    made.callees.add(Callee(PEER, 3, made, 0))
    assert {made.choose(rng).session for _ in range(3)} == {1, 2, 3}
    made.callees.remove(made.callees.of(1))
    assert {made.choose(rng).session for _ in range(2)} == {2, 3}


def test_a_callee_is_found_by_its_session():
    made = procedure(callees=[(1, 0), (2, 0)])
    assert made.callees.of(2).session == 2
    assert made.callees.of(9) is None


# Patterns


@pytest.mark.parametrize(
    ("announced", "called", "best"),
    [
        ([], "a.b", None),
        (["^a."], "b.c", None),
        (["^a", "^a.b"], "a.b.c", "^a.b"),
        (["*a.+", "^a"], "a.b", "^a"),
        (["*+.b", "*a.+"], "a.b", "*a.+"),
        (["*#", "*a.#"], "a.b.c", "*a.#"),
    ],
)
def test_the_most_specific_pattern_is_called(announced, called, best):
    """WAMP #rpc-pattern-based: the longest prefix, then the wildcard with the longest beginning."""
    procedures = Procedures()
    for text in announced:
        procedures.announce(Pattern.parse(text))
    found = procedures.best_pattern(called)
    assert (found and found.text) == best


def test_patterns_may_be_announced_and_withdrawn_twice():
    procedures = Procedures()
    pattern = Pattern.parse("^a")
    for _ in range(2):
        procedures.announce(pattern)
    assert procedures.announced() == [pattern]
    for _ in range(2):
        procedures.withdraw(pattern)
    assert procedures.announced() == []
    assert procedures.best_pattern("a") is None


@pytest.mark.parametrize(("text", "exact", "announced"), [("=p.q", ["p.q"], 0), ("^p", [], 1)])
def test_a_procedure_is_found_by_name_text_and_id_until_it_is_discarded(text, exact, announced):
    procedures = Procedures()
    made = procedure(text, registration=9)
    procedures.add(made)
    assert [*procedures.exact] == exact
    assert (procedures.by_text, procedures.by_id) == ({text: made}, {9: made})
    assert len(procedures.announced()) == announced
    procedures.discard(made)
    assert procedures.exact == procedures.by_text == procedures.by_id == {}
    assert procedures.announced() == []


class Counted(list):
    """A list that counts how often its items are looked at."""

    looked_at = 0

    def __getitem__(self, index):
        self.looked_at += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("busy_first", [0, 990, 999])
@pytest.mark.parametrize("invoke", ["first", "last", "roundrobin", "random"])
def test_a_call_does_not_look_at_all_of_many_callees(invoke, busy_first):
    made = procedure(invoke=invoke, callees=[(session, 1) for session in range(1, 1001)])
    busy(made, *range(1, busy_first + 1))
    made.callees._free = Counted(made.callees._free)
    for number in range(50):
        chosen = made.choose(Random(number))
        running = PendingCall(1000 + number, PEER, call(), made)
        chosen.begin(running)
        chosen.end(running)
    assert made.callees._free.looked_at < 50 * 40


@pytest.mark.parametrize("invoke", ["first", "last", "roundrobin", "random"])
def test_callees_are_chosen_as_if_all_were_looked_at(invoke):
    """Against the policy in plain words, with callees that come, go, and are busy at random."""
    rng, made = Random(invoke), procedure(invoke=invoke)
    there, running, last, session = {}, [], 0, 0
    for _ in range(3000):
        free = [
            one
            for one in there.values()
            if not one.concurrency or one.concurrency > len(one.running)
        ]
        match rng.randrange(5):
            case 0:
                session += 1
                there[session] = Callee(PEER, session, made, rng.choice([0, 1, 2]))
                made.callees.add(there[session])
            case 1 if there:
                gone = there.pop(rng.choice([*there]))
                made.callees.remove(gone)
                if gone.running:
                    gone.retired = {gone: None}
            case 2 if running:
                callee, pending = running.pop(rng.randrange(len(running)))
                callee.end(pending)
            case _:
                chosen = made.choose(rng)
                if not free:
                    assert chosen is None
                    continue
                behind = [one for one in free if one.place > last]
                expected = {
                    "first": free[:1],
                    "last": free[-1:],
                    "roundrobin": [*behind, *free][:1],
                    "random": free,
                }
                assert chosen in expected[invoke]
                last = chosen.place
                running.append(
                    (
                        chosen,
                        PendingCall(
                            len(running) + 1000 * chosen.place + rng.randrange(10**9),
                            PEER,
                            call(),
                            made,
                        ),
                    )
                )
                chosen.begin(running[-1][1])
        assert [*made.callees] == [*there.values()]
    assert session > 100
