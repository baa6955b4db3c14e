"""What a shard says of all its events costs nothing per subscription, and reaches followers."""

from types import SimpleNamespace

import pytest

from fox_shard.backplane.frames import TRACE, Event, Publish
from fox_shard.backplane.placement import Placement
from fox_shard.documents.payloads import JSON
from fox_shard.gateway.pubsub.subscribers import Subscribers
from fox_shard.gateway.pubsub.subscriptions import Subscriptions
from fox_shard.gateway.sessions.realm import Realm
from fox_shard.gateway.sessions.subscription import SubscribeOptions, Subscription
from fox_shard.topics.pattern import Pattern


class NeverWalked(dict):
    def values(self):
        raise AssertionError("all subscriptions are walked")

    __iter__ = items = values


@pytest.fixture
def subscriptions():
    return Subscriptions(
        Realm("realm1", Placement(1)),
        [SimpleNamespace(open=False)],
        SimpleNamespace(wall=0.0),
        SimpleNamespace(active=False),
    )


def follower(settled):
    options = SubscribeOptions(after=())
    return Subscribers(Subscription("realm1", Pattern.wamp("a.b", "exact"), options), settled, 0.0)


def event(publication):
    return Event(publication, Publish("realm1", "a.b", 1, 1, 1, TRACE, JSON, b"[]"))


def test_many_subscriptions_do_not_make_it_dear_that_events_are_settled(subscriptions):
    subscriptions.by_id = subscriptions._by_name = NeverWalked({1: object()})
    subscriptions.settled(0, 7)


@pytest.mark.parametrize(
    ("before", "caught_up", "after", "last"),
    [
        (0, 10, 0, 10),
        (0, 10, 5, 10),
        (0, 10, 20, 20),
        # What was settled before the history had come says nothing of events that are held back.
        (15, 10, 0, 10),
        (15, 10, 15, 10),
        (15, 10, 16, 16),
    ],
)
def test_a_follower_goes_on_behind_what_has_settled_since_its_history_came(
    subscriptions, before, caught_up, after, last
):
    subscribers = follower(subscriptions._settled)
    assert subscribers.last_recorded(0) == 0
    subscriptions.settled(0, before)
    subscribers.history_caught_up(0, caught_up)
    subscriptions.settled(0, after)
    assert subscribers.last_recorded(0) == last
    assert not subscribers.is_next(event(last), 0)
    assert subscribers.is_next(event(last + 1), 0)
    assert not subscribers.is_next(event(last + 1), 0)
    assert subscribers.last_recorded(0) == last + 1
    assert subscribers.last_recorded(1) == 0
