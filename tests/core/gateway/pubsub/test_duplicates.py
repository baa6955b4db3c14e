"""Events that come again from a shard that has restarted: nobody gets one twice, or misses one."""

import pytest
from gateway_harness import GatewayStage, event, fence

from fox_shard.backplane.frames import RECORDED, Again, Reached, Retained, Settled, Subscribed
from fox_shard.gateway.pubsub.duplicates import Repeats


@pytest.fixture
def repeats():
    """Of a gateway that shard 0 has restarted under."""
    repeats = Repeats(2)
    for incarnation in (7, 8):
        repeats.opened(0, incarnation)
    return repeats


def test_what_was_had_is_not_new(repeats):
    repeats.note(0, 5)
    assert not repeats.is_new(0, 5)
    assert repeats.is_new(0, 6)


def test_what_was_missed_is_new_once(repeats):
    assert repeats.is_new(0, 5)
    assert not repeats.is_new(0, 5)


@pytest.mark.parametrize(
    ("incarnations", "new"),
    [([], False), ([7], False), ([7, 7], False), ([7, 8], True), ([7, 8, 8], True)],
)
def test_only_who_was_there_before_the_restart_can_have_missed_something(incarnations, new):
    repeats = Repeats(2)
    for incarnation in incarnations:
        repeats.opened(0, incarnation)
    assert repeats.is_new(0, 5) is new
    assert not repeats.is_new(1, 5)


def test_shards_have_publications_of_their_own(repeats):
    for incarnation in (7, 8):
        repeats.opened(1, incarnation)
    repeats.note(0, 5)
    assert repeats.is_new(1, 5)


def test_what_is_settled_is_old_whether_it_was_had_or_not(repeats):
    for publication in (3, 9):
        repeats.note(0, publication)
    repeats.settled(1, 9)
    assert repeats.is_new(0, 4)
    repeats.settled(0, 5)
    news = [repeats.is_new(0, publication) for publication in (3, 5, 6, 9)]
    assert news == [False, False, True, False]


# In the gateway


@pytest.fixture
def stage():
    return GatewayStage(shards=1)


@pytest.fixture
def reader(stage):
    """It is subscribed to everything."""
    session = stage.session()
    stage.subscribe(session, "*#")
    stage.turns()
    stage.say("shard-0", Subscribed(stage.got("shard-0")[-1].token))
    session.take()
    return session


def restart(stage, incarnation=2):
    stage.kill("shard-0")
    stage.join("shard-0", incarnation)
    stage.pass_time(0.5)


def test_an_event_that_was_missed_is_delivered_when_it_comes_again(stage, reader):
    stage.say("shard-0", event(1, flags=RECORDED))
    restart(stage)
    stage.say("shard-0", Again(event(1, flags=RECORDED)), Again(event(2)), Again(event(2)))
    assert reader.written == ["w:1", "w:2"]


def test_a_gateway_that_came_after_the_restart_has_missed_nothing(stage, reader):
    stage.say("shard-0", Again(event(1)))
    assert reader.written == []


def test_what_has_come_again_waits_for_its_fence(stage, reader):
    restart(stage)
    mark = fence((0, 5, 3))
    stage.say("shard-0", Again(event(1, fence=mark)))
    assert reader.written == []
    stage.say("shard-0", Again(event(1, fence=mark)), Reached("gateway-1", 5, 3))
    assert reader.written == ["w:1"]


def test_an_event_that_is_held_back_is_not_delivered_twice(stage, reader):
    """It has come before the restart, and what it waits for comes behind it."""
    mark = fence((0, 5, 3))
    stage.say("shard-0", event(1, flags=RECORDED, fence=mark))
    restart(stage)
    stage.say("shard-0", Again(event(1, flags=RECORDED, fence=mark)))
    stage.say("shard-0", Reached("gateway-1", 5, 3))
    assert reader.written == ["w:1"]


def test_an_event_of_before_all_was_settled_is_old(stage, reader):
    """Nobody had subscribed to it then."""
    stage.say("shard-0", Settled(1))
    restart(stage)
    stage.say("shard-0", Again(event(1)), Again(event(2)))
    assert reader.written == ["w:2"]


def test_a_new_subscriber_does_not_get_what_is_older_than_the_key_he_was_shown():
    stage = GatewayStage(shards=2)
    session = stage.session()
    restart(stage)
    stage.subscribe(session, "*#", replay=True)
    stage.turns()
    token = stage.got("shard-0")[-1].token
    stage.say("shard-0", Retained(token, event(5, "key")), Subscribed(token))
    # Another shard has not confirmed; meanwhile:
    stage.say("shard-0", *(Again(event(n, "key")) for n in (4, 5, 6)), Again(event(3, "other")))
    stage.say("shard-1", Subscribed(token))
    assert session.take() == [("subscribed", 1, "*#", [5])]
    assert session.written == ["w:6", "w:3"]
