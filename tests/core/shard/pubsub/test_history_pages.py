"""Pages of the history for `get_events`."""

import pytest
from limited_turns import limit, settle
from shard_harness import REALM, ShardHarness, publish

from fox_shard.backplane.frames import Event, HistoryPage, Published, ReadHistory
from fox_shard.config import History, Realm
from fox_shard.shard.history.event_log import EXAMINED_PER_UNIT
from fox_shard.topics.ids import MAX_ID

RULED = Realm(name=REALM, history=(History(topic="#"),))


@pytest.fixture
def harness():
    """A shard with 3,000 recorded events, of which every thousandth is on a topic `?.wanted`."""
    made = ShardHarness(gateways=3, realms=[RULED])
    topics = [f"t{n}.{'wanted' if n % 1000 == 500 else 'other'}" for n in range(3000)]
    for start in range(0, 3000, 500):
        some = [publish(topics[n], request=n) for n in range(start, start + 500)]
        made.say("gateway-0", *some, reliable=True)
    return made


def ids(harness):
    return [id_ for one in harness.got("gateway-0", Published) for id_ in one.publications]


def read(limit_=10, *, token=1, pattern="*+.wanted", first=0, last=MAX_ID, reverse=False):
    return ReadHistory(token, REALM, pattern, first, last, limit_, reverse)


def pages(harness, name="gateway-1"):
    return [
        (page.token, [event.publication for event in page.events], page.more)
        for page in harness.got(name, HistoryPage)
    ]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit_", [1, 2, 3])
def test_a_page_that_passes_over_many_events_is_made_over_several_turns(harness, reverse, limit_):
    every = ids(harness)
    wanted = [every[500], every[1500], every[2500]]
    limit(harness, 60)
    harness.send("gateway-1", read(limit_, reverse=reverse))
    turns = settle(harness)
    assert turns >= limit_ * 1000 / EXAMINED_PER_UNIT / 60
    expected = (wanted[::-1] if reverse else wanted)[:limit_]
    assert pages(harness) == [(1, expected, limit_ < 3)]


def test_others_are_served_meanwhile(harness):
    every = ids(harness)
    limit(harness, 60)
    harness.send("gateway-1", read())
    harness.turn()
    harness.turn()
    harness.send("gateway-2", read(1, token=2, pattern="=t100.other"))
    harness.send("gateway-0", publish("other", request=9999), reliable=True)
    answered = []
    for _ in range(100):
        harness.turn()
        answered += [(name, *page) for name in harness.peers for page in pages(harness, name)]
        answered += [("published",) for one in harness.got("gateway-0", Published)]
    assert ("published",) in answered[:2]
    assert ("gateway-2", 2, [every[100]], False) in answered[:2]
    assert [one[:2] for one in answered[2:]] == [("gateway-1", 1)]


def test_a_page_is_dropped_when_the_pair_of_its_gateway_ends(harness):
    limit(harness, 60)
    harness.send("gateway-1", read())
    harness.turn()
    harness.turn()
    assert harness.shard.scheduler.busy
    harness["gateway-1"].link.break_off(harness.now)
    harness.shard.connection_lost("gateway-1", harness.now)
    assert not harness.shard.scheduler.busy
    harness.turns(8)
    assert pages(harness) == []


def test_events_that_are_recorded_and_trimmed_meanwhile_disturb_no_page(harness):
    every = ids(harness)
    limit(harness, 60)
    harness.send("gateway-1", read(last=every[-1]))
    for _ in range(12):
        harness.turn()
        harness.send("gateway-0", publish("t1.wanted", request=5000), reliable=True)
    settle(harness)
    assert pages(harness) == [(1, [every[500], every[1500], every[2500]], False)]
    assert harness.got("gateway-1", Event) == []
