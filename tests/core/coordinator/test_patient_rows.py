"""Rows of sessions wait for others, unless somebody may want their news."""

import pytest
from coordinators import CoordinatorSite
from msgspec.structs import replace

from fox_shard.backplane.frames import Join, Leave, Listening
from fox_shard.backplane.placement import SESSION
from fox_shard.coordinator.node import COMMIT_INTERVAL, PATIENCE


def join(session):
    return Join(session, "realm1", *["x"] * 7, client="", began=0.0, replay=False)


class Site(CoordinatorSite):
    """A coordinator with a shard and a gateway; both know that nobody listens."""

    def __init__(self):
        super().__init__()
        self.shard, self.gateway = self.start("shard-0"), self.start("gateway-0")
        self.pass_time(1)
        self.listen(SESSION, 0)
        self.pass_time(2 * PATIENCE)

    def listen(self, kind, number):
        self.shard.link.send(Listening("realm1", kind, number))
        self.pass_time(3 * COMMIT_INTERVAL)

    def told(self):
        """Return how much the gateway still keeps of what it has told."""
        return self.gateway.link.reliably_sent - self.gateway.link.forgotten

    def tell(self, frame):
        self.gateway.link.send_reliable(frame)
        self.pass_time(3 * COMMIT_INTERVAL)


@pytest.fixture
def site():
    return Site()


def test_sessions_that_come_and_go_unheard_share_a_transaction(site):
    before = site.node.journal.ticket
    site.tell(join(1))
    site.tell(Leave(1, graceful=True))
    assert site.told() == 2
    assert site.node.journal.ticket == before
    site.pass_time(PATIENCE)
    assert site.told() == 0
    assert site.node.journal.ticket == before + 1


@pytest.mark.parametrize("kind", [SESSION, "subscription"])
def test_news_that_somebody_may_want_waits_no_longer_than_the_interval(site, kind):
    site.listen(kind, 3)
    site.tell(join(1))
    assert site.told() == 0


def test_patient_rows_are_in_the_next_transaction_that_is_not(site):
    site.tell(join(1))
    assert site.told() == 1
    site.listen(SESSION, 3)
    assert site.told() == 0


def test_what_was_not_stored_yet_is_told_again_to_the_next_coordinator(site):
    site.tell(join(1))
    assert not any(b"realm1" in row for row in site.disk.rows.values())
    site.gateway.replay = [replace(join(1), replay=True)]
    site.restart()
    site.pass_time(2 * PATIENCE)
    assert site.node.core.session_count() == 1
    assert site.told() == 0
