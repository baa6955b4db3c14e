"""Events that a restarted shard sends again: no session gets one twice, or misses one."""

import pytest
from gateway_harness import GatewayHarness, event, fence

from fox_shard.backplane.frames import RECORDED, Again, FencePassed, Retained, Settled, Subscribed
from fox_shard.gateway.pubsub.duplicates import SeenEvents


@pytest.fixture
def seen_events():
    """The events seen by a gateway whose shard 0 has restarted."""
    seen_events = SeenEvents(2)
    for incarnation in (7, 8):
        seen_events.link_opened(0, incarnation)
    return seen_events


def test_an_event_that_was_received_is_not_new(seen_events):
    seen_events.add(0, 5)
    assert not seen_events.is_new(0, 5)
    assert seen_events.is_new(0, 6)


def test_a_missed_event_is_new_once(seen_events):
    assert seen_events.is_new(0, 5)
    assert not seen_events.is_new(0, 5)


@pytest.mark.parametrize(
    ("incarnations", "new"),
    [([], False), ([7], False), ([7, 7], False), ([7, 8], True), ([7, 8, 8], True)],
)
def test_only_a_gateway_linked_before_the_restart_can_have_missed_events(incarnations, new):
    seen_events = SeenEvents(2)
    for incarnation in incarnations:
        seen_events.link_opened(0, incarnation)
    assert seen_events.is_new(0, 5) is new
    assert not seen_events.is_new(1, 5)


def test_publications_of_different_shards_are_told_apart(seen_events):
    for incarnation in (7, 8):
        seen_events.link_opened(1, incarnation)
    seen_events.add(0, 5)
    assert seen_events.is_new(1, 5)


def test_a_settled_event_is_old_whether_it_was_received_or_not(seen_events):
    for publication in (3, 9):
        seen_events.add(0, publication)
    seen_events.settled(1, 9)
    assert seen_events.is_new(0, 4)
    seen_events.settled(0, 5)
    news = [seen_events.is_new(0, publication) for publication in (3, 5, 6, 9)]
    assert news == [False, False, True, False]


# In the gateway


@pytest.fixture
def harness():
    return GatewayHarness(shards=1)


@pytest.fixture
def reader(harness):
    """A session that has subscribed to everything."""
    session = harness.session()
    harness.subscribe(session, "*#")
    harness.turns()
    harness.say("shard-0", Subscribed(harness.got("shard-0")[-1].token))
    session.take()
    return session


def restart(harness, incarnation=2):
    harness.kill("shard-0")
    harness.join("shard-0", incarnation)
    harness.pass_time(0.5)


def test_a_missed_event_is_delivered_when_it_is_sent_again(harness, reader):
    harness.say("shard-0", event(1, flags=RECORDED))
    restart(harness)
    harness.say("shard-0", Again(event(1, flags=RECORDED)), Again(event(2)), Again(event(2)))
    assert reader.written == ["w:1", "w:2"]


def test_a_gateway_first_linked_after_the_restart_has_missed_nothing(harness, reader):
    harness.say("shard-0", Again(event(1)))
    assert reader.written == []


def test_an_event_that_is_sent_again_waits_for_its_fence(harness, reader):
    restart(harness)
    mark = fence((0, 5, 3))
    harness.say("shard-0", Again(event(1, fence=mark)))
    assert reader.written == []
    harness.say("shard-0", Again(event(1, fence=mark)), FencePassed("gateway-1", 5, 3))
    assert reader.written == ["w:1"]


def test_an_event_that_is_held_back_is_not_delivered_twice(harness, reader):
    """The event comes before the restart, and the answer that it waits for after it."""
    mark = fence((0, 5, 3))
    harness.say("shard-0", event(1, flags=RECORDED, fence=mark))
    restart(harness)
    harness.say("shard-0", Again(event(1, flags=RECORDED, fence=mark)))
    harness.say("shard-0", FencePassed("gateway-1", 5, 3))
    assert reader.written == ["w:1"]


def test_a_settled_event_is_not_delivered_when_it_is_sent_again(harness, reader):
    """The gateway has had every event up to the settled id that concerns it."""
    harness.say("shard-0", Settled(1))
    restart(harness)
    harness.say("shard-0", Again(event(1)), Again(event(2)))
    assert reader.written == ["w:2"]


def test_a_new_subscriber_gets_no_event_older_than_the_key_it_was_shown():
    harness = GatewayHarness(shards=2)
    session = harness.session()
    restart(harness)
    harness.subscribe(session, "*#", replay=True)
    harness.turns()
    token = harness.got("shard-0")[-1].token
    harness.say("shard-0", Retained(token, event(5, "key")), Subscribed(token))
    # The other shard has not confirmed yet.
    harness.say("shard-0", *(Again(event(n, "key")) for n in (4, 5, 6)), Again(event(3, "other")))
    harness.say("shard-1", Subscribed(token))
    assert session.take() == [("subscribed", 1, "*#", [5])]
    assert session.written == ["w:6", "w:3"]
