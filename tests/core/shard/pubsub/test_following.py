"""Followers, which get the history first (semantics: `after`)."""

import pytest
from limited_turns import limit, settle
from shard_harness import REALM, ShardHarness, publish

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RETAIN,
    TRACE,
    CaughtUp,
    Event,
    More,
    NotSubscribed,
    Paused,
    Published,
    Recorded,
    Retained,
    SelectedEvent,
    SelectorSpec,
    Settled,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from fox_shard.config import History, Realm
from fox_shard.shard.history.event_log import EXAMINED_PER_UNIT
from fox_shard.shard.pubsub.replay import PAGE_EVENTS
from fox_shard.topics.ids import pattern_id

RULED = Realm(name=REALM, history=(History(topic="ruled.#", max_events=16),))
ID = pattern_id(REALM, "subscription", "follow")
REPLAY = Subscribed | Paused | Retained | Recorded | CaughtUp | NotSubscribed


def follow(after=(), *, token=1, **more):
    selector = SelectorSpec(ID, follow=True)
    replay = more.pop("replay", False)
    return Subscribe(token, REALM, "*#", replay, selector, list(after), **more)


@pytest.fixture
def harness():
    return ShardHarness(gateways=3, realms=[RULED])


def record(harness, *numbers, topic="ruled.a", **more):
    """Publish an event for each number; return the publication ids."""
    for number in numbers:
        one = publish(topic, request=number, args=b"[%d]" % number, **more)
        harness.say("gateway-0", one, reliable=True)
    return [id_ for one in harness.got("gateway-0", Published) for id_ in one.publications]


def replayed(harness, gateway="gateway-1"):
    """Return the frames of a replay: the arguments of an event, and the name of any other frame."""
    found = []
    for frame in harness.got(gateway, REPLAY):
        event = getattr(frame, "event", None)
        found.append(type(frame).__name__ if event is None else event.publish.args)
    return found


def live(harness, gateway="gateway-1"):
    frames = harness.got(gateway, SelectedEvent)
    assert all(frame.follow for frame in frames)
    return [frame.event.publish.args for frame in frames]


def test_the_history_is_sent_when_the_gateway_asks_for_it_and_then_live_events(harness):
    record(harness, 1, 2)
    harness.say("gateway-1", follow())
    assert replayed(harness) == ["Subscribed", "Paused"]
    record(harness, 3)
    harness.say("gateway-1", More(1))
    assert replayed(harness) == [b"[1]", b"[2]", b"[3]", "CaughtUp"]
    record(harness, 4)
    assert live(harness) == [b"[3]", b"[4]"]  # the gateway drops those before CaughtUp


def test_a_follower_gets_the_history_after_its_cursor(harness):
    first, second = record(harness, 1, 2)
    harness.say("gateway-1", follow([first]), More(1))
    assert replayed(harness)[2:] == [b"[2]", "CaughtUp"]
    harness.say("gateway-1", follow([], token=2, floor=second), More(2))
    assert replayed(harness)[2:] == ["CaughtUp"]


def test_keys_precede_the_history(harness):
    record(harness, 1, flags=ACKNOWLEDGE | RETAIN)
    harness.say("gateway-1", follow(replay=True), More(1))
    assert replayed(harness)[2:] == [b"[1]", b"[1]", "CaughtUp"]


def test_traced_events_are_recorded_and_live_recorded_events_are_marked(harness):
    record(harness, 1, topic="free", flags=ACKNOWLEDGE | TRACE)
    record(harness, 2, topic="free")
    harness.say("gateway-1", follow(), More(1))
    assert replayed(harness)[2:] == [b"[1]", "CaughtUp"]
    record(harness, 3)
    (event,) = [frame.event for frame in harness.got("gateway-1", SelectedEvent)]
    assert event.publish.flags & TRACE


def test_an_event_that_is_not_durable_yet_is_sent_live(harness):
    harness.disk.held = True
    record(harness, 1)
    harness.say("gateway-1", follow(), More(1))
    assert replayed(harness)[2:] == ["CaughtUp"]
    harness.disk.held = False
    harness.turns()
    assert live(harness) == [b"[1]"]


def test_a_long_history_comes_in_pages():
    realm = Realm(name=REALM, history=(History(topic="ruled.#", max_events=10_000),))
    harness = ShardHarness(gateways=3, realms=[realm])
    harness.send(
        "gateway-0",
        *[publish("ruled.a", request=i, args=b"[%d]" % i) for i in range(PAGE_EVENTS + 1)],
        reliable=True,
    )
    harness.turns()
    harness.say("gateway-1", follow(), More(1))
    first = replayed(harness)
    assert (len(first), first[-1]) == (PAGE_EVENTS + 3, "Paused")
    harness.say("gateway-1", More(1))
    assert replayed(harness) == [b"[%d]" % PAGE_EVENTS, "CaughtUp"]


def test_a_follower_that_misses_trimmed_events_is_refused_with_the_oldest_id(harness):
    ids = record(harness, *range(1, 40))
    harness.say("gateway-1", follow([ids[0]]))
    (refusal,) = harness.got("gateway-1", REPLAY)
    assert type(refusal) is NotSubscribed
    assert (refusal.token, refusal.uri) == (1, "fox.error.history_gap")
    assert refusal.oldest in ids
    assert str(refusal.oldest) in refusal.message
    # The history is complete from there on; a follower that has read nothing gets what is kept.
    for after in ([refusal.oldest - 64], []):
        harness.say("gateway-1", follow(after, token=2), More(2))
        assert replayed(harness)[2] == b"[%d]" % (ids.index(refusal.oldest) + 1)


@pytest.mark.parametrize("after", [(), (64,)])
def test_a_follower_that_reads_more_slowly_than_the_history_is_trimmed_is_refused(
    after, harness, monkeypatch
):
    """The follower could not notice that events between two pages are missing."""
    monkeypatch.setattr("fox_shard.shard.pubsub.replay.PAGE_EVENTS", 4)
    ids = record(harness, *range(1, 9))
    after = after and (ids[0] - 64,)
    harness.say("gateway-1", follow(after))
    harness.say("gateway-1", More(1))
    assert replayed(harness) == ["Subscribed", "Paused", b"[1]", b"[2]", b"[3]", b"[4]", "Paused"]
    # Nothing has been trimmed yet that was not sent.
    record(harness, *range(9, 19))
    harness.say("gateway-1", More(1))
    assert replayed(harness) == [b"[5]", b"[6]", b"[7]", b"[8]", "Paused"]
    record(harness, *range(19, 40))
    harness.say("gateway-1", More(1))
    [refusal] = harness.got("gateway-1", REPLAY)
    assert (type(refusal), refusal.token) == (NotSubscribed, 1)
    assert refusal.oldest > ids[-1]
    assert harness.shard.subscriptions.replays(harness.shard.peers["gateway-1"]) == {}


def test_earlier_trimming_is_no_gap_for_a_follower_that_has_read_nothing(harness, monkeypatch):
    monkeypatch.setattr("fox_shard.shard.pubsub.replay.PAGE_EVENTS", 4)
    record(harness, *range(1, 7), topic="free", flags=ACKNOWLEDGE | TRACE)
    record(harness, *range(7, 40))
    harness.say("gateway-1", follow(), More(1), More(1), More(1))
    assert NotSubscribed not in [type(one) for one in harness.got("gateway-1")]


def test_a_follower_is_sent_the_events_that_it_missed_before_a_restart(harness):
    """The publisher's gateway has gone, and does not send the event again."""
    first, *_ = record(harness, 1)
    harness["gateway-1"].replay = [follow(token=0, start_id=first)]
    harness.say("gateway-1", follow(), More(1))
    harness.got("gateway-1")
    harness["gateway-1"].deaf = True
    harness.say("gateway-0", publish("ruled.a", request=2, args=b"[2]"), reliable=True)
    harness.kill("gateway-0")
    harness.restart()
    harness.pass_time(harness.terms.peer_timeout + 1)
    assert live(harness) == [b"[2]"]
    assert harness.got("gateway-1", Event) == []


@pytest.mark.parametrize("units", [6, 40])
def test_missed_events_are_sent_over_several_turns_before_live_ones(units):
    """Else the gateway would take the missed ones for old ones, and drop them."""
    harness = ShardHarness(gateways=3, realms=[Realm(name=REALM, history=(History(topic="#"),))])
    first, *_ = record(harness, 1)
    harness["gateway-1"].replay = [follow(token=0, start_id=first)]
    harness.say("gateway-1", follow(), More(1))
    harness["gateway-1"].deaf = True
    many = [publish("ruled.a", request=n, args=b"[%d]" % n) for n in range(2, 202)]
    harness.say("gateway-0", *many, reliable=True)
    harness.turns(10)
    harness.restart()
    harness["gateway-1"].got.clear()
    limit(harness, units)
    harness.shard.tick(harness.now)
    while not harness.shard.scheduler.busy:
        harness.turn()
    turns = 0
    while harness.shard.scheduler.busy:
        n = 1000 + turns
        harness.send("gateway-2", publish("ruled.b", request=n, args=b"[%d]" % n), reliable=True)
        harness.turn()
        harness.turn()
        turns += 1
        assert turns < 500
    harness.turns(10)
    assert turns > 3
    seen = {}
    for frame in harness.got("gateway-1"):
        assert not (isinstance(frame, Settled) and len(seen) < 200)
        if isinstance(frame, SelectedEvent):
            # As the gateway does: what comes too late is dropped.
            last = [*seen.values()][-1:]
            if not last or frame.event.publication > last[0]:
                seen[frame.event.publish.args] = frame.event.publication
    assert [*seen] == [b"[%d]" % n for n in [*range(2, 202), *range(1000, 1000 + turns)]]


def test_followers_that_unsubscribe_while_missed_events_are_sent_get_no_more_of_them(harness):
    harness = ShardHarness(gateways=3, realms=[Realm(name=REALM, history=(History(topic="#"),))])
    first, *_ = record(harness, *range(1, 50))
    limit(harness, 2)
    harness.say("gateway-1", follow(token=0, start_id=first))
    got = len(live(harness))
    assert 0 < got < 48
    harness.send("gateway-1", Unsubscribe(REALM, "*#", ID))
    settle(harness)
    assert got + len(live(harness)) < 48
    assert harness.shard.peers["gateway-1"].followers_behind == 0


@pytest.mark.parametrize("units", [1, 40])
def test_a_long_history_without_matching_events_is_passed_over_in_several_turns(units):
    harness = ShardHarness(gateways=3, realms=[Realm(name=REALM, history=(History(topic="#"),))])
    many = [publish(f"t{n}.{'wanted' if n == 1505 else 'other'}", request=n) for n in range(2000)]
    harness.say("gateway-0", *many, reliable=True)
    settle(harness)
    ids = [id_ for one in harness.got("gateway-0", Published) for id_ in one.publications]
    selector = SelectorSpec(ID, follow=True)
    harness.say("gateway-1", Subscribe(1, REALM, "*+.wanted", False, selector, []))
    limit(harness, units)
    harness.send("gateway-1", More(1))
    assert settle(harness, 300) >= 2000 / EXAMINED_PER_UNIT / units - 1
    found = harness.got("gateway-1", Recorded)
    assert [one.event.publication for one in found] == [ids[1505]]
    assert harness.got("gateway-1", CaughtUp) != []


def test_a_follower_that_missed_events_trimmed_meanwhile_is_refused(harness):
    first, *_ = record(harness, 1)
    harness["gateway-1"].replay = [follow(token=0, start_id=first)]
    harness.say("gateway-1", follow(), More(1))
    harness.got("gateway-1")
    harness["gateway-1"].deaf = True
    record(harness, *range(2, 60))
    harness["gateway-1"].deaf = False
    harness["gateway-1"].link.break_off(harness.now)
    harness.turns(6)
    (refusal, *_) = harness.got("gateway-1", NotSubscribed)
    assert (refusal.token, refusal.selector, refusal.uri) == (0, ID, "fox.error.history_gap")
    assert refusal.oldest > first


def test_no_live_event_comes_before_the_events_that_a_follower_missed(harness):
    """A follower drops what is older than what it has got."""
    first, _ = record(harness, 1, 2)
    subscriptions = harness.shard.subscriptions
    subscriptions._welcomed = False  # as in a turn without budget
    harness.say("gateway-1", follow(token=0, start_id=first))
    record(harness, 3)
    assert live(harness) == []
    subscriptions.begin_replays()
    harness.turns(1)
    assert live(harness) == [b"[2]", b"[3]"]
    record(harness, 4)
    assert live(harness) == [b"[4]"]
    harness.say("gateway-1", Unsubscribe(REALM, "*#", ID))
    record(harness, 5)
    assert live(harness) == []
