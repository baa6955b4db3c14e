"""From the wish to subscribe to the end of what comes first, at the pace of the client."""

import pytest
from gateway_harness import REALM, Flavour, GatewayStage, event, fence

from fox_shard.backplane.frames import (
    EMPTY,
    RECORDED,
    RETAIN,
    Again,
    Ask,
    Audience,
    CaughtUp,
    More,
    NotSubscribed,
    Paused,
    Reached,
    Retained,
    Selected,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.gateway.pubsub.subscribing import ENOUGH, LOOK_AGAIN

VIEW = {"replay": True, "state": True}
SNAPSHOT = {"replay": True, "snapshot": True}
FILTER = b"\x81\xa1a\x01"
SHARDS = ("shard-0", "shard-1")


@pytest.fixture
def stage():
    return GatewayStage(shards=2)


def begin(stage, text="*#", *, flavour=None, **wish):
    """A session that subscribes; returns it, and the Subscribe of shard-0."""
    session = stage.session(flavour)
    stage.subscribe(session, text, **wish)
    asked = [frame for name in SHARDS for frame in stage.got(name, Subscribe)]
    assert len({(frame.token, frame.pattern) for frame in asked}) == 1
    return session, asked[0]


def key(asked, publication, topic="a.b", *, ahead=False, **more):
    return Retained(asked.token, event(publication, topic, **more), ahead, topic if ahead else "")


def no_key(asked, topic):
    return Retained(asked.token, None, True, topic)


def change(asked, publication, topic="a.b", *, removed="", known=False, audience=None, **more):
    return Selected(
        event(publication, topic, **more), [asked.selection.id], removed, known, audience, True
    )


def confirm(stage, asked, *names):
    for name in names or SHARDS:
        stage.say(name, Subscribed(asked.token))


def mores(stage, name="shard-0"):
    return [frame.enough for frame in stage.got(name, More)]


def told(session):
    return [one[0] for one in session.take()]


def shown(session):
    """Publications that it was shown as keys, in order."""
    found = []
    for one in session.take():
        found += one[-1] if one[0] in ("subscribed", "shown") else []
    return found


# Confirmation


def test_a_session_is_told_when_every_shard_has_confirmed(stage):
    session, asked = begin(stage, **VIEW)
    stage.say("shard-1", key(asked, 3, "c"), Subscribed(asked.token), CaughtUp(asked.token))
    stage.say("shard-0", key(asked, 2, "b"))
    assert session.take() == []
    stage.say("shard-0", key(asked, 1, "a"), Subscribed(asked.token), CaughtUp(asked.token))
    assert session.take() == [("subscribed", 1, "*#", [2, 1, 3])]
    assert stage.gateway.confirmations.idle


def test_changes_of_shards_that_confirm_early_come_behind_the_keys(stage):
    session, asked = begin(stage, **VIEW)
    stage.say("shard-1", key(asked, 3, "c"), change(asked, 4, "c"), Subscribed(asked.token))
    stage.say("shard-1", change(asked, 5, "c"), change(asked, 6, "c", removed="deleted"))
    assert (session.take(), session.written) == ([], [])
    confirm(stage, asked, "shard-0")
    assert session.take() == [("subscribed", 1, "*#", [3])]
    assert session.written == ["w:5", "w:6deleted"]


def test_what_is_older_than_the_key_is_not_a_change_of_it(stage):
    session, asked = begin(stage, **VIEW)
    stage.say("shard-1", Subscribed(asked.token), change(asked, 5, "c"), change(asked, 5, "d"))
    stage.say("shard-0", key(asked, 5, "c"))
    confirm(stage, asked, "shard-0")
    assert session.written == ["w:5"]


def test_keys_of_later_pages_are_shown_as_they_come(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 1, "a"), key(asked, 2, "b"), CaughtUp(asked.token))
    assert session.take() == [
        ("subscribed", 1, "*#", []), ("shown", [1]), ("shown", [2]),
    ]  # fmt: skip
    assert not stage.gateway.confirmations.idle
    stage.say("shard-1", CaughtUp(asked.token))
    assert stage.gateway.confirmations.idle


def test_a_key_that_one_may_not_see_is_not_shown(stage):
    session, asked = begin(stage, **VIEW)
    hidden = Audience(eligible_authid=["boss"])
    stage.say("shard-0", key(asked, 1, "a", audience=hidden), key(asked, 2, "b"))
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 3, "c", audience=hidden), key(asked, 4, "d"))
    assert shown(session) == [2, 4]


def test_a_second_subscriber_has_a_replay_of_its_own(stage):
    first, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    second, again = begin(stage, **VIEW)
    assert again.token != asked.token
    assert again.selection == asked.selection
    stage.say("shard-0", change(asked, 5))
    assert (first.written, second.written) == (["w:5"], [])
    confirm(stage, again)
    stage.say("shard-0", change(asked, 6))
    assert (first.written, second.written) == (["w:6"], ["w:6"])


def test_without_a_replay_one_may_join_a_subscription_that_stands(stage):
    _, asked = begin(stage, filter=FILTER)
    confirm(stage, asked)
    second = stage.session()
    stage.subscribe(second, "*#", filter=FILTER)
    assert told(second) == ["subscribed"]
    assert stage.got("shard-0", Subscribe) == []
    stage.say("shard-0", Selected(event(5), [asked.selection.id]))
    assert second.written == ["w:5"]


# Ahead of their turn


def test_a_key_that_came_ahead_is_shown_once(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 4, "d", ahead=True), change(asked, 5, "d"))
    stage.say("shard-0", key(asked, 1, "a"), key(asked, 5, "d"), key(asked, 2, "e"))
    assert shown(session) == [4, 1, 2]
    assert session.written == ["w:5"]


def test_that_there_was_no_key_is_remembered_too(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", no_key(asked, "d"), change(asked, 5, "d"), key(asked, 5, "d"))
    assert shown(session) == []
    assert session.written == ["w:5"]


# The pace


def paused(stage, asked, *names):
    for name in names or SHARDS:
        stage.say(name, Paused(asked.token))


def test_the_next_page_is_asked_for_when_one_has_come(stage):
    _session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    paused(stage, asked, "shard-0")
    assert (mores(stage), mores(stage, "shard-1")) == ([False], [])
    assert mores(stage) == []
    paused(stage, asked)
    assert (mores(stage), mores(stage, "shard-1")) == ([False], [False])


def test_nothing_more_is_asked_for_before_the_session_has_been_told(stage):
    _session, asked = begin(stage, **VIEW)
    stage.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    assert mores(stage) == []
    confirm(stage, asked, "shard-1")
    assert (mores(stage), mores(stage, "shard-1")) == ([False], [])


def test_the_next_page_waits_until_the_client_has_read(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    unread = ENOUGH + 1
    session.connection.waiting = lambda: unread
    paused(stage, asked)
    stage.pass_time(10 * LOOK_AGAIN, LOOK_AGAIN)
    assert (mores(stage), mores(stage, "shard-1")) == ([], [])
    unread = ENOUGH
    stage.pass_time(2 * LOOK_AGAIN, LOOK_AGAIN)
    assert (mores(stage), mores(stage, "shard-1")) == ([False], [False])


def test_one_client_that_does_not_read_holds_up_nobody_else(stage):
    slow, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    slow.connection.waiting = lambda: ENOUGH + 1
    paused(stage, asked)
    quick, another = begin(stage, **VIEW)
    confirm(stage, another)
    paused(stage, another)
    assert [frame.token for frame in stage.got("shard-0", More)] == [another.token]
    stage.say("shard-0", change(asked, 5))
    assert (slow.written, quick.written) == (["w:5"], ["w:5"])


def test_nobody_looks_while_all_have_read(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    before = stage.gateway.timers.next()
    paused(stage, asked)
    assert stage.gateway.timers.next() == before
    session.connection.waiting = lambda: ENOUGH + 1
    paused(stage, asked)
    assert stage.gateway.timers.next() <= stage.now + LOOK_AGAIN


def test_who_leaves_while_it_is_slow_is_not_looked_for(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    session.connection.waiting = lambda: ENOUGH + 1
    paused(stage, asked)
    session.end("gone", "")
    stage.pass_time(3 * LOOK_AGAIN, LOOK_AGAIN)
    assert mores(stage) == [True]


def test_who_changes_his_mind_often_is_not_looked_at_more_often(stage):
    """Each wish that was slow, and given up, left a timer behind that went on for ever."""
    session = stage.session()
    looks = []

    def waiting():
        looks.append(stage.now)
        return ENOUGH + 1

    session.connection.waiting = waiting
    for request in range(1, 9):
        stage.subscribe(session, "=a", request=request, replay=True)
        shard = f"shard-{stage.realm.shard_of('a')}"
        [asked] = stage.got(shard, Subscribe)
        stage.say(shard, Subscribed(asked.token), Paused(asked.token))
        if request < 8:
            stage.gateway.requests.unsubscribe(session, "=a")
    looks.clear()
    stage.pass_time(10 * LOOK_AGAIN, LOOK_AGAIN)
    assert len(looks) <= 11


# Withdrawal


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("how", ["unsubscribe", "leave"])
@pytest.mark.parametrize("wish", [VIEW, SNAPSHOT, {"replay": True}])
def test_who_gives_up_has_had_enough(wish, how, confirmed, stage):
    session, asked = begin(stage, **wish)
    if confirmed:
        confirm(stage, asked)
    stage.say("shard-1", Subscribed(asked.token), CaughtUp(asked.token))
    session.take()
    (subscribers,) = stage.gateway.subscriptions[REALM].by_id.values()
    if how == "leave":
        session.end("gone", "")
    else:
        assert stage.gateway.requests.unsubscribe(session, subscribers.subscription.name)
    assert stage.gateway.confirmations.idle
    assert (mores(stage), mores(stage, "shard-1")) == ([True], [])
    gone = [] if "snapshot" in wish else [Unsubscribe(REALM, "*#", _selection(asked))]
    assert stage.got("shard-0", Unsubscribe) == stage.got("shard-1", Unsubscribe) == gone
    session.take()
    stage.say("shard-0", key(asked, 1), Paused(asked.token), Subscribed(asked.token))
    stage.say("shard-0", CaughtUp(asked.token))
    assert (session.take(), mores(stage)) == ([], [])
    assert stage.gateway.subscriptions[REALM].count == 0


def _selection(asked):
    return 0 if asked.selection is None else asked.selection.id


def test_only_the_subscription_that_is_named_is_given_up(stage):
    session, asked = begin(stage, **VIEW)
    stage.subscribe(session, "*#", request=2, replay=True)
    (other,) = stage.got("shard-0", Subscribe)
    assert stage.gateway.requests.unsubscribe(session, "*#")
    assert [frame.token for frame in stage.got("shard-0", More)] == [other.token]
    confirm(stage, asked)
    assert told(session) == ["subscribed"]


def test_what_was_not_subscribed_to_cannot_be_given_up(stage):
    session, _ = begin(stage, **VIEW)
    assert not stage.gateway.requests.unsubscribe(session, "*#")
    assert not stage.gateway.requests.unsubscribe(stage.session(), "*#")


def test_a_refused_subscription_is_none(stage):
    session, asked = begin(stage, **VIEW)
    stage.say("shard-1", Subscribed(asked.token), Paused(asked.token))
    stage.say("shard-0", NotSubscribed(asked.token, "x.y", "why", 5))
    assert session.take() == [("not subscribed", 1, "x.y", 5)]
    assert (mores(stage), mores(stage, "shard-1")) == ([True], [True])
    gone = Unsubscribe(REALM, "*#", asked.selection.id)
    assert stage.got("shard-0", Unsubscribe) == stage.got("shard-1", Unsubscribe) == [gone]
    assert stage.gateway.confirmations.idle
    stage.say("shard-1", NotSubscribed(asked.token, "x.y", "again", 5), change(asked, 5))
    assert (session.take(), session.written) == ([], [])


# Snapshots


def test_a_snapshot_ends_with_its_replay(stage):
    session, asked = begin(stage, **SNAPSHOT)
    assert asked.once
    stage.say("shard-1", Subscribed(asked.token), CaughtUp(asked.token))
    stage.say("shard-0", key(asked, 1), Subscribed(asked.token), Paused(asked.token))
    assert (told(session), mores(stage)) == (["subscribed"], [False])
    stage.say("shard-0", event(9), key(asked, 2, "b"), CaughtUp(asked.token))
    assert session.take() == [("shown", [2]), ("subscription revoked", "*#")]
    assert session.written == []
    assert stage.got("shard-0", Unsubscribe) == []
    assert stage.gateway.subscriptions[REALM].by_id == {}
    assert stage.gateway.subscriptions[REALM].count == 0


def test_a_snapshot_of_nothing_ends_at_once(stage):
    session, asked = begin(stage, "=a.b", **SNAPSHOT)
    (name,) = [n for n in SHARDS if stage.realm.shard_of("a.b") == int(n[-1])]
    stage.say(name, Subscribed(asked.token), CaughtUp(asked.token))
    assert session.take() == [("subscribed", 1, "=a.b", []), ("subscription revoked", "=a.b")]


def test_two_snapshots_of_the_same_end_each_for_itself(stage):
    session, first = begin(stage, **SNAPSHOT)
    stage.subscribe(session, "*#", request=2, **SNAPSHOT)
    (second,) = stage.got("shard-0", Subscribe)
    for asked in (second, first):
        confirm(stage, asked)
        for name in SHARDS:
            stage.say(name, CaughtUp(asked.token))
        assert told(session) == ["subscribed", "subscription revoked"]
    assert stage.gateway.subscriptions[REALM].by_id == {}


def test_a_snapshot_takes_no_other_subscription_away(stage):
    session, asked = begin(stage, replay=True)
    confirm(stage, asked)
    stage.subscribe(session, "*#", request=2, **SNAPSHOT)
    (again,) = stage.got("shard-0", Subscribe)
    confirm(stage, again)
    for name in SHARDS:
        stage.say(name, CaughtUp(again.token))
    stage.say("shard-0", event(5))
    assert session.written == ["w:5"]


# Who is told what of a change


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
def test_who_may_not_see_the_new_value_is_told_that_the_old_one_has_gone(
    audience, removed, known, before, expected, stage
):
    sessions = [stage.session(authid=authid) for authid in ("one", "other")]
    for session in sessions:
        stage.subscribe(session, "*#", **VIEW)
    asks = stage.got("shard-0", Subscribe)
    for asked in asks:
        confirm(stage, asked)
    now, then = (names and Audience(eligible_authid=names) for names in (audience, before))
    sent = change(asks[0], 5, audience=then, known=known, removed=removed)
    sent.event.publish.audience = now
    stage.say("shard-0", sent)
    assert [session.written for session in sessions] == [
        [one] if one else [] for one in expected
    ]  # fmt: skip


def test_a_publisher_sees_the_state_that_it_makes(stage):
    """exclude_me is about events."""
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", change(asked, 5, session=session.id, flags=4))
    assert session.written == ["w:5"]


def test_a_publisher_does_not_get_its_own_event_by_a_filter_either(stage):
    session, asked = begin(stage, filter=FILTER)
    confirm(stage, asked)
    for flags in (4, 0):
        own = event(5 + flags, session=session.id, flags=flags)
        stage.say("shard-0", Selected(own, [asked.selection.id]))
    assert session.written == ["w:5"]


# Events that are held back by a fence


def test_a_selected_event_is_held_back_like_any_other(stage):
    session, asked = begin(stage, filter=FILTER)
    confirm(stage, asked)
    ids = [asked.selection.id]
    stage.say("shard-0", Selected(event(5, order=2, fence=fence((1, 7, 10))), ids))
    stage.say("shard-0", Selected(event(6, order=3), ids))
    assert session.written == []
    assert stage.got("shard-1", Ask) == [Ask("gateway-1", 7, 10)]
    stage.say("shard-1", Selected(event(4, "x", order=1), ids), Reached("gateway-1", 7, 10))
    assert session.written == ["w:4", "w:5", "w:6"]


def test_changes_of_state_do_not_wait_for_fences(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", change(asked, 5, order=2, fence=fence((1, 7, 10))))
    assert session.written == ["w:5"]


def test_a_subscription_begins_when_what_came_before_it_is_held_back_no_longer(stage):
    first, asked = begin(stage, filter=FILTER)
    confirm(stage, asked)
    held = Selected(event(5, order=2, fence=fence((1, 7, 10))), [asked.selection.id])
    stage.say("shard-0", held)
    second, again = begin(stage, filter=FILTER, replay=True)
    confirm(stage, again)
    assert second.take() == []
    stage.say("shard-1", Reached("gateway-1", 7, 10))
    assert (first.written, second.written) == (["w:5"], [])
    assert told(second) == ["subscribed"]
    stage.say("shard-0", Selected(event(6), [asked.selection.id]))
    assert second.written == ["w:6"]


def test_a_plain_event_that_is_held_back_is_none_of_a_selections(stage):
    _, plain = begin(stage)
    confirm(stage, plain)
    stage.say("shard-0", event(5, order=2, fence=fence((1, 7, 10))))
    second, asked = begin(stage, filter=FILTER)
    confirm(stage, asked)
    assert told(second) == ["subscribed"]


# A shard dies


def restart(stage, name="shard-0", incarnation=2):
    """Returns what it is asked for by those who wait."""
    stage.kill(name)
    stage.join(name, incarnation)
    stage.turns(6)
    return [frame for frame in stage.got(name, Subscribe) if frame.token]


def test_what_stands_is_told_to_a_shard_that_returns(stage):
    _, asked = begin(stage, **VIEW)
    begin(stage, **SNAPSHOT)
    confirm(stage, asked)
    for name in SHARDS:
        stage.say(name, CaughtUp(asked.token))
    stage.kill("shard-0")
    stage.join("shard-0", 2)
    stage.turns(6)
    told_again = [frame for frame in stage.got("shard-0", Subscribe) if not frame.token]
    assert told_again == [Subscribe(0, REALM, "*#", False, asked.selection)]


def test_a_shard_that_returns_is_asked_for_the_rest_only(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 1, "a"), key(asked, 2, "b"), Paused(asked.token))
    stage.say("shard-0", key(asked, 5, "e", ahead=True), change(asked, 6, "e"))
    assert shown(session) == [1, 2, 5]
    (again,) = restart(stage)
    assert (again.token, again.start_topic) == (asked.token, "b")
    assert mores(stage, "shard-1") == []
    # It does not know what it had shown ahead.
    stage.say("shard-0", key(asked, 3, "c"), key(asked, 6, "e"), key(asked, 4, "f"))
    stage.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    assert shown(session) == [3, 4]
    assert mores(stage) == [False]
    for name in SHARDS:
        stage.say(name, CaughtUp(asked.token))
    assert stage.gateway.confirmations.idle
    assert restart(stage, incarnation=3) == []


def test_a_shard_that_is_down_is_not_asked_for_more(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    session.connection.waiting = lambda: ENOUGH + 1
    paused(stage, asked)
    stage.kill("shard-0")
    session.connection.waiting = lambda: 0
    stage.pass_time(2 * LOOK_AGAIN, LOOK_AGAIN)
    assert mores(stage, "shard-1") == [False]
    stage.join("shard-0", 2)
    stage.turns(6)
    assert mores(stage) == []


def test_a_shard_that_dies_before_the_session_was_told_begins_anew(stage):
    session, asked = begin(stage, **VIEW)
    stage.say("shard-0", key(asked, 1, "a"), key(asked, 2, "b"), Subscribed(asked.token))
    stage.say("shard-0", Paused(asked.token))
    (again,) = restart(stage)
    assert again.start_topic == ""
    stage.say("shard-0", key(asked, 1, "a"), Subscribed(asked.token), CaughtUp(asked.token))
    confirm(stage, asked, "shard-1")
    assert session.take() == [("subscribed", 1, "*#", [1])]


def test_until_then_nothing_of_it_counts(stage):
    """What it had sent is part of what it replays, perhaps on a later page."""
    session, asked = begin(stage, **VIEW)
    stage.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    stage.say("shard-0", key(asked, 64 * 1, "e", ahead=True), change(asked, 64 * 2, "e"))
    stage.say("shard-1", key(asked, 64 * 3 + 1, "d"), change(asked, 64 * 4 + 1, "d"))
    restart(stage)
    stage.say("shard-1", Subscribed(asked.token), CaughtUp(asked.token))
    assert session.take() == []
    stage.say("shard-0", Subscribed(asked.token), Paused(asked.token))
    assert session.take() == [("subscribed", 1, "*#", [64 * 3 + 1])]
    stage.say("shard-0", key(asked, 64 * 2, "e"), CaughtUp(asked.token))
    assert shown(session) == [64 * 2]
    assert session.written == []


def test_a_change_that_comes_again_is_told_to_those_who_missed_it(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    for name in SHARDS:
        stage.say(name, CaughtUp(asked.token))
    had, missed = (change(asked, n, flags=RETAIN | RECORDED) for n in (5, 6))
    stage.say("shard-0", had)
    restart(stage)
    stage.say("shard-0", Again(had), Again(missed), Again(missed))
    assert session.written == ["w:5", "w:6"]


def test_a_plain_event_and_the_change_of_the_same_id_are_two(stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.subscribe(session, "*#", request=2)
    (plain,) = stage.got("shard-0", Subscribe)
    confirm(stage, plain)
    for name in SHARDS:
        stage.say(name, CaughtUp(asked.token))
    restart(stage)
    recorded = RETAIN | RECORDED
    stage.say("shard-0", Again(event(5, flags=recorded)), Again(change(asked, 5, flags=recorded)))
    assert session.written == ["w:5", "w:5"]


@pytest.mark.parametrize("erased", [False, True])
def test_a_change_that_comes_again_before_its_keys_turn_is_instead_of_it(erased, stage):
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(stage)
    flags = RETAIN | RECORDED | EMPTY * erased
    stage.say("shard-0", Again(change(asked, 6, "e", flags=flags)))
    stage.say("shard-0", key(asked, 6, "e"), key(asked, 7, "f"))
    assert session.written == ["w:6"]
    assert shown(session) == [7]


def test_of_two_changes_before_the_shard_died_the_last_is_shown(stage):
    """Only the first comes again: the publisher of the other has been told."""
    session, asked = begin(stage, **VIEW)
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(stage)
    for number, topic in ((5, "e"), (6, "f")):
        stage.say("shard-0", Again(change(asked, number, topic, flags=RETAIN | RECORDED)))
    stage.say("shard-0", key(asked, 7, "f", ahead=True), change(asked, 8, "f"))
    stage.say("shard-0", key(asked, 7, "e"), key(asked, 8, "f"))
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
def test_an_event_that_comes_again_and_changes_no_key_replaces_none(again, stage):
    session, asked = begin(stage, replay=True)
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(stage)
    stage.say("shard-0", Again(again), key(asked, 5, "e"))
    assert shown(session) == [5]


def test_what_comes_again_in_another_realm_replaces_nothing_here(stage):
    session, asked = begin(stage, replay=True)
    confirm(stage, asked)
    stage.say("shard-0", key(asked, 1, "a"), Paused(asked.token))
    shown(session)
    restart(stage)
    elsewhere = event(6, "e", flags=RECORDED | RETAIN)
    elsewhere.publish.realm = "other"
    stage.say("shard-0", Again(elsewhere), key(asked, 5, "e"))
    assert shown(session) == [5]


# MQTT: once, by whatever subscription


def test_what_was_held_for_two_wishes_is_delivered_once(stage):
    session, first = begin(stage, replay=True, flavour=Flavour("m", per_subscription=False))
    stage.subscribe(session, "^a", request=2, replay=True)
    (second,) = stage.got("shard-0", Subscribe)
    for asked in (first, second):
        stage.say("shard-0", Subscribed(asked.token))
    stage.say("shard-0", event(5))
    for asked in (first, second):
        confirm(stage, asked, "shard-1")
    assert told(session) == ["subscribed", "subscribed"]
    assert session.written == ["m:5"]
