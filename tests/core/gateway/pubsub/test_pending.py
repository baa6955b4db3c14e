"""One pending subscription, until its replay is over."""

import pytest
from gateway_harness import REALM, FakeEncoder, RecordingSession, realm

from fox_shard.backplane.frames import TRACE, Event, Publish, SelectedEvent, SelectorSpec, Subscribe
from fox_shard.documents.payloads import JSON
from fox_shard.gateway.pubsub.pending import PendingSubscription, ReplayProgress
from fox_shard.gateway.sessions.held_events import HeldBefore
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.pattern import Pattern

FILTER = b"\x81\xa1a\x01"


def recorded(publication, flags=TRACE):
    return Event(publication, Publish(REALM, "a", 1, 1, 1, flags, JSON, b"[1]"))


def pending(options, shards=(0, 2), text="*#"):
    subscription = Subscription(REALM, Pattern.parse(text), options)
    return PendingSubscription(
        7, RecordingSession(realm(3), FakeEncoder(), 1), 1, subscription, 0, options, shards, 5.0
    )


@pytest.mark.parametrize(
    ("options", "replays"),
    [
        (SubscribeOptions(), False),
        (SubscribeOptions(state=True), False),
        (SubscribeOptions(filter=FILTER), False),
        (SubscribeOptions(replay=True), True),
        (SubscribeOptions(replay=True, snapshot=True), True),
        (SubscribeOptions(after=()), True),
    ],
)
def test_a_shard_is_behind_until_its_replay_is_over(options, replays):
    assert options.replays is replays
    one = pending(options)
    assert [*one.unconfirmed_shards] == [0, 2]
    assert [*one.replaying] == ([0, 2] if replays else [])
    assert [one.is_asked(shard) for shard in range(3)] == [True, False, True]
    one.unconfirmed_shards.clear()
    assert [one.is_asked(shard) for shard in range(3)] == [replays, False, replays]


@pytest.mark.parametrize(
    ("options", "selector"),
    [
        (SubscribeOptions(replay=True), None),
        (SubscribeOptions(replay=True, state=True), SelectorSpec(0, True)),
        (SubscribeOptions(filter=FILTER), SelectorSpec(0, False, FILTER)),
        (SubscribeOptions(replay=True, snapshot=True), None),
        (
            SubscribeOptions(replay=True, state=True, filter=FILTER, snapshot=True),
            SelectorSpec(0, True, FILTER),
        ),
    ],
)
def test_a_shard_is_asked_for_what_the_options_say(options, selector):
    one = pending(options)
    if selector is not None:
        selector.id = one.subscription.id
    expected = Subscribe(
        7, REALM, "*#", options.replay, selector, once=options.snapshot, created=5.0
    )
    assert one.subscribe(0) == expected


def test_a_shard_that_returns_is_asked_for_the_rest_of_the_replay():
    one = pending(SubscribeOptions(replay=True))
    one.replaying[2] = ReplayProgress("m", paused=True)
    asked = one.subscribe(2)
    assert (asked.start_topic, asked.replay) == ("m", True)
    assert not one.replaying[2].paused
    assert one.subscribe(0).start_topic == ""


def test_shards_do_not_share_their_progress():
    one = pending(SubscribeOptions(replay=True))
    one.replaying[0].ahead["a"] = 1
    assert one.replaying[2].ahead == {}


@pytest.mark.parametrize(
    ("options", "live"),
    [
        (SubscribeOptions(), True),
        (SubscribeOptions(replay=True), True),
        (SubscribeOptions(state=True, replay=True), True),
        (SubscribeOptions(replay=True, snapshot=True), False),
        (SubscribeOptions(after=()), False),
    ],
)
def test_live_events_of_a_shard_that_has_confirmed_are_for_the_subscription(options, live):
    """A snapshot never gets any, and a follower gets recorded ones only after its history."""
    one = pending(options)
    assert not one.is_live(0, recorded(5))
    one.unconfirmed_shards.pop(0)
    assert one.is_live(0, recorded(5)) is live
    assert not one.is_live(2, recorded(5))
    one.held_back_before = {0: HeldBefore({5: 1, -6: 2, 6: 3}, 2)}
    assert not one.is_live(0, recorded(5))
    assert not one.is_live(0, SelectedEvent(recorded(6), [1]))
    assert one.is_live(0, recorded(6)) is live


def test_a_follower_gets_unrecorded_events_before_its_history_is_over():
    one = pending(SubscribeOptions(after=()))
    one.unconfirmed_shards.pop(0)
    assert one.is_live(0, recorded(5, flags=0))
    assert one.is_live(0, SelectedEvent(recorded(5, flags=0), [1]))
    one.replaying.pop(0)
    assert one.is_live(0, recorded(6))


# Ids: sessions that ask for the same share a subscription


def identity(text="*#", **options):
    one = Subscription(REALM, Pattern.parse(text), SubscribeOptions(**options))
    assert (one.selector is None) or one.selector.id == one.id
    return one.id


def test_the_id_of_a_subscription_depends_only_on_the_options_for_live_events():
    others = [
        identity(),
        identity("*+"),
        identity(state=True),
        identity(filter=FILTER),
        identity(filter=FILTER[:-1] + b"\x02"),
        identity(state=True, filter=FILTER),
        identity(snapshot=True),
        identity(snapshot=True, filter=FILTER),
        identity(snapshot=True, state=True, filter=FILTER),
        identity(after=()),
        identity(after=(), filter=FILTER),
    ]
    assert len(set(others)) == len(others)
    assert identity(replay=True) == identity()
    assert identity(after=(7,), replay=True) == identity(after=())
    assert identity(state=True, replay=True) == identity(state=True)
