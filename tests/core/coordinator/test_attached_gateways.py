"""The coordinator and gateways that come and go."""

import pytest
from coordinators import CoordinatorSite

from fox_shard.backplane.attached import name_of
from fox_shard.backplane.frames import Counted, Join, Listening, Membership, Publish, TakeCensus
from fox_shard.backplane.placement import ON_LEAVE
from fox_shard.testing.leftovers import mentions

GUEST = name_of(1)
SUBSCRIPTION = "subscription"


@pytest.fixture
def site():
    site = CoordinatorSite()
    site.start("shard-0")
    site.start("gateway-0")
    site.pass_time(1)
    return site


def join(session):
    return Join(session, "realm1", *["x"] * 7, client="", began=0.0, replay=False)


def gone(site):
    return 2 * site.terms.attached_timeout + 2 * site.terms.heartbeat


def nothing_left(site):
    site.node.notices.clear()
    site.node.forgotten.clear()
    name = GUEST.encode()
    on_disk = [key for key, value in site.disk.rows.items() if name in key + value]
    return mentions(site.node, GUEST, [site]) + on_disk


def left(site):
    """Return the topics of the meta events that the shard has got."""
    return [one.topic for one in site.peers["shard-0"].got if isinstance(one, Publish)]


def test_the_sessions_of_one_that_has_gone_end_and_nothing_is_left(site):
    gateway = site.start(GUEST)
    site.pass_time(1)
    gateway.link.send_reliable(join(5))
    site.pass_time(1)
    assert site.node.core.session_count() == 1
    site.kill(GUEST)
    site.pass_time(gone(site))
    assert site.node.core.session_count() == 0
    assert left(site)[-1] == ON_LEAVE
    assert nothing_left(site) == []
    assert site.node.health()["status"] == "ok"


def test_its_memberships_end_with_it(site):
    gateway = site.start(GUEST)
    site.pass_time(1)
    gateway.link.send_reliable(join(5))
    site.peers["shard-0"].link.send(Listening("realm1", SUBSCRIPTION, 3))
    site.pass_time(1)
    (census,) = [one for one in gateway.got if isinstance(one, TakeCensus)]
    membership = Membership("realm1", SUBSCRIPTION, 3, 5, 77, "=a.b", "", 1.0)
    for frame in (membership, Counted("realm1", SUBSCRIPTION, census.number)):
        gateway.link.send_reliable(frame)
    site.kill(GUEST)
    site.pass_time(gone(site))
    assert nothing_left(site) == []


def test_one_that_stood_still_while_the_coordinator_restarted_is_still_gone(site):
    gateway = site.start(GUEST)
    site.pass_time(1)
    gateway.link.send_reliable(join(5))
    site.pass_time(1)
    gateway.silent = True
    site.pass_time(gone(site))
    assert site.node.core.session_count() == 0
    site.restart()
    gateway.silent = False
    site.pass_time(1)
    assert not gateway.link.open
    site.start(GUEST, incarnation=2)
    site.pass_time(1)
    assert site.peers[GUEST].link.open


def test_sessions_of_its_second_incarnation_end_though_the_coordinator_restarts(site):
    gateway = site.start(GUEST)
    site.pass_time(1)
    gateway.silent = True
    site.pass_time(gone(site))
    again = site.start(GUEST, incarnation=2)
    site.pass_time(1)
    again.link.send_reliable(join(6))
    site.pass_time(1)
    assert site.node.core.session_count() == 1
    site.kill(GUEST)
    site.pass_time(2 * site.terms.heartbeat)
    site.restart()
    assert site.node.core.session_count() == 1
    site.pass_time(gone(site))
    assert site.node.core.session_count() == 0
    assert nothing_left(site) == []


def test_sessions_of_one_that_ended_with_the_coordinator_end_when_it_starts(site):
    gateway = site.start(GUEST)
    site.pass_time(1)
    gateway.link.send_reliable(join(5))
    site.pass_time(1)
    site.running.discard(GUEST)
    del site.peers[GUEST]
    site.restart()
    assert site.node.core.session_count() == 1
    site.pass_time(1)
    assert site.node.core.session_count() == 0
    site.pass_time(2)
    assert nothing_left(site) == []


def test_no_more_come_in_than_configured():
    site = CoordinatorSite(attached_gateways=1)
    first, second = site.start(name_of(1)), site.start(name_of(2))
    site.pass_time(1)
    assert first.link.open
    assert not second.link.open
    assert "backplane.attached_gateways" in second.link.refusal
