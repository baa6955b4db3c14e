"""What a shard tells of its registrations (WAMP #registration-metapi)."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, WALL, ShardHarness, leave, register, unregister

from fox_shard.backplane.frames import Inquiry, InquiryPage, PatternAnnounced
from fox_shard.backplane.meta_api import (
    BEST_REGISTRATION,
    CALLEES,
    REGISTRATION,
    REGISTRATIONS,
    decode_lists,
    decode_registration,
    id_key,
    key_id,
)
from fox_shard.shard import inquiries
from fox_shard.topics.ids import pattern_id

ASKER, CALLEE = "gateway-0", "gateway-1"


@pytest.fixture
def harness():
    return ShardHarness(gateways=2)


def ask(harness, kind, body=b"", *, limit=1000, realm=REALM):
    """Return the items of all pages, and how many pages there were."""
    items, start, pages = [], b"", 0
    while True:
        harness.say(ASKER, Inquiry(1, realm, kind, body, start, limit))
        (page,) = harness.got(ASKER, InquiryPage)
        assert page.uri == ""
        items += page.items
        pages += 1
        if not page.more:
            assert items == sorted(items)
            return items, pages
        start = page.next


def state_of(harness, pattern):
    ((_, value),), _ = ask(harness, REGISTRATION, id_key(harness.id_of(pattern)))
    return decode_registration(value)


def test_registrations_are_listed_by_policy(harness):
    patterns = ["=a.b", "^a.", "*a.+", "=c"]
    harness.say(CALLEE, *(register(1, one, request=n) for n, one in enumerate(patterns, 1)))
    harness.say(CALLEE, register(1, "=elsewhere", request=9, realm="other"))
    ((_, value),), _ = ask(harness, REGISTRATIONS)
    lists, id_of = decode_lists(value), harness.id_of
    assert lists.exact == [id_of("=a.b"), id_of("=c")]
    assert (lists.prefix, lists.wildcard) == ([id_of("^a.")], [id_of("*a.+")])
    assert ask(harness, REGISTRATIONS, realm="third") == ([], 1)


def test_many_registrations_come_in_pages_however_they_change_meanwhile(harness, monkeypatch):
    monkeypatch.setattr(inquiries, "CHUNK", 10)
    harness.say(CALLEE, *(register(n, f"=p{n}") for n in range(1, 101)))
    items, pages = ask(harness, REGISTRATIONS, limit=3)
    assert sum(len(decode_lists(value).exact) for _, value in items) == 100
    assert pages == 4
    harness.say(ASKER, Inquiry(1, REALM, REGISTRATIONS, b"", b"", 3))
    (first,) = harness.got(ASKER, InquiryPage)
    harness.say(CALLEE, leave(1), leave(31), register(1, "=p1"))
    harness.say(ASKER, Inquiry(1, REALM, REGISTRATIONS, b"", first.next, 100))
    (rest,) = harness.got(ASKER, InquiryPage)
    listed = [id_ for _, value in first.items + rest.items for id_ in decode_lists(value).exact]
    # Those that were there all the time are listed once; p1 went and came again.
    steady = {harness.id_of(f"=p{n}") for n in range(2, 101) if n != 31}
    assert steady <= set(listed)
    assert sorted(listed) == sorted([*steady, harness.id_of("=p1"), harness.id_of("=p1")])


def test_a_registration_is_described(harness):
    harness.say(CALLEE, register(1, "=a.b", invoke="roundrobin"))
    harness.now += 5
    harness.say(ASKER, register(2, "=a.b", invoke="roundrobin"))
    state = state_of(harness, "=a.b")
    assert (state.id, state.pattern) == (harness.id_of("=a.b"), "=a.b")
    assert (state.invoke, state.callees) == ("roundrobin", 2)
    assert state.created == WALL + 100
    assert ask(harness, REGISTRATION, id_key(7)) == ([], 1)


def test_a_replayed_registration_keeps_its_age(harness):
    frame = register(1, "=a.b", replay=True, invoke="first")
    frame.created = 1000.0
    older = register(2, "=a.b", replay=True, invoke="first")
    older.created = 900.0
    harness.say(CALLEE, frame, older)
    assert state_of(harness, "=a.b").created == 900.0


@pytest.mark.parametrize(
    ("procedure", "best"),
    [("a.b", "=a.b"), ("a.c.d", "^a.c"), ("a.x", "*a.+"), ("b", None)],
)
def test_the_best_match_is_that_which_a_call_would_reach(harness, procedure, best):
    patterns = ["=a.b", "^a.", "^a.c", "*a.+"]
    harness.say(CALLEE, *(register(1, one, request=n) for n, one in enumerate(patterns, 1)))
    harness.say(CALLEE, unregister(1, "^a."))
    items, _ = ask(harness, BEST_REGISTRATION, procedure.encode())
    assert [key_id(value) for _, value in items] == ([harness.id_of(best)] if best else [])


def test_the_best_match_may_have_its_home_elsewhere():
    harness = ShardHarness(gateways=1, shards=2)
    harness.say("shard-1", PatternAnnounced(REALM, "^a.", gone=False))
    items, _ = ask(harness, BEST_REGISTRATION, b"a.b")
    assert [key_id(value) for _, value in items] == [pattern_id(REALM, "registration", "^a.")]


def test_the_callees_of_a_registration_are_listed(harness, monkeypatch):
    monkeypatch.setattr(inquiries, "CHUNK", 2)
    for session in (5, 3, 9, 4, 7):
        harness.say(CALLEE, register(session, "=a.b", invoke="random"))
    harness.say(CALLEE, leave(9))
    items, pages = ask(harness, CALLEES, id_key(harness.id_of("=a.b")), limit=1)
    assert [msgpack.decode(value) for _, value in items] == [[5, 3], [4, 7]]
    assert pages == 2
    assert ask(harness, CALLEES, id_key(7)) == ([], 1)
