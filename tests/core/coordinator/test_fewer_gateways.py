"""The coordinator after a start with fewer gateways."""

from coordinators import CoordinatorSite

from fox_shard.backplane.frames import Join


def started_with(gateways):
    """Return a site that two gateways have been at, restarted with another number of gateways."""
    site = CoordinatorSite()
    for name in ("shard-0", "gateway-0", "gateway-1"):
        site.start(name)
    site.pass_time(1)
    for number in range(2):
        joined = Join(number + 5, "realm1", *["x"] * 7, client="", began=0.0, replay=False)
        site.peers[f"gateway-{number}"].link.send_reliable(joined)
    site.pass_time(1)
    assert site.node.health()["status"] == "ok"
    site.gateways = gateways
    site.kill("gateway-1")
    site.restart()
    site.pass_time(2 * site.terms.peer_timeout)
    return site


def test_a_gateway_that_is_not_there_any_more_is_not_missed():
    health = started_with(1).node.health()
    assert health["status"] == "ok"
    assert set(health["links"]) == {"shard-0", "gateway-0"}


def test_one_that_is_down_is_missed():
    health = started_with(2).node.health()
    assert health["status"] == "degraded"
    assert health["links"]["gateway-1"] is False
