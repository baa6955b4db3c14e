"""A wish to subscribe, until all of it has come true."""

import pytest
from gateway_harness import REALM, Flavour, Spy, realm

from fox_shard.backplane.frames import TRACE, Event, Publish, Selected, Selection, Subscribe
from fox_shard.documents.payloads import JSON
from fox_shard.gateway.pubsub.pending import Pending, Progress
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.pattern import Pattern

FILTER = b"\x81\xa1a\x01"


def recorded(publication, flags=TRACE):
    return Event(publication, Publish(REALM, "a", 1, 1, 1, flags, JSON, b"[1]"))


def pending(wish, shards=(0, 2), text="*#"):
    subscription = Subscription(REALM, Pattern.parse(text), wish)
    return Pending(7, Spy(realm(3), Flavour(), 1), 1, subscription, 0, wish, shards)


@pytest.mark.parametrize(
    ("wish", "replays"),
    [
        (SubscribeOptions(), False),
        (SubscribeOptions(state=True), False),
        (SubscribeOptions(filter=FILTER), False),
        (SubscribeOptions(replay=True), True),
        (SubscribeOptions(replay=True, snapshot=True), True),
        (SubscribeOptions(after=()), True),
    ],
)
def test_a_shard_is_behind_until_its_replay_is_over(wish, replays):
    assert wish.replays is replays
    one = pending(wish)
    assert [*one.waiting] == [0, 2]
    assert [*one.behind] == ([0, 2] if replays else [])
    assert [one.is_asked(shard) for shard in range(3)] == [True, False, True]
    one.waiting.clear()
    assert [one.is_asked(shard) for shard in range(3)] == [replays, False, replays]


@pytest.mark.parametrize(
    ("wish", "selection"),
    [
        (SubscribeOptions(replay=True), None),
        (SubscribeOptions(replay=True, state=True), Selection(0, True)),
        (SubscribeOptions(filter=FILTER), Selection(0, False, FILTER)),
        (SubscribeOptions(replay=True, snapshot=True), None),
        (
            SubscribeOptions(replay=True, state=True, filter=FILTER, snapshot=True),
            Selection(0, True, FILTER),
        ),
    ],
)
def test_a_shard_is_asked_for_what_is_wished(wish, selection):
    one = pending(wish)
    if selection is not None:
        selection.id = one.subscription.id
    expected = Subscribe(7, REALM, "*#", wish.replay, selection, once=wish.snapshot)
    assert one.subscribe(0) == expected


def test_a_shard_that_returns_is_asked_for_the_rest():
    one = pending(SubscribeOptions(replay=True))
    one.behind[2] = Progress("m", paused=True)
    asked = one.subscribe(2)
    assert (asked.start_topic, asked.replay) == ("m", True)
    assert not one.behind[2].paused
    assert one.subscribe(0).start_topic == ""


def test_shards_do_not_share_their_progress():
    one = pending(SubscribeOptions(replay=True))
    one.behind[0].ahead["a"] = 1
    assert one.behind[2].ahead == {}


@pytest.mark.parametrize(
    ("wish", "live"),
    [
        (SubscribeOptions(), True),
        (SubscribeOptions(replay=True), True),
        (SubscribeOptions(state=True, replay=True), True),
        (SubscribeOptions(replay=True, snapshot=True), False),
        (SubscribeOptions(after=()), False),
    ],
)
def test_live_events_of_a_shard_that_has_confirmed_are_for_it(wish, live):
    """But for a snapshot never, and with history when that is over."""
    one = pending(wish)
    assert not one.is_live(0, recorded(5))
    one.waiting.pop(0)
    assert one.is_live(0, recorded(5)) is live
    assert not one.is_live(2, recorded(5))
    one.earlier = {5, -6}
    assert not one.is_live(0, recorded(5))
    assert not one.is_live(0, Selected(recorded(6), [1]))
    assert one.is_live(0, recorded(6)) is live


def test_what_is_not_in_the_history_is_not_to_be_awaited_from_it():
    one = pending(SubscribeOptions(after=()))
    one.waiting.pop(0)
    assert one.is_live(0, recorded(5, flags=0))
    assert one.is_live(0, Selected(recorded(5, flags=0), [1]))
    one.behind.pop(0)
    assert one.is_live(0, recorded(6))


# Names and ids: who wishes the same shares a subscription


def identity(text="*#", **wish):
    one = Subscription(REALM, Pattern.parse(text), SubscribeOptions(**wish))
    assert (one.selection is None) or one.selection.id == one.id
    return one.id


def test_what_is_wished_of_the_live_events_makes_the_subscription():
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
