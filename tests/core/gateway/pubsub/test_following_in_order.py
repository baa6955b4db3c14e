"""A follower gets the history of all shards in the order of publication ids."""

import pytest
from gateway_harness import FakeEncoder, GatewayHarness, event
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.backplane.frames import (
    TRACE,
    CaughtUp,
    More,
    Paused,
    Recorded,
    SelectedEvent,
    Subscribe,
    Subscribed,
)

SHARDS = ("shard-0", "shard-1")


class Follower:
    """A session that follows everything, and what its gateway asks of two shards."""

    def __init__(self):
        self.harness = GatewayHarness(shards=2)
        self.session = self.harness.session(FakeEncoder())
        self.harness.subscribe(self.session, "*#", after=())
        self.asked = [self.harness.got(name, Subscribe)[0] for name in SHARDS]
        self.token = self.asked[0].token
        for name in SHARDS:
            self.harness.say(name, Subscribed(self.token), Paused(self.token))

    def page(self, shard, *ids, over=None):
        """Let the shard send a page of the history, which ends at `over`; None: there is more."""
        recorded = [Recorded(self.token, event(id_, flags=TRACE)) for id_ in ids]
        end = Paused(self.token) if over is None else CaughtUp(self.token, over)
        self.harness.say(SHARDS[shard], *recorded, end)

    def live(self, shard, id_):
        selected = SelectedEvent(event(id_, flags=TRACE), [self.asked[0].selector.id], follow=True)
        self.harness.say(SHARDS[shard], selected)

    def wanted(self):
        """Return the shards that were asked for more, since this was last called."""
        return [shard for shard in (0, 1) if self.harness.got(SHARDS[shard], More)]

    def again(self, shard):
        """Return from which id on the shard was asked to begin again; [] if it was not."""
        asked = self.harness.got(SHARDS[shard], Subscribe)
        return [one.start_id for one in asked if one.token == self.token]

    @property
    def seen(self):
        return [int(one.removeprefix("w:")) for one in self.session.written]


@pytest.fixture
def follower():
    one = Follower()
    assert one.wanted() == [0, 1]
    return one


def test_a_shards_events_wait_until_the_other_has_told_its_own(follower):
    follower.page(0, 64, 192, 320)
    assert follower.seen == []
    assert follower.wanted() == []
    follower.page(1, 129, 257)
    assert follower.seen == [64, 129, 192, 257]
    assert follower.wanted() == [1]
    follower.page(1, 385, over=400)
    assert follower.seen == [320]
    assert follower.wanted() == [0]
    follower.page(0, 448, over=500)
    assert follower.seen == [385, 448]


def test_a_page_of_which_nothing_is_wanted_is_followed_by_the_next_one(follower):
    follower.page(0, 64)
    follower.page(1)
    assert follower.seen == []
    assert follower.wanted() == [1]


def test_live_events_of_a_shard_whose_history_waits_are_requested_later(follower):
    follower.page(0, 64, over=70)
    follower.live(0, 128)
    assert follower.seen == []
    follower.page(1, 129, over=200)
    assert follower.seen == [64, 129]
    assert follower.again(0) == [70]
    assert follower.again(1) == []
    follower.page(0, 128, over=130)
    follower.live(0, 192)
    follower.live(1, 257)
    assert follower.seen == [128, 192, 257]
    assert follower.session.told == [("subscribed", 1, "*#", [])]


def test_an_empty_history_is_over_at_once(follower):
    follower.page(0, over=70)
    follower.live(0, 128)
    assert follower.seen == [128]
    assert follower.again(0) == []


def test_a_shard_that_returns_is_asked_for_what_was_not_shown(follower):
    follower.page(0, 64, 192)
    follower.page(1, 65)
    assert follower.seen == [64, 65]
    follower.harness.kill("shard-0")
    follower.harness.join("shard-0", incarnation=2)
    follower.harness.pass_time(0.5)
    assert follower.again(0) == [64]
    follower.page(1, 257)
    assert follower.seen == []
    follower.page(0, 192, over=200)
    assert follower.seen == [192, 257]


@given(st.data())
def test_the_history_comes_in_order_whatever_the_pages(data):
    follower = Follower()
    ids = [sorted(data.draw(st.sets(st.integers(1, 30), max_size=12))) for _ in SHARDS]
    left = [[64 * number + shard for number in ids[shard]] for shard in (0, 1)]
    everything = sorted(left[0] + left[1])
    seen = []
    due = [*follower.wanted()]
    while due:
        shard = due.pop(data.draw(st.integers(0, len(due) - 1)))
        size = data.draw(st.integers(0, 4))
        page, left[shard] = left[shard][:size], left[shard][size:]
        follower.page(shard, *page, over=None if left[shard] else 9999)
        seen += follower.seen
        due += follower.wanted()
        # What was asked for again is over at once: nothing has been recorded meanwhile.
        for other in (0, 1):
            if follower.again(other):
                follower.page(other, over=9999)
                seen += follower.seen
    assert seen == everything
    assert follower.harness.gateway.subscribe_requests.idle
