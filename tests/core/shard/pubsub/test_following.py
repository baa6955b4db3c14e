"""Subscribers who get the history first (semantics: `after`)."""

import pytest
from shard_harness import REALM, Stage, publish

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
    Selected,
    Selection,
    Subscribe,
    Subscribed,
)
from fox_shard.config import History, Realm
from fox_shard.shard.pubsub.replay import PAGE_EVENTS
from fox_shard.topics.ids import pattern_id

RULED = Realm(name=REALM, history=(History(topic="ruled.#", max_events=16),))
ID = pattern_id(REALM, "subscription", "follow")
REPLAY = Subscribed | Paused | Retained | Recorded | CaughtUp | NotSubscribed


def follow(after=(), *, token=1, **more):
    selection = Selection(ID, follow=True)
    replay = more.pop("replay", False)
    return Subscribe(token, REALM, "*#", replay, selection, list(after), **more)


@pytest.fixture
def stage():
    return Stage(gateways=3, realms=[RULED])


def record(stage, *numbers, topic="ruled.a", **more):
    """Publish them; returns their ids."""
    for number in numbers:
        one = publish(topic, request=number, args=b"[%d]" % number, **more)
        stage.say("gateway-0", one, reliable=True)
    return [id_ for one in stage.got("gateway-0", Published) for id_ in one.publications]


def replayed(stage, gateway="gateway-1"):
    """Names of the frames of a replay, and the values in them, until it waits or is over."""
    found = []
    for frame in stage.got(gateway, REPLAY):
        event = getattr(frame, "event", None)
        found.append(type(frame).__name__ if event is None else event.publish.args)
    return found


def live(stage, gateway="gateway-1"):
    frames = stage.got(gateway, Selected)
    assert all(frame.follow for frame in frames)
    return [frame.event.publish.args for frame in frames]


def test_the_history_comes_when_it_is_asked_for_and_then_what_is_live(stage):
    record(stage, 1, 2)
    stage.say("gateway-1", follow())
    assert replayed(stage) == ["Subscribed", "Paused"]
    record(stage, 3)
    stage.say("gateway-1", More(1))
    assert replayed(stage) == [b"[1]", b"[2]", b"[3]", "CaughtUp"]
    record(stage, 4)
    assert live(stage) == [b"[3]", b"[4]"]  # what came before CaughtUp the gateway leaves out


def test_who_has_read_some_gets_the_rest(stage):
    first, second = record(stage, 1, 2)
    stage.say("gateway-1", follow([first]), More(1))
    assert replayed(stage)[2:] == [b"[2]", "CaughtUp"]
    stage.say("gateway-1", follow([], token=2, floor=second), More(2))
    assert replayed(stage)[2:] == ["CaughtUp"]


def test_keys_are_before_the_history(stage):
    record(stage, 1, flags=ACKNOWLEDGE | RETAIN)
    stage.say("gateway-1", follow(replay=True), More(1))
    assert replayed(stage)[2:] == [b"[1]", b"[1]", "CaughtUp"]


def test_what_is_traced_is_recorded_and_marked(stage):
    record(stage, 1, topic="free", flags=ACKNOWLEDGE | TRACE)
    record(stage, 2, topic="free")
    stage.say("gateway-1", follow(), More(1))
    assert replayed(stage)[2:] == [b"[1]", "CaughtUp"]
    record(stage, 3)
    (event,) = [frame.event for frame in stage.got("gateway-1", Selected)]
    assert event.publish.flags & TRACE


def test_what_is_not_durable_is_live_later(stage):
    stage.disk.held = True
    record(stage, 1)
    stage.say("gateway-1", follow(), More(1))
    assert replayed(stage)[2:] == ["CaughtUp"]
    stage.disk.held = False
    stage.turns()
    assert live(stage) == [b"[1]"]


def test_a_long_history_comes_in_pages():
    realm = Realm(name=REALM, history=(History(topic="ruled.#", max_events=10_000),))
    stage = Stage(gateways=3, realms=[realm])
    stage.send(
        "gateway-0",
        *[publish("ruled.a", request=i, args=b"[%d]" % i) for i in range(PAGE_EVENTS + 1)],
        reliable=True,
    )
    stage.turns()
    stage.say("gateway-1", follow(), More(1))
    first = replayed(stage)
    assert (len(first), first[-1]) == (PAGE_EVENTS + 3, "Paused")
    stage.say("gateway-1", More(1))
    assert replayed(stage) == [b"[%d]" % PAGE_EVENTS, "CaughtUp"]


def test_a_history_that_was_trimmed_is_refused_by_its_oldest_id(stage):
    ids = record(stage, *range(1, 40))
    stage.say("gateway-1", follow([ids[0]]))
    (refusal,) = stage.got("gateway-1", REPLAY)
    assert type(refusal) is NotSubscribed
    assert (refusal.token, refusal.uri) == (1, "fox.error.history_gap")
    assert refusal.oldest in ids
    assert str(refusal.oldest) in refusal.message
    # From there on it is complete; and who has seen nothing gets what there is.
    for after in ([refusal.oldest - 64], []):
        stage.say("gateway-1", follow(after, token=2), More(2))
        assert replayed(stage)[2] == b"[%d]" % (ids.index(refusal.oldest) + 1)


@pytest.mark.parametrize("after", [(), (64,)])
def test_who_reads_slower_than_the_history_is_trimmed_is_told_so(after, stage, monkeypatch):
    """He would never know of what has gone between two pages."""
    monkeypatch.setattr("fox_shard.shard.pubsub.replay.PAGE_EVENTS", 4)
    ids = record(stage, *range(1, 9))
    after = after and (ids[0] - 64,)
    stage.say("gateway-1", follow(after))
    stage.say("gateway-1", More(1))
    assert replayed(stage) == ["Subscribed", "Paused", b"[1]", b"[2]", b"[3]", b"[4]", "Paused"]
    # Here nothing has gone yet that has not come.
    record(stage, *range(9, 19))
    stage.say("gateway-1", More(1))
    assert replayed(stage) == [b"[5]", b"[6]", b"[7]", b"[8]", "Paused"]
    record(stage, *range(19, 40))
    stage.say("gateway-1", More(1))
    [refusal] = stage.got("gateway-1", REPLAY)
    assert (type(refusal), refusal.token) == (NotSubscribed, 1)
    assert refusal.oldest > ids[-1]
    assert stage.shard.subscriptions.replays(stage.shard.peers["gateway-1"]) == {}


def test_what_was_trimmed_before_does_not_matter_to_who_reads_all_there_is(stage, monkeypatch):
    monkeypatch.setattr("fox_shard.shard.pubsub.replay.PAGE_EVENTS", 4)
    record(stage, *range(1, 7), topic="free", flags=ACKNOWLEDGE | TRACE)
    record(stage, *range(7, 40))
    stage.say("gateway-1", follow(), More(1), More(1), More(1))
    assert NotSubscribed not in [type(one) for one in stage.got("gateway-1")]


def test_who_follows_is_sent_what_was_not_heard_before_a_restart(stage):
    """Its publisher's gateway has gone, and does not send it again."""
    first, *_ = record(stage, 1)
    stage["gateway-1"].replay = [follow(token=0, start_id=first)]
    stage.say("gateway-1", follow(), More(1))
    stage.got("gateway-1")
    stage["gateway-1"].deaf = True
    stage.say("gateway-0", publish("ruled.a", request=2, args=b"[2]"), reliable=True)
    stage.kill("gateway-0")
    stage.restart()
    stage.pass_time(stage.terms.peer_timeout + 1)
    assert live(stage) == [b"[2]"]
    assert stage.got("gateway-1", Event) == []


def test_who_has_missed_what_is_trimmed_meanwhile_is_told_so(stage):
    first, *_ = record(stage, 1)
    stage["gateway-1"].replay = [follow(token=0, start_id=first)]
    stage.say("gateway-1", follow(), More(1))
    stage.got("gateway-1")
    stage["gateway-1"].deaf = True
    record(stage, *range(2, 60))
    stage["gateway-1"].deaf = False
    stage["gateway-1"].link.break_off(stage.now)
    stage.turns(6)
    (refusal, *_) = stage.got("gateway-1", NotSubscribed)
    assert (refusal.token, refusal.selection, refusal.uri) == (0, ID, "fox.error.history_gap")
    assert refusal.oldest > first
