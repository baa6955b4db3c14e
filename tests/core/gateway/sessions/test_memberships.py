"""Memberships: what a gateway tells the coordinator while somebody wants meta events."""

import pytest
from gateway_harness import REALM, WALL, GatewayHarness

from fox_shard.backplane.frames import (
    CaughtUp,
    Counted,
    Membership,
    MembershipEnded,
    NotSubscribed,
    Register,
    Registered,
    Revoked,
    Subscribe,
    Subscribed,
    TakeCensus,
)
from fox_shard.topics.ids import pattern_id
from fox_shard.topics.pattern import Pattern

KINDS = (Membership, MembershipEnded, Counted)
NUMBER = 5
ID = pattern_id(REALM, "subscription", "=a.b")
REGISTRATION = pattern_id(REALM, "registration", "=p.q")


@pytest.fixture
def harness():
    return GatewayHarness(1)


def census(harness, kind="subscription", number=NUMBER):
    harness.say("coordinator", TakeCensus(REALM, kind, number))


def chores(harness):
    """Do one part of each chore; return whether there are others."""
    turns = harness.gateway.turns
    turns.begin(harness.now)
    turns.do_chores()
    return turns.busy


def told(harness, *, counting=True):
    """Return what the coordinator is told: +session, -session, or "all"."""
    while counting and chores(harness):
        pass
    found = [one for one in harness.got("coordinator") if isinstance(one, KINDS)]
    assert {one.number for one in found} <= {NUMBER}
    return [
        "all" if isinstance(one, Counted) else f"{SIGNS[type(one)]}{one.session}" for one in found
    ]


SIGNS = {Membership: "+", MembershipEnded: "-"}


def subscribe(harness, session, text="=a.b", answer=True, **options):
    harness.subscribe(session, text, **options)
    asked = harness.got("shard-0", Subscribe)
    if answer:
        harness.say("shard-0", *(Subscribed(one.token) for one in asked))
    return asked


def register(harness, session, request=1):
    harness.gateway.requests.register(
        session, request, Pattern.parse("=p.q"), "roundrobin", 0, force=False, disclose=False
    )
    harness.turns()
    harness.say("shard-0", Registered(session.id, request, REGISTRATION))


def test_nothing_is_told_unless_it_is_wanted(harness):
    one = harness.session()
    subscribe(harness, one)
    register(harness, one)
    assert told(harness) == []


def test_all_that_there_is_is_told_first(harness):
    one, other = harness.session(), harness.session()
    subscribe(harness, one)
    subscribe(harness, other)
    register(harness, one)
    harness.got("coordinator")
    census(harness)
    while chores(harness):
        pass
    found = [frame for frame in harness.got("coordinator") if isinstance(frame, KINDS)]
    kind = (REALM, "subscription", NUMBER)
    assert found == [
        Membership(*kind, one.id, ID, "=a.b", "", WALL),
        Membership(*kind, other.id, ID, "=a.b", "", WALL),
        Counted(*kind),
    ]
    census(harness, "registration")
    while chores(harness):
        pass
    found = [frame for frame in harness.got("coordinator") if isinstance(frame, KINDS)]
    kind = (REALM, "registration", NUMBER)
    assert found == [
        Membership(*kind, one.id, REGISTRATION, "=p.q", "roundrobin", WALL),
        Counted(*kind),
    ]


def test_each_change_is_told(harness):
    one = harness.session()
    census(harness)
    assert told(harness) == ["all"]
    subscribe(harness, one)
    harness.gateway.requests.unsubscribe(one, "=a.b")
    assert told(harness) == [f"+{one.id}", f"-{one.id}"]
    # A session's end is told by its Leave.
    subscribe(harness, one)
    harness.gateway.requests.session_ended(one, "gone")
    assert told(harness) == [f"+{one.id}"]


@pytest.mark.parametrize("end", ["unregister", "revoked"])
def test_registrations_begin_and_end(harness, end):
    one = harness.session()
    census(harness, "registration")
    told(harness)
    register(harness, one)
    (asked,) = harness.got("shard-0", Register)
    assert asked.created == WALL
    assert told(harness) == [f"+{one.id}"]
    if end == "revoked":
        harness.say("shard-0", Revoked(one.id, REGISTRATION, "why"))
    else:
        harness.gateway.requests.unregister(one, 2, REGISTRATION)
    assert told(harness) == [f"-{one.id}"]


def test_a_subscription_that_shards_have_not_confirmed_is_not_told(harness):
    one = harness.session()
    census(harness)
    told(harness)
    subscribe(harness, one, answer=False)
    harness.gateway.requests.unsubscribe(one, "=a.b")
    assert told(harness) == []


def test_snapshots_are_no_subscriptions(harness):
    one = harness.session()
    census(harness)
    told(harness)
    (asked,) = subscribe(harness, one, replay=True, snapshot=True)
    harness.say("shard-0", CaughtUp(asked.token))
    assert told(harness) == []


def test_followers_are_told_before_their_history_has_come(harness):
    one = harness.session()
    census(harness)
    told(harness)
    (asked,) = subscribe(harness, one, after=())
    assert told(harness) == [f"+{one.id}"]
    # The history turns out to have a gap.
    harness.say("shard-0", NotSubscribed(asked.token, "uri", "why", 7))
    assert told(harness) == [f"-{one.id}"]


def test_a_follower_that_begins_anew_may_be_refused(harness):
    one = harness.session()
    (asked,) = subscribe(harness, one, after=())
    harness.say("shard-0", CaughtUp(asked.token))
    census(harness)
    assert told(harness) == [f"+{one.id}", "all"]
    (asked,) = subscribe(harness, one, after=(), answer=False)
    harness.say("shard-0", NotSubscribed(asked.token, "uri", "why", 7))
    assert told(harness) == [f"-{one.id}"]


def test_very_many_are_told_a_part_at_a_time(harness, monkeypatch):
    monkeypatch.setattr("fox_shard.gateway.sessions.memberships.AT_ONCE", 3)
    harness.gateway.turns.units = 1
    one, other = harness.session(), harness.session()
    for n in range(7):
        subscribe(harness, one, f"=t{n}")
    subscribe(harness, other, "=t6")
    census(harness)
    assert chores(harness)
    assert len(told(harness, counting=False)) == 3
    # Whoever leaves or comes meanwhile is not told wrongly.
    harness.gateway.requests.unsubscribe(one, "=t6")
    harness.gateway.requests.session_ended(other, "gone")
    subscribe(harness, one, "=t7")
    assert told(harness, counting=False) == [f"-{one.id}", f"+{one.id}"]
    assert told(harness) == [*[f"+{one.id}"] * 3, "all"]


def test_a_census_is_confirmed_again_in_a_new_pair(harness):
    census(harness)
    assert told(harness) == ["all"]
    census(harness)
    assert told(harness) == ["all"]


def test_nothing_is_told_after_the_end_of_a_census(harness):
    one = harness.session()
    census(harness)
    told(harness)
    census(harness, number=0)
    subscribe(harness, one)
    assert told(harness) == []


def test_the_coordinator_is_told_of_what_happened_without_it(harness):
    one = harness.session()
    census(harness)
    told(harness)
    harness.kill("coordinator")
    subscribe(harness, one)
    harness.gateway.requests.unsubscribe(one, "=a.b")
    harness.join("coordinator", incarnation=2)
    harness.pass_time(2)
    assert told(harness)[-2:] == [f"+{one.id}", f"-{one.id}"]


def test_only_so_many_changes_wait_for_the_coordinator():
    """Whatever clients do while it is down: nothing may begin then, but everything may end."""
    harness = GatewayHarness(1, meta_event_backlog=4)
    one = harness.session()
    census(harness)
    told(harness)
    harness.pass_time(1)
    harness.kill("coordinator")
    for n in range(4):
        subscribe(harness, one, f"=t{n}")
    harness.pass_time(1)
    assert [name for name, *_ in one.take()] == ["subscribed"] * 4
    assert subscribe(harness, one, "=t9") == []
    harness.gateway.requests.register(
        one, 1, Pattern.parse("=p.q"), "roundrobin", 0, force=False, disclose=False
    )
    refusals = one.take()
    assert [name for name, *_ in refusals] == ["not subscribed", "refused"]
    assert {refusal[2] for refusal in refusals} == {"fox.error.limit_exceeded"}
    assert harness.gateway.limit_counts.totals() == {"meta_event_backlog": 2}
    harness.gateway.requests.unsubscribe(one, "=t0")
    harness.join("coordinator", incarnation=2)
    harness.pass_time(2)
    assert told(harness)[-5:] == [*[f"+{one.id}"] * 4, f"-{one.id}"]
    subscribe(harness, one, "=t9")
    assert [name for name, *_ in one.take()] == ["subscribed"]


def test_without_listeners_changes_are_not_limited():
    harness = GatewayHarness(1, meta_event_backlog=1)
    one = harness.session()
    harness.kill("coordinator")
    for n in range(4):
        subscribe(harness, one, f"=t{n}")
    assert [name for name, *_ in one.take()] == ["subscribed"] * 4


def test_a_realm_that_was_removed_has_no_members(harness):
    harness.say("coordinator", TakeCensus("removed", "subscription", NUMBER))
    assert told(harness) == ["all"]
