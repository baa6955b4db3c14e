"""What waits in the coordinator is bounded, and its health tells what was refused."""

from coordinators import CoordinatorSite

from fox_shard.backplane.frames import Join, Leave


def test_gateways_keep_their_frames_while_too_much_waits_for_a_shard():
    site = CoordinatorSite(outbox_limit=2000)
    gateway = site.start("gateway-0")
    site.pass_time(1)

    def come_and_go(session):
        join = Join(session, "realm1", *["x"] * 7, client="", began=0.0, replay=False)
        for frame in (join, Leave(session, graceful=True)):
            gateway.link.send_reliable(frame)
        site.pass_time(0.3)
        return gateway.link.reliably_sent - gateway.link.forgotten

    assert come_and_go(1) == 0
    unconfirmed = [come_and_go(session) for session in range(2, 30)]
    assert unconfirmed[-1] > unconfirmed[-2] > 0
    site.start("shard-0")
    site.pass_time(2)
    assert gateway.link.reliably_sent == gateway.link.forgotten


def test_the_health_tells_which_limits_have_refused_something():
    node = CoordinatorSite().node
    assert "refused" not in node.health()
    node.core.schema_calls.limit_counts.add("schema_calls")
    assert node.health()["refused"] == {"schema_calls": 1}
