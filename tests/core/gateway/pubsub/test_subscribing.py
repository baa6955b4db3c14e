"""Subscribing: from the request to the end of the replay, at the pace of the client."""

import pytest
from gateway_harness import REALM, WALL, FakeEncoder, GatewayHarness, event, fence

from fox_shard.backplane.frames import (
    EMPTY,
    RECORDED,
    RETAIN,
    Again,
    Audience,
    CaughtUp,
    Event,
    FencePassed,
    FenceQuery,
    More,
    NotSubscribed,
    Paused,
    Retained,
    SelectedEvent,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.gateway.pubsub.subscribing import (
    MAX_UNREAD,
    RECHECK_SECONDS,
    REPLAYS_AT_ONCE,
)
from fox_shard.gateway.sessions.subscription import Subscription
from fox_shard.topics.pattern import Pattern

VIEW = {"replay": True, "state": True}
SNAPSHOT = {"replay": True, "snapshot": True}
FILTER = b"\x81\xa1a\x01"
SHARDS = ("shard-0", "shard-1")


@pytest.fixture
def harness():
    return GatewayHarness(shards=2)


def begin(harness, text="*#", *, encoder=None, **options):
    """Let a new session subscribe; return the session and the Subscribe of the first shard."""
    session = harness.session(encoder)
    harness.subscribe(session, text, **options)
    asked = [frame for name in SHARDS for frame in harness.got(name, Subscribe)]
    assert len({(frame.token, frame.pattern) for frame in asked}) == 1
    return session, asked[0]


def key(asked, publication, topic="a.b", *, ahead=False, **more):
    return Retained(asked.token, event(publication, topic, **more), ahead, topic if ahead else "")


def no_key(asked, topic):
    return Retained(asked.token, None, True, topic)


def change(asked, publication, topic="a.b", *, removed="", known=False, audience=None, **more):
    return SelectedEvent(
        event(publication, topic, **more), [asked.selector.id], removed, known, audience, True
    )


def confirm(harness, asked, *names):
    for name in names or SHARDS:
        harness.say(name, Subscribed(asked.token))


def mores(harness, name="shard-0"):
    return [frame.enough for frame in harness.got(name, More)]


def told(session):
    return [one[0] for one in session.take()]


def shown(session):
    """Return the publication ids of the keys that the session was shown, in order."""
    found = []
    for one in session.take():
        found += one[-1] if one[0] in ("subscribed", "shown") else []
    return found


# Confirmation


def test_a_session_is_subscribed_when_every_shard_has_confirmed(harness):
    session, asked = begin(harness, **VIEW)
    harness.say("shard-1", key(asked, 3, "c"), Subscribed(asked.token), CaughtUp(asked.token))
    harness.say("shard-0", key(asked, 2, "b"))
    assert session.take() == []
    harness.say("shard-0", key(asked, 1, "a"), Subscribed(asked.token), CaughtUp(asked.token))
    assert session.take() == [("subscribed", 1, "*#", [2, 1, 3])]
    assert harness.gateway.subscribe_requests.idle


def test_changes_of_shards_that_confirm_early_come_after_the_keys(harness):
    session, asked = begin(harness, **VIEW)
    harness.say("shard-1", key(asked, 3, "c"), change(asked, 4, "c"), Subscribed(asked.token))
    harness.say("shard-1", change(asked, 5, "c"), change(asked, 6, "c", removed="deleted"))
    assert (session.take(), session.written) == ([], [])
    confirm(harness, asked, "shard-0")
    assert session.take() == [("subscribed", 1, "*#", [3])]
    assert session.written == ["w:5", "w:6deleted"]


def test_a_change_that_is_not_newer_than_the_shown_key_is_dropped(harness):
    session, asked = begin(harness, **VIEW)
    harness.say("shard-1", Subscribed(asked.token), change(asked, 5, "c"), change(asked, 5, "d"))
    harness.say("shard-0", key(asked, 5, "c"))
    confirm(harness, asked, "shard-0")
    assert session.written == ["w:5"]


def test_keys_of_later_pages_are_shown_as_they_come(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 1, "a"), key(asked, 2, "b"), CaughtUp(asked.token))
    assert session.take() == [
        ("subscribed", 1, "*#", []), ("shown", [1]), ("shown", [2]),
    ]  # fmt: skip
    assert not harness.gateway.subscribe_requests.idle
    harness.say("shard-1", CaughtUp(asked.token))
    assert harness.gateway.subscribe_requests.idle


@pytest.mark.cites("advanced.pubsub_event_retention.6")
def test_a_session_is_not_shown_a_key_that_it_may_not_see(harness):
    session, asked = begin(harness, **VIEW)
    hidden = Audience(eligible_authid=["boss"])
    harness.say("shard-0", key(asked, 1, "a", audience=hidden), key(asked, 2, "b"))
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 3, "c", audience=hidden), key(asked, 4, "d"))
    assert shown(session) == [2, 4]


def test_a_second_subscriber_has_a_replay_of_its_own(harness):
    first, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    second, again = begin(harness, **VIEW)
    assert again.token != asked.token
    assert again.selector == asked.selector
    harness.say("shard-0", change(asked, 5))
    assert (first.written, second.written) == (["w:5"], [])
    confirm(harness, again)
    harness.say("shard-0", change(asked, 6))
    assert (first.written, second.written) == (["w:6"], ["w:6"])


def test_a_session_that_wants_no_replay_joins_a_complete_subscription_at_once(harness):
    _, asked = begin(harness, filter=FILTER)
    confirm(harness, asked)
    second = harness.session()
    harness.subscribe(second, "*#", filter=FILTER)
    assert told(second) == ["subscribed"]
    assert harness.got("shard-0", Subscribe) == []
    harness.say("shard-0", SelectedEvent(event(5), [asked.selector.id]))
    assert second.written == ["w:5"]


# Keys that are sent ahead


def test_a_key_that_was_sent_ahead_is_shown_once(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 4, "d", ahead=True), change(asked, 5, "d"))
    harness.say("shard-0", key(asked, 1, "a"), key(asked, 5, "d"), key(asked, 2, "e"))
    assert shown(session) == [4, 1, 2]
    assert session.written == ["w:5"]


def test_the_absence_of_a_key_that_was_sent_ahead_is_remembered(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", no_key(asked, "d"), change(asked, 5, "d"), key(asked, 5, "d"))
    assert shown(session) == []
    assert session.written == ["w:5"]


# The pace


def paused(harness, asked, *names):
    for name in names or SHARDS:
        harness.say(name, Paused(asked.token))


def test_the_next_page_is_requested_when_one_has_come(harness):
    _session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    paused(harness, asked, "shard-0")
    assert (mores(harness), mores(harness, "shard-1")) == ([False], [])
    assert mores(harness) == []
    paused(harness, asked)
    assert (mores(harness), mores(harness, "shard-1")) == ([False], [False])


def test_no_further_page_is_requested_before_the_session_is_subscribed(harness):
    _session, asked = begin(harness, **VIEW)
    harness.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    assert mores(harness) == []
    confirm(harness, asked, "shard-1")
    assert (mores(harness), mores(harness, "shard-1")) == ([False], [])


def test_the_next_page_waits_until_the_client_has_read(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    unread = MAX_UNREAD + 1
    session.connection.waiting = lambda: unread
    paused(harness, asked)
    harness.pass_time(10 * RECHECK_SECONDS, RECHECK_SECONDS)
    assert (mores(harness), mores(harness, "shard-1")) == ([], [])
    unread = MAX_UNREAD
    harness.pass_time(2 * RECHECK_SECONDS, RECHECK_SECONDS)
    assert (mores(harness), mores(harness, "shard-1")) == ([False], [False])


def test_a_client_that_does_not_read_holds_up_no_other_client(harness):
    slow, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    slow.connection.waiting = lambda: MAX_UNREAD + 1
    paused(harness, asked)
    quick, another = begin(harness, **VIEW)
    confirm(harness, another)
    paused(harness, another)
    assert [frame.token for frame in harness.got("shard-0", More)] == [another.token]
    harness.say("shard-0", change(asked, 5))
    assert (slow.written, quick.written) == (["w:5"], ["w:5"])


def test_no_timer_is_set_while_all_clients_have_read(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    before = harness.gateway.timers.next()
    paused(harness, asked)
    assert harness.gateway.timers.next() == before
    session.connection.waiting = lambda: MAX_UNREAD + 1
    paused(harness, asked)
    assert harness.gateway.timers.next() <= harness.now + RECHECK_SECONDS


def test_a_slow_session_that_has_ended_is_not_looked_at_again(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    session.connection.waiting = lambda: MAX_UNREAD + 1
    paused(harness, asked)
    session.end("gone", "")
    harness.pass_time(3 * RECHECK_SECONDS, RECHECK_SECONDS)
    assert mores(harness) == [True]


def test_a_session_that_subscribes_again_and_again_is_not_looked_at_more_often(harness):
    """Each slow subscription that was given up used to leave a timer that ran for ever."""
    session = harness.session()
    looks = []

    def waiting():
        looks.append(harness.now)
        return MAX_UNREAD + 1

    session.connection.waiting = waiting
    for request in range(1, 9):
        harness.subscribe(session, "=a", request=request, replay=True)
        shard = f"shard-{harness.realm.shard_of('a')}"
        [asked] = harness.got(shard, Subscribe)
        harness.say(shard, Subscribed(asked.token), Paused(asked.token))
        if request < 8:
            harness.gateway.requests.unsubscribe(session, "=a")
    looks.clear()
    harness.pass_time(10 * RECHECK_SECONDS, RECHECK_SECONDS)
    assert len(looks) <= 11


# Withdrawal


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("how", ["unsubscribe", "leave"])
@pytest.mark.parametrize("options", [VIEW, SNAPSHOT, {"replay": True}])
def test_a_replay_that_is_given_up_is_ended_at_the_shards(options, how, confirmed, harness):
    session, asked = begin(harness, **options)
    if confirmed:
        confirm(harness, asked)
    harness.say("shard-1", Subscribed(asked.token), CaughtUp(asked.token))
    session.take()
    (subscribers,) = harness.gateway.subscriptions[REALM].by_id.values()
    if how == "leave":
        session.end("gone", "")
    else:
        assert harness.gateway.requests.unsubscribe(session, subscribers.subscription.name)
    assert harness.gateway.subscribe_requests.idle
    assert (mores(harness), mores(harness, "shard-1")) == ([True], [])
    gone = [] if "snapshot" in options else [Unsubscribe(REALM, "*#", _selection(asked))]
    assert harness.got("shard-0", Unsubscribe) == harness.got("shard-1", Unsubscribe) == gone
    session.take()
    harness.say("shard-0", key(asked, 1), Paused(asked.token), Subscribed(asked.token))
    harness.say("shard-0", CaughtUp(asked.token))
    assert (session.take(), mores(harness)) == ([], [])
    assert harness.gateway.subscriptions[REALM].count == 0


def _selection(asked):
    return 0 if asked.selector is None else asked.selector.id


def test_only_the_subscription_that_is_named_is_given_up(harness):
    session, asked = begin(harness, **VIEW)
    harness.subscribe(session, "*#", request=2, replay=True)
    (other,) = harness.got("shard-0", Subscribe)
    assert harness.gateway.requests.unsubscribe(session, "*#")
    assert [frame.token for frame in harness.got("shard-0", More)] == [other.token]
    confirm(harness, asked)
    assert told(session) == ["unsubscribed early", "subscribed"]


def test_a_session_cannot_give_up_a_subscription_that_it_does_not_have(harness):
    session, _ = begin(harness, **VIEW)
    assert not harness.gateway.requests.unsubscribe(session, "*#")
    assert not harness.gateway.requests.unsubscribe(harness.session(), "*#")


def test_a_refused_subscription_is_removed_at_all_shards(harness):
    session, asked = begin(harness, **VIEW)
    harness.say("shard-1", Subscribed(asked.token), Paused(asked.token))
    harness.say("shard-0", NotSubscribed(asked.token, "x.y", "why", 5))
    assert session.take() == [("not subscribed", 1, "x.y", 5)]
    assert (mores(harness), mores(harness, "shard-1")) == ([True], [True])
    gone = Unsubscribe(REALM, "*#", asked.selector.id)
    assert harness.got("shard-0", Unsubscribe) == harness.got("shard-1", Unsubscribe) == [gone]
    assert harness.gateway.subscribe_requests.idle
    harness.say("shard-1", NotSubscribed(asked.token, "x.y", "again", 5), change(asked, 5))
    assert (session.take(), session.written) == ([], [])


# Snapshots


def test_a_snapshot_ends_with_its_replay(harness):
    session, asked = begin(harness, **SNAPSHOT)
    assert asked.once
    harness.say("shard-1", Subscribed(asked.token), CaughtUp(asked.token))
    harness.say("shard-0", key(asked, 1), Subscribed(asked.token), Paused(asked.token))
    assert (told(session), mores(harness)) == (["subscribed"], [False])
    harness.say("shard-0", event(9), key(asked, 2, "b"), CaughtUp(asked.token))
    assert session.take() == [("shown", [2]), ("subscription revoked", "*#")]
    assert session.written == []
    assert harness.got("shard-0", Unsubscribe) == []
    assert harness.gateway.subscriptions[REALM].by_id == {}
    assert harness.gateway.subscriptions[REALM].count == 0


def test_a_snapshot_without_keys_ends_at_once(harness):
    session, asked = begin(harness, "=a.b", **SNAPSHOT)
    (name,) = [n for n in SHARDS if harness.realm.shard_of("a.b") == int(n[-1])]
    harness.say(name, Subscribed(asked.token), CaughtUp(asked.token))
    assert session.take() == [("subscribed", 1, "=a.b", []), ("subscription revoked", "=a.b")]


def test_two_snapshots_of_one_pattern_end_independently(harness):
    session, first = begin(harness, **SNAPSHOT)
    harness.subscribe(session, "*#", request=2, **SNAPSHOT)
    (second,) = harness.got("shard-0", Subscribe)
    for asked in (second, first):
        confirm(harness, asked)
        for name in SHARDS:
            harness.say(name, CaughtUp(asked.token))
        assert told(session) == ["subscribed", "subscription revoked"]
    assert harness.gateway.subscriptions[REALM].by_id == {}


def test_the_end_of_a_snapshot_ends_no_other_subscription(harness):
    session, asked = begin(harness, replay=True)
    confirm(harness, asked)
    harness.subscribe(session, "*#", request=2, **SNAPSHOT)
    (again,) = harness.got("shard-0", Subscribe)
    confirm(harness, again)
    for name in SHARDS:
        harness.say(name, CaughtUp(again.token))
    harness.say("shard-0", event(5))
    assert session.written == ["w:5"]


# What each session is told of a change


@pytest.mark.parametrize(
    ("audience", "removed", "known", "before", "expected"),
    [
        (None, "", False, None, ["w:5", "w:5"]),
        (["one"], "", False, None, ["w:5", None]),
        (["one"], "", True, None, ["w:5", "w:5deleted"]),
        (["one"], "", True, ["one"], ["w:5", None]),
        (["one"], "", True, ["other"], ["w:5", "w:5deleted"]),
        (["one"], "expired", False, None, ["w:5expired", None]),
        (None, "filter", False, None, ["w:5filter", "w:5filter"]),
        (["one"], "filter", True, None, ["w:5filter", "w:5deleted"]),
    ],
)
def test_a_session_that_may_not_see_the_new_value_is_told_that_the_old_one_is_gone(
    audience, removed, known, before, expected, harness
):
    sessions = [harness.session(authid=authid) for authid in ("one", "other")]
    for session in sessions:
        harness.subscribe(session, "*#", **VIEW)
    asks = harness.got("shard-0", Subscribe)
    for asked in asks:
        confirm(harness, asked)
    now, then = (names and Audience(eligible_authid=names) for names in (audience, before))
    sent = change(asks[0], 5, audience=then, known=known, removed=removed)
    sent.event.publish.audience = now
    harness.say("shard-0", sent)
    assert [session.written for session in sessions] == [
        [one] if one else [] for one in expected
    ]  # fmt: skip


def test_a_publisher_sees_the_state_that_it_makes(harness):
    """`exclude_me` applies to events only."""
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", change(asked, 5, session=session.id, flags=4))
    assert session.written == ["w:5"]


def test_a_publisher_does_not_get_its_own_event_through_a_filter(harness):
    session, asked = begin(harness, filter=FILTER)
    confirm(harness, asked)
    for flags in (4, 0):
        own = event(5 + flags, session=session.id, flags=flags)
        harness.say("shard-0", SelectedEvent(own, [asked.selector.id]))
    assert session.written == ["w:5"]


# Events that are held back by a fence


def test_a_selected_event_is_held_back_like_any_other(harness):
    session, asked = begin(harness, filter=FILTER)
    confirm(harness, asked)
    ids = [asked.selector.id]
    harness.say("shard-0", SelectedEvent(event(5, order=2, fence=fence((1, 7, 10))), ids))
    harness.say("shard-0", SelectedEvent(event(6, order=3), ids))
    assert session.written == []
    assert harness.got("shard-1", FenceQuery) == [FenceQuery("gateway-1", 7, 10)]
    harness.say(
        "shard-1", SelectedEvent(event(4, "x", order=1), ids), FencePassed("gateway-1", 7, 10)
    )
    assert session.written == ["w:4", "w:5", "w:6"]


def test_changes_of_state_do_not_wait_for_fences(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", change(asked, 5, order=2, fence=fence((1, 7, 10))))
    assert session.written == ["w:5"]


def test_a_subscription_begins_when_no_earlier_event_is_held_back(harness):
    first, asked = begin(harness, filter=FILTER)
    confirm(harness, asked)
    held = SelectedEvent(event(5, order=2, fence=fence((1, 7, 10))), [asked.selector.id])
    harness.say("shard-0", held)
    second, again = begin(harness, filter=FILTER, replay=True)
    confirm(harness, again)
    assert second.take() == []
    harness.say("shard-1", FencePassed("gateway-1", 7, 10))
    assert (first.written, second.written) == (["w:5"], [])
    assert told(second) == ["subscribed"]
    harness.say("shard-0", SelectedEvent(event(6), [asked.selector.id]))
    assert second.written == ["w:6"]


def test_a_plain_event_that_is_held_back_does_not_delay_a_filtered_subscription(harness):
    _, plain = begin(harness)
    confirm(harness, plain)
    harness.say("shard-0", event(5, order=2, fence=fence((1, 7, 10))))
    second, asked = begin(harness, filter=FILTER)
    confirm(harness, asked)
    assert told(second) == ["subscribed"]


# Shards that restart


def restart(harness, name="shard-0", incarnation=2):
    """Restart the shard; return the Subscribes of the subscriptions that are still pending."""
    harness.kill(name)
    harness.join(name, incarnation)
    harness.turns(6)
    return [frame for frame in harness.got(name, Subscribe) if frame.token]


def test_complete_subscriptions_are_told_to_a_shard_that_returns(harness):
    _, asked = begin(harness, **VIEW)
    begin(harness, **SNAPSHOT)
    confirm(harness, asked)
    for name in SHARDS:
        harness.say(name, CaughtUp(asked.token))
    harness.kill("shard-0")
    harness.join("shard-0", 2)
    harness.turns(6)
    told_again = [frame for frame in harness.got("shard-0", Subscribe) if not frame.token]
    assert told_again == [Subscribe(0, REALM, "*#", False, asked.selector, created=WALL)]


def test_a_shard_that_returns_is_asked_only_for_the_rest_of_a_replay(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 1, "a"), key(asked, 2, "b"), Paused(asked.token))
    harness.say("shard-0", key(asked, 5, "e", ahead=True), change(asked, 6, "e"))
    assert shown(session) == [1, 2, 5]
    (again,) = restart(harness)
    assert (again.token, again.start_topic) == (asked.token, "b")
    assert mores(harness, "shard-1") == []
    # The shard does not know which keys it sent ahead before its restart.
    harness.say("shard-0", key(asked, 3, "c"), key(asked, 6, "e"), key(asked, 4, "f"))
    harness.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    assert shown(session) == [3, 4]
    assert mores(harness) == [False]
    for name in SHARDS:
        harness.say(name, CaughtUp(asked.token))
    assert harness.gateway.subscribe_requests.idle
    assert restart(harness, incarnation=3) == []


def test_a_shard_that_is_down_is_not_asked_for_pages(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    session.connection.waiting = lambda: MAX_UNREAD + 1
    paused(harness, asked)
    harness.kill("shard-0")
    session.connection.waiting = lambda: 0
    harness.pass_time(2 * RECHECK_SECONDS, RECHECK_SECONDS)
    assert mores(harness, "shard-1") == [False]
    harness.join("shard-0", 2)
    harness.turns(6)
    assert mores(harness) == []


def test_a_replay_begins_again_if_the_shard_dies_before_the_session_is_subscribed(harness):
    session, asked = begin(harness, **VIEW)
    harness.say("shard-0", key(asked, 1, "a"), key(asked, 2, "b"), Subscribed(asked.token))
    harness.say("shard-0", Paused(asked.token))
    (again,) = restart(harness)
    assert again.start_topic == ""
    harness.say("shard-0", key(asked, 1, "a"), Subscribed(asked.token), CaughtUp(asked.token))
    confirm(harness, asked, "shard-1")
    assert session.take() == [("subscribed", 1, "*#", [1])]


def test_keys_and_changes_from_before_a_replay_that_begins_again_are_dropped(harness):
    """The new replay has all of that again, perhaps on a later page."""
    session, asked = begin(harness, **VIEW)
    harness.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    harness.say("shard-0", key(asked, 64 * 1, "e", ahead=True), change(asked, 64 * 2, "e"))
    harness.say("shard-1", key(asked, 64 * 3 + 1, "d"), change(asked, 64 * 4 + 1, "d"))
    restart(harness)
    harness.say("shard-1", Subscribed(asked.token), CaughtUp(asked.token))
    assert session.take() == []
    harness.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    assert session.take() == [("subscribed", 1, "*#", [64 * 3 + 1])]
    harness.say("shard-0", key(asked, 64 * 2, "e"), CaughtUp(asked.token))
    assert shown(session) == [64 * 2]
    assert session.written == []


def test_a_change_that_is_sent_again_reaches_the_sessions_that_missed_it(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    for name in SHARDS:
        harness.say(name, CaughtUp(asked.token))
    had, missed = (change(asked, n, flags=RETAIN | RECORDED) for n in (5, 6))
    harness.say("shard-0", had)
    restart(harness)
    harness.say("shard-0", Again(had), Again(missed), Again(missed))
    assert session.written == ["w:5", "w:6"]


def test_a_plain_event_and_a_change_with_the_same_id_are_both_delivered(harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.subscribe(session, "*#", request=2)
    (plain,) = harness.got("shard-0", Subscribe)
    confirm(harness, plain)
    for name in SHARDS:
        harness.say(name, CaughtUp(asked.token))
    restart(harness)
    recorded = RETAIN | RECORDED
    harness.say("shard-0", Again(event(5, flags=recorded)), Again(change(asked, 5, flags=recorded)))
    assert session.written == ["w:5", "w:5"]


@pytest.mark.parametrize("erased", [False, True])
def test_a_change_that_is_sent_again_before_its_keys_turn_replaces_the_key(erased, harness):
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(harness)
    flags = RETAIN | RECORDED | EMPTY * erased
    harness.say("shard-0", Again(change(asked, 6, "e", flags=flags)))
    harness.say("shard-0", key(asked, 6, "e"), key(asked, 7, "f"))
    assert session.written == ["w:6"]
    assert shown(session) == [7]


def test_the_last_of_two_changes_before_the_shard_died_is_shown(harness):
    """Only the first one is sent again, because the publisher of the other has its answer."""
    session, asked = begin(harness, **VIEW)
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(harness)
    for number, topic in ((5, "e"), (6, "f")):
        harness.say("shard-0", Again(change(asked, number, topic, flags=RETAIN | RECORDED)))
    harness.say("shard-0", key(asked, 7, "f", ahead=True), change(asked, 8, "f"))
    harness.say("shard-0", key(asked, 7, "e"), key(asked, 8, "f"))
    assert session.written == ["w:5", "w:6", "w:8"]
    assert shown(session) == [7, 7]


@pytest.mark.parametrize(
    "again",
    [
        event(6, "e", flags=RECORDED),
        event(6, "x", flags=RECORDED | RETAIN),
    ],
    ids=["no change", "another topic"],
)
def test_an_event_that_is_sent_again_and_changes_no_key_replaces_none(again, harness):
    session, asked = begin(harness, replay=True)
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(harness)
    harness.say("shard-0", Again(again), key(asked, 5, "e"))
    assert shown(session) == [5]


def test_an_event_that_is_sent_again_in_another_realm_replaces_no_key(harness):
    session, asked = begin(harness, replay=True)
    confirm(harness, asked)
    harness.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(harness)
    elsewhere = event(6, "e", flags=RECORDED | RETAIN)
    elsewhere.publish.realm = "other"
    harness.say("shard-0", Again(elsewhere), key(asked, 5, "e"))
    assert shown(session) == [5]


# MQTT: one delivery for all subscriptions that match


def test_an_event_held_for_two_subscriptions_is_delivered_once(harness):
    session, first = begin(harness, replay=True, encoder=FakeEncoder("m", per_subscription=False))
    harness.subscribe(session, "^a", request=2, replay=True)
    (second,) = harness.got("shard-0", Subscribe)
    for asked in (first, second):
        harness.say("shard-0", Subscribed(asked.token))
    harness.say("shard-0", event(5))
    for asked in (first, second):
        confirm(harness, asked, "shard-1")
    assert told(session) == ["subscribed", "subscribed"]
    assert session.written == ["m:5"]


# What a client decides costs steps in proportion, never a product


def test_thousands_of_filters_while_events_are_held_back_are_confirmed_in_few_steps(
    harness, monkeypatch
):
    """Each confirmation once walked through everything that was held back."""
    waits = []
    matches = Pattern.matches
    monkeypatch.setattr(
        Pattern, "matches", lambda self, topic: waits.append(topic) or matches(self, topic)
    )
    for number in range(1, 201):
        harness.say("shard-0", event(number, "t", order=number, fence=fence((1, 7, 10))))
    (query,) = harness.got("shard-1", FenceQuery)
    session = harness.session()
    for number in range(1, 301):
        harness.subscribe(session, f"*t{number}.+" if number % 2 else "=t", request=number)
    for name in SHARDS:
        for asked in harness.got(name, Subscribe):
            harness[name].link.send(Subscribed(asked.token))
    harness.turns()
    assert told(session) == []
    assert waits == []
    harness.say("shard-1", FencePassed(query.origin, query.epoch, query.seq))
    assert told(session) == ["subscribed"] * 300
    assert harness.gateway.subscribe_requests.idle
    # None of them got the events that were sent before it was confirmed.
    assert session.written == []


def test_withdrawing_looks_only_at_the_subscription_of_that_name(harness, monkeypatch):
    """8,000 filters, and UNSUBSCRIBE of the same before they are confirmed, once took 28 s."""
    session = harness.session()
    for number in range(500):
        harness.subscribe(session, f"=t{number}", request=number)
    looks = []
    name = Subscription.name
    monkeypatch.setattr(
        Subscription,
        "name",
        property(
            lambda self: looks.append(1) or name.__get__(self),
            lambda self, to: name.__set__(self, to),
        ),
    )
    for number in range(500):
        assert harness.gateway.requests.unsubscribe(session, f"=t{number}")
    assert len(looks) < 10 * 500
    assert harness.gateway.subscribe_requests.idle
    assert harness.gateway.subscriptions[REALM].by_id == {}


def test_events_that_are_held_for_many_subscriptions_of_one_session_are_delivered_once(harness):
    """Each subscription that began once compared its events with those of all the others."""
    session = harness.session(FakeEncoder("m", per_subscription=False))
    for number in range(40):
        harness.subscribe(session, "*" + "+." * number + "#", request=number)
    asked = harness.got("shard-0", Subscribe)
    for one in asked:
        harness[SHARDS[0]].link.send(Subscribed(one.token))
    harness.turns()
    compared = []
    original = Event.__eq__
    for number in range(1, 41):
        harness.say("shard-0", event(number, ".".join("a" * 40), order=number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Event, "__eq__", lambda self, other: compared.append(1) or original(self, other)
        )
        for one in harness.got("shard-1", Subscribe):
            harness[SHARDS[1]].link.send(Subscribed(one.token))
        harness.turns()
    assert session.written == [f"m:{number}" for number in range(1, 41)]
    assert compared == []


def test_a_request_that_an_unsubscribe_makes_void_is_answered(harness):
    """As a session may ask twice for a subscription, and end it when it is granted once."""
    session = harness.session()
    harness.subscribe(session, "=a", request=1)
    harness.subscribe(session, "=a", request=2, replay=True)
    assert harness.gateway.requests.unsubscribe(session, "=a")
    early = [("unsubscribed early", 1, "=a"), ("unsubscribed early", 2, "=a")]
    assert session.take() == early
    harness.subscribe(session, "=a", request=3)
    harness.gateway.requests.session_ended(session, "gone")
    assert session.take() == []


# Limits


def test_a_session_has_so_many_subscriptions_and_no_more():
    harness = GatewayHarness(shards=2, max_subscriptions=2)
    session = harness.session()
    for request in (1, 2, 3):
        harness.subscribe(session, f"=t{request}", request=request, replay=True)
    refused = ("not subscribed", 3, "fox.error.limit_exceeded", 0)
    assert session.take() == [refused]
    for name in SHARDS:
        for asked in harness.got(name, Subscribe):
            harness.say(name, Subscribed(asked.token), CaughtUp(asked.token))
    assert told(session) == ["subscribed", "subscribed"]
    harness.subscribe(session, "=t3", request=3, replay=True)
    assert session.take() == [refused]
    # It may subscribe again to what it has, and to something else instead.
    assert harness.gateway.requests.unsubscribe(session, "=t2")
    harness.subscribe(session, "=t5", request=5)
    harness.subscribe(session, "=t1", request=4, replay=True)
    assert session.take() == []


def test_a_client_that_subscribes_again_and_again_without_reading_is_refused():
    harness = GatewayHarness(shards=1, max_subscriptions=3)
    session = harness.session()
    for request in range(1, 6):
        harness.subscribe(session, "=t", request=request, replay=True)
        for asked in harness.got("shard-0", Subscribe):
            harness.say("shard-0", Subscribed(asked.token))
    refused = [("not subscribed", n, "fox.error.limit_exceeded", 0) for n in (4, 5)]
    assert [one for one in session.take() if one[0] != "subscribed"] == refused
    assert [*harness.gateway.subscribe_requests._of_session] == [session.id]
    harness.gateway.requests.session_ended(session, "gone")
    assert harness.gateway.subscribe_requests.idle


def test_the_end_of_a_session_with_many_subscriptions_is_done_a_part_at_a_time():
    harness = GatewayHarness(shards=1)
    session = harness.session()
    for number in range(250):
        harness.subscribe(session, f"=t{number}", request=number)
    for asked in harness.got("shard-0", Subscribe):
        harness[SHARDS[0]].link.send(Subscribed(asked.token))
    harness.turns()
    session.take()
    harness.gateway.requests.session_ended(session, "gone")
    # Nothing reaches the session any more.
    harness.say("shard-0", event(1, "t0"), event(2, "t249"))
    assert session.written == []
    gone = len(harness.got("shard-0", Unsubscribe))
    assert 0 < gone < 250
    # Somebody else takes over a subscription that has not been dropped yet.
    other = harness.session()
    harness.subscribe(other, "=t0")
    assert told(other) == ["subscribed"]
    turns = harness.gateway.turns
    while turns.busy:
        turns.begin(harness.now)
        turns.do_chores()
    assert gone + len(harness.got("shard-0", Unsubscribe)) == 249
    harness.say("shard-0", event(3, "t0", order=3))
    assert other.written == ["w:3"]


def test_what_is_kept_for_a_subscription_that_is_not_confirmed_is_bounded():
    """While a shard is down, the other one goes on sending events."""
    harness = GatewayHarness(shards=2, outbound_limit=4096)
    session = harness.session()
    for request in (1, 2):
        harness.subscribe(session, "*#" if request == 1 else "^t", request=request)
        (asked,) = harness.got("shard-0", Subscribe)
        harness.say("shard-0", Subscribed(asked.token))
    for number in range(1, 100):
        harness.say("shard-0", event(number, "t", order=number))
        if session.told:
            break
    assert session.take() == [("end", "fox.error.slow_consumer")]
    # About 70 bytes for each event and subscription.
    assert 20 < number < 40
    assert session.kept == 0
    assert harness.gateway.subscribe_requests.idle


def test_what_was_kept_no_longer_counts_when_it_has_been_delivered(harness):
    session, asked = begin(harness, replay=True)
    harness.say("shard-0", Subscribed(asked.token), key(asked, 1, "k"), event(2, "t"))
    assert session.kept > 0
    confirm(harness, asked)
    assert session.kept == 0


def test_a_client_that_does_not_read_is_looked_at_once_for_all_its_replays(harness):
    session = harness.session()
    looks = []
    session.connection.waiting = lambda: looks.append(1) or MAX_UNREAD + 1
    for number in range(50):
        harness.subscribe(session, f"=t{number}", request=number, replay=True)
    for name in SHARDS:
        for asked in harness.got(name, Subscribe):
            harness.say(name, Subscribed(asked.token), Paused(asked.token))
    looks.clear()
    harness.pass_time(10 * RECHECK_SECONDS, RECHECK_SECONDS)
    assert 0 < len(looks) <= 12
    session.connection.waiting = lambda: 0
    # What it has asked for comes a part at a time: not the first pages of all replays at once.
    asked = []
    for _ in range(8):
        harness.pass_time(RECHECK_SECONDS, RECHECK_SECONDS)
        asked.append(sum(len(harness.got(name, More)) for name in SHARDS))
    assert max(asked) == REPLAYS_AT_ONCE
    assert sum(asked) == 50
    harness.gateway.requests.session_ended(session, "gone")
    assert harness.gateway.subscribe_requests.idle


def test_long_filters_count_as_several_subscriptions():
    harness = GatewayHarness(shards=1, max_subscriptions=10)
    session = harness.session()
    for request in range(1, 4):
        harness.subscribe(session, f"=t{request}", request=request)
    harness.subscribe(session, "=u", request=4, filter=b"x" * 2048)
    assert session.take() == [("not subscribed", 4, "fox.error.limit_exceeded", 0)]
    harness.subscribe(session, "=u", request=5, filter=b"x" * 10)
    assert session.take() == []
