"""A shard among its peers: sync, peers that come and go, wills, fences, load and health."""

import pytest
from fake_peer import epoch_of
from shard_harness import (
    REALM,
    WALL,
    ShardHarness,
    call,
    leave,
    publish,
    register,
    subscribe,
    unregister,
    yield_,
)

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    RETAIN,
    VERSION,
    WILL,
    Batch,
    CallError,
    Cancel,
    Event,
    FencePassed,
    FenceQuery,
    Forward,
    Hello,
    Invocation,
    InvocationError,
    Leave,
    PatternAnnounced,
    Published,
    Registered,
    Report,
    Result,
    Retained,
    RetainOptions,
    Subscribed,
    SyncEnd,
    Unregistered,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from fox_shard.backplane.terms import LinkEvent
from fox_shard.shard.recovery import WAITED_FOR
from fox_shard.topics.ids import MAX_ID


def will(session=1, topic="w"):
    return Will(publish(topic, session=session, flags=0, args=b'["will"]'))


def take_notices(harness):
    """Return and forget [(event, peer)] of the notices for the log."""
    notices = [(event, fields.get("peer")) for event, fields in harness.shard.notices]
    harness.shard.notices.clear()
    return notices


def status(harness):
    return harness.shard.health()["status"]


# Sync: state first, the rest when every peer has replayed


def test_only_state_is_handled_until_every_expected_peer_has_replayed():
    harness = ShardHarness(gateways=2, shards=2, absent=["gateway-0", "gateway-1"])
    assert status(harness) == "unavailable"
    replay = [subscribe(token=1), publish(), register(11, replay=True), will()]
    harness.join("gateway-0", replay=replay)
    harness.turns(6)
    harness.say("gateway-0", call(1, 2))
    # The subscription stands; the publish and the call wait.
    assert harness.got("gateway-0") == [Subscribed(1)]
    harness.join("gateway-1")
    harness.turns(6)
    assert status(harness) == "ok"
    assert [type(frame) for frame in harness.got("gateway-0")] == [Event, Published, Invocation]


def test_frames_that_wait_for_sync_are_handled_in_order():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.say("gateway-0", subscribe("*#"))
    for number in range(1, 6):
        harness.say("gateway-0", publish(f"t{number}", request=number))
    harness.join("gateway-1")
    harness.turns(6)
    topics = [event.publish.topic for event in harness.got("gateway-0", Event)]
    assert topics == ["t1", "t2", "t3", "t4", "t5"]
    runs = [answer.requests for answer in harness.got("gateway-0", Published)]
    assert [request for run in runs for request in run] == [1, 2, 3, 4, 5]


def test_a_gateway_that_does_not_come_within_peer_timeout_is_not_waited_for():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    assert harness.shard.deadline.at <= harness.now + harness.terms.peer_timeout
    harness.say("gateway-0", publish())
    harness.pass_time(4.5)
    assert harness.got("gateway-0") == []
    harness.pass_time(1.0)
    assert harness.got("gateway-0", Published)
    assert status(harness) == "degraded"


def test_a_gateway_that_works_but_is_busy_is_waited_for_longer():
    """Its sessions would miss events that are acknowledged."""
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.working.add("gateway-1")
    harness.say("gateway-0", publish())
    harness.pass_time(3 * harness.terms.peer_timeout)
    assert harness.got("gateway-0") == []
    harness.join("gateway-1", replay=[subscribe()])
    harness.turns(6)
    assert len(harness.got("gateway-1", Event)) == 1
    assert harness.got("gateway-0", Published)


def test_a_gateway_that_works_but_never_comes_is_not_waited_for_without_end():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.working.add("gateway-1")
    harness.say("gateway-0", publish())
    harness.pass_time(WAITED_FOR * harness.terms.peer_timeout + 1, step=0.9)
    assert harness.got("gateway-0", Published)


def test_a_shard_that_stood_still_during_the_sync_waits_for_its_peers_all_the_same():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.say("gateway-0", publish())
    harness.now += 60.0
    harness.turns(6)
    assert harness.got("gateway-0", Published) == []
    harness.join("gateway-1", replay=[subscribe()])
    harness.turns(6)
    assert len(harness.got("gateway-1", Event)) == 1


def test_a_gateway_that_was_declared_gone_is_not_let_in_again_not_even_after_a_restart():
    harness = ShardHarness(gateways=2)
    harness["gateway-1"].silent = True
    harness.pass_time(2 * harness.terms.peer_timeout + 2)
    assert harness.shard.peers["gateway-1"].link.gone == 1
    harness.restart()
    harness["gateway-1"].silent = False
    harness.turns(8)
    assert LinkEvent.DISOWNED in harness["gateway-1"].changes
    assert not harness.shard.peers["gateway-1"].link.open
    harness.join("gateway-1", incarnation=2)
    harness.turns(8)
    assert harness.shard.peers["gateway-1"].link.open


def test_a_gateway_is_told_that_the_sync_ended_without_it():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.pass_time(harness.terms.peer_timeout + 1)
    gateway = harness.join("gateway-1")
    harness.turns(6)
    assert gateway.link.missed_by_peer
    assert not harness["gateway-0"].link.missed_by_peer
    gateway.link.break_off(harness.now)
    harness.turns(6)
    assert gateway.link.open
    assert not gateway.link.missed_by_peer


def test_replayed_subscriptions_precede_the_first_event():
    """The gateway that comes last gets it, too."""
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.say("gateway-0", publish())
    harness.join("gateway-1", replay=[subscribe()])
    harness.turns(6)
    assert len(harness.got("gateway-1", Event)) == 1


def test_frames_of_a_late_gateway_wait_only_for_its_own_replay():
    """The gateway comes after sync, when nothing else waits for its replay."""
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.pass_time(6.0)
    assert status(harness) == "degraded"
    peer = harness.join("gateway-1", replay=[subscribe(token=3)])
    peer.link.send_reliable(publish())
    harness.turns(6)
    assert [type(frame) for frame in harness.got("gateway-1")] == [Subscribed, Event, Published]
    assert status(harness) == "ok"


def test_frames_after_the_end_of_a_replay_keep_their_order():
    """A subscription is shown no key that was published later or is not durable yet."""
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    flags = ACKNOWLEDGE | RETAIN
    harness.say("gateway-0", publish(flags=flags), subscribe(token=1, replay=True))
    harness.say("gateway-0", publish(flags=flags, args=b"[2]"))
    assert harness.got("gateway-0") == []
    harness.join("gateway-1")
    harness.turns(6)
    no_key_yet, subscribed, *events = harness.got("gateway-0", (Retained, Subscribed, Event))
    assert no_key_yet == Retained(1, None, ahead=True, topic="a.b")
    assert subscribed == Subscribed(1)
    assert [event.publish.args for event in events] == [b"[1]", b"[2]"]


def test_a_subscription_during_sync_gets_later_events():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.say("gateway-0", subscribe(token=1, replay=True), publish(args=b"[2]"))
    harness.join("gateway-1")
    harness.turns(6)
    subscribed, event = harness.got("gateway-0", (Subscribed, Event))
    assert subscribed == Subscribed(1)
    assert event.publish.args == b"[2]"


def test_frames_that_wait_for_sync_are_not_lost_when_the_pair_breaks():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.say("gateway-0", publish(args=b"[1]"), reliable=True)
    peer = harness["gateway-0"]
    peer.link.break_off(harness.now)
    harness.shard.connection_lost("gateway-0", harness.now)
    harness.turns(6)
    harness.join("gateway-1")
    harness.turns(6)
    (answer,) = harness.got("gateway-0", Published)
    assert answer.requests == [1]


def test_the_coordinator_is_not_waited_for():
    harness = ShardHarness(gateways=1)
    assert status(harness) == "ok"
    harness.join("coordinator")
    harness.turns()
    harness.say("coordinator", publish("wamp.session.on_join", session=0))
    assert harness.got("coordinator", Published)


def test_a_gateway_that_restarts_during_sync_replays_anew():
    harness = ShardHarness(gateways=2, absent=["gateway-1"])
    harness.say("gateway-0", publish())
    harness.join("gateway-0", incarnation=2, replay=[subscribe(token=1), register(11)])
    harness.turns(8)
    assert harness.got("gateway-0") == [Subscribed(1), Registered(11, 1, harness.id_of("=p.q"))]
    harness.join("gateway-1")
    harness.turns(6)
    assert harness.got("gateway-0") == []


# Peers come and go


def test_links_that_open_and_break_are_logged():
    harness = ShardHarness(gateways=1, linked=False)
    harness.turns(6)
    assert take_notices(harness) == [("linked", "gateway-0")]
    harness.kill("gateway-0")
    assert take_notices(harness) == [("lost", "gateway-0")]
    harness.shard.connection_lost("gateway-0", harness.now)
    assert take_notices(harness) == []


def test_a_peer_of_another_layout_is_refused_with_the_reason():
    harness = ShardHarness(gateways=1)
    hello = Hello(1, 1, reply=False, version=VERSION, generation=0, shards=9)
    batch = Batch("gateway-5", 3, 0, 0, 0, 0, 0, prompt=False, frames=[hello])
    harness.shard.receive(batch, 10, harness.now, WALL)
    ((event, fields),) = harness.shard.notices
    assert (event, fields["peer"]) == ("refused", "gateway-5")
    assert "with 9 shards" in fields["reason"]


def test_a_gateway_that_was_not_expected_is_served():
    """There may be more gateways than the shard counted on when it started."""
    harness = ShardHarness(gateways=1)
    harness.join("gateway-7")
    harness.turns()
    harness.say("gateway-7", subscribe(token=1))
    assert harness.got("gateway-7") == [Subscribed(1)]


def test_a_hole_breaks_the_pair():
    harness = ShardHarness(gateways=2)
    batch = Batch("gateway-0", 0, 0, 99, 0, 0, 0, prompt=False, frames=[publish()])
    link = harness.shard.peers["gateway-0"].link
    batch.epoch, batch.target = link.peer_epoch, link.epoch
    harness.shard.receive(decode(encode(batch)), 10, harness.now, WALL)
    assert take_notices(harness) == [("lost", "gateway-0")]
    harness.turns(6)
    assert take_notices(harness) == [("linked", "gateway-0")]


def test_a_silent_gateway_is_lost_after_peer_timeout_and_gone_after_another():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-0", will())
    harness.say("gateway-1", subscribe("=w"))
    del harness.peers["gateway-0"]
    harness.pass_time(5.0)
    assert take_notices(harness) == []
    harness.pass_time(0.5)
    assert take_notices(harness) == [("lost", "gateway-0")]
    assert harness.got("gateway-1", Event) == []
    harness.pass_time(5.5)
    assert len(harness.got("gateway-1", Event)) == 1


def test_a_frame_that_is_not_for_shards_raises_a_type_error():
    harness = ShardHarness(gateways=1)
    with pytest.raises(TypeError, match="gateway-0 sent a Subscribed to a shard"):
        harness.say("gateway-0", Subscribed(1))


def test_every_frame_for_shards_is_handled():
    harness = ShardHarness(gateways=2, shards=2)
    harness.say("gateway-1", register(11), subscribe())
    home = harness.home(0, "^here{}.")
    harness.say("gateway-1", register(12, home))
    harness.say("gateway-0", call(1, 1), call(1, 2), call(1, 3))
    one, two, three = harness.got("gateway-1", Invocation)
    harness.say("gateway-0", Cancel(1, 3, "skip"))
    harness.say(
        "gateway-1", yield_(one), InvocationError(two.invocation, "x", 0, b""), yield_(three)
    )
    harness.say("gateway-1", Unsubscribe(REALM, "=a.b"), unregister(11, request=9))
    harness.say("shard-1", Forward("gateway-0", home, call(1, 4, home[1:] + "x")))
    harness.pass_time(0.1, step=0.02)
    assert [frame.request for frame in harness.got("gateway-0")] == [3, 1, 2]
    assert {type(frame) for frame in harness.got("gateway-1")} >= {Unregistered, Invocation}


# Wills (MQTT-3.1.2-8)


@pytest.mark.parametrize(
    ("end", "published"), [("goodbye", False), ("no goodbye", True), ("no session", False)]
)
def test_a_will_is_published_when_its_session_ends_without_a_goodbye(end, published):
    harness = ShardHarness(gateways=2)
    harness.say("gateway-0", will())
    harness.say("gateway-1", subscribe("=w"))
    session = 9 if end == "no session" else 1
    harness.say("gateway-0", leave(session, graceful=end == "goodbye"))
    assert len(harness.got("gateway-1", Event)) == published


@pytest.mark.parametrize("returns", ["same", "new", "never"])
def test_wills_of_a_gateway_are_published_when_it_will_not_come_back(returns):
    harness = ShardHarness(gateways=2)
    harness.say("gateway-0", will(1), will(2))
    harness.say("gateway-1", subscribe("=w"))
    harness.kill("gateway-0")
    if returns != "never":
        replay = [will(1), will(2)] if returns == "same" else []
        incarnation = 1 if returns == "same" else 2
        harness.join("gateway-0", incarnation=incarnation, replay=replay)
    harness.turns(6)
    assert len(harness.got("gateway-1", Event)) == (2 if returns == "new" else 0)
    harness.pass_time(6.0)
    assert len(harness.got("gateway-1", Event)) == (2 if returns == "never" else 0)


@pytest.mark.parametrize("handled", [0, 1, 2])
def test_wills_that_a_killed_gateway_could_not_publish_are_published_once(handled):
    """The gateway was killed while the shard was handling the batch with its session's end."""
    harness = ShardHarness(gateways=2)
    wills = [will(1), Will(publish("w", session=1, flags=0, args=b"[2]"), 1)]
    harness.say("gateway-0", *wills)
    harness.say("gateway-1", subscribe("=w"))
    due = [
        publish("w", session=1, request=one.number, flags=WILL, args=one.publish.args)
        for one in wills
    ]
    ended = Leave(1, graceful=True, wills_follow=True)
    harness.say("gateway-0", ended, *due[:handled], reliable=True)
    assert len(harness.got("gateway-1", Event)) == handled
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    left = [event.publish.args for event in harness.got("gateway-1", Event)]
    assert left == [b'["will"]', b"[2]"][handled:]


def test_a_gateway_that_has_gone_is_not_sent_to():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe())
    harness.kill("gateway-1")
    harness.say("gateway-0", publish())
    # The gateway may come back, and then has to confirm the event.
    assert harness.got("gateway-0", Published) == []
    harness.pass_time(6.0)
    assert len(harness.got("gateway-0", Published)) == 1
    assert harness.shard.peers["gateway-1"].link.idle
    harness.say("gateway-0", publish(request=2))
    assert len(harness.got("gateway-0", Published)) == 1


def test_plain_events_for_a_lost_gateway_are_not_kept():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe())
    harness.kill("gateway-1")
    for _ in range(10):
        harness.say("gateway-0", publish(flags=0), publish(flags=ACKNOWLEDGE))
    assert len(harness.shard.peers["gateway-1"].link.outbox) == 10


def test_running_invocations_of_a_gateway_that_restarts_fail():
    harness = ShardHarness(gateways=3)
    harness.say("gateway-1", register(11))
    harness.say("gateway-0", call(1, 5))
    harness.join("gateway-1", incarnation=2)
    harness.turns(8)
    assert [error.uri for error in harness.got("gateway-0", CallError)] == ["wamp.error.canceled"]
    assert harness.shard.dealer.idle


# Fences (WAMP #ordering-guarantees)


def test_a_fence_query_is_answered_after_the_events():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe())
    epoch = harness["gateway-0"].link.epoch
    harness.say("gateway-1", FenceQuery("gateway-0", epoch, 2))
    assert harness.got("gateway-1") == []
    harness.say("gateway-0", publish(flags=0))
    event, reached = harness.got("gateway-1")
    assert isinstance(event, Event)
    assert reached == FencePassed("gateway-0", epoch, 2)


@pytest.mark.parametrize("how", ["never came", "has gone", "another incarnation"])
def test_a_fence_query_about_an_absent_origin_is_answered_with_everything(how):
    harness = ShardHarness(gateways=3, absent=["gateway-2"])
    harness.pass_time(5.5)
    origin = {"never came": "gateway-9", "has gone": "gateway-2"}.get(how, "gateway-0")
    if how == "another incarnation":
        harness.join("gateway-0", incarnation=3)
        harness.turns(6)
    harness.say("gateway-1", FenceQuery(origin, epoch_of(1), 5))
    assert harness.got("gateway-1", FencePassed) == [FencePassed(origin, epoch_of(1), MAX_ID)]


def test_a_fence_query_about_a_lost_origin_waits_until_it_has_gone():
    harness = ShardHarness(gateways=2)
    epoch = harness["gateway-0"].link.epoch
    harness.kill("gateway-0")
    harness.say("gateway-1", FenceQuery("gateway-0", epoch, 5))
    assert harness.got("gateway-1") == []
    harness.pass_time(5.5)
    assert harness.got("gateway-1") == [FencePassed("gateway-0", epoch, MAX_ID)]


def test_a_fence_query_during_sync_waits_for_the_origins_replay():
    harness = ShardHarness(gateways=3, absent=["gateway-0", "gateway-2"])
    harness.say("gateway-1", FenceQuery("gateway-0", epoch_of(1), 2))
    assert harness.got("gateway-1") == []
    peer = harness.join("gateway-0")
    peer.link.send(publish(flags=0))
    harness.turns(6)
    assert harness.got("gateway-1") == []
    harness.join("gateway-2")
    harness.turns(6)
    assert harness.got("gateway-1") == [FencePassed("gateway-0", epoch_of(1), 2)]


def test_a_fence_query_about_a_pair_that_is_yet_to_come_waits_for_it():
    """The asker may hear of the pair first, if the origin's connection to this shard is slow."""
    harness = ShardHarness(gateways=2)
    peer = harness["gateway-0"]
    harness.say("gateway-1", FenceQuery("gateway-0", peer.link.epoch + 1, 2))
    assert harness.got("gateway-1") == []
    peer.link.break_off(harness.now)
    peer.link.send(publish())
    harness.turns(6)
    assert harness.got("gateway-1") == [FencePassed("gateway-0", peer.link.epoch, 2)]


def test_an_asker_that_has_gone_is_not_answered():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", FenceQuery("gateway-0", harness["gateway-0"].link.epoch, 50))
    harness.kill("gateway-1")
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    assert harness.shard.peers["gateway-1"].link.outbox == []


# Load


def test_no_gateway_is_given_credit_while_one_is_behind():
    harness = ShardHarness(gateways=2, credit=2000)
    harness.say("gateway-1", subscribe())
    harness["gateway-1"].silent = True
    for _ in range(30):
        harness.say("gateway-0", publish(flags=0, args=b"x" * 100))
    # The publishes are handled all the same, because a shard always reads.
    assert len(harness.got("gateway-1", Event)) == 30
    assert harness["gateway-0"].link.congested
    harness["gateway-1"].silent = False
    harness["gateway-1"].link.acknowledge_soon()
    harness.turns(6)
    assert not harness["gateway-0"].link.congested


def test_other_shards_keep_their_credit():
    harness = ShardHarness(gateways=2, shards=2, credit=2000)
    harness.say("gateway-1", subscribe())
    harness["gateway-1"].silent = True
    harness.say("gateway-0", *(publish(flags=0, args=b"x" * 100) for _ in range(30)))
    pattern = harness.home(1)
    harness.say("shard-1", *(PatternAnnounced(REALM, pattern, gone=False) for _ in range(100)))
    harness.pass_time(0.5)
    assert not harness["shard-1"].link.congested


# Time, metrics, health


def test_a_publish_while_the_clock_is_wrong_does_not_spoil_the_ids_nor_the_keys():
    """One wrong moment, in the year 2071, and the shard would never again have a valid id."""
    harness = ShardHarness(gateways=1)
    options = RetainOptions(seconds=600.0)
    harness.say("gateway-0", publish(topic="t", flags=ACKNOWLEDGE | RETAIN, retain=options))
    (before,) = harness.got("gateway-0", Published)
    harness.wrong_by = 1.4e9
    for _ in range(2):
        harness.say("gateway-0", publish(topic="u", flags=ACKNOWLEDGE))
        (wrong,) = harness.got("gateway-0", Published)
        assert before.publications[0] < wrong.publications[0] < before.publications[0] + (1 << 30)
        # A restart does not take the wrong time over either.
        harness.restart()
        harness.turns(8)
        harness.got("gateway-0")
    assert [name for name, _ in harness.shard.notices].count("clock") == 1
    assert harness.shard.retained_keys.keys_held == 1
    harness.wrong_by = 0.0
    harness.say("gateway-0", publish(topic="u"))
    harness.pass_time(601.0, step=0.9)
    assert harness.shard.retained_keys.keys_held == 0


def test_the_deadline_is_the_earliest_of_all():
    harness = ShardHarness(gateways=1)
    harness.shard.tick(harness.now)
    heartbeat = harness.shard.deadline.at
    assert harness.now < heartbeat <= harness.now + harness.terms.heartbeat
    harness.kill("gateway-0")
    harness.shard.tick(harness.now)
    assert harness.shard.deadline.at == harness.now + harness.terms.heartbeat
    harness.pass_time(6.0)
    # No peer is linked; without regular turns, the shard would not notice that it stood still.
    assert harness.now < harness.shard.deadline.at <= harness.now + harness.terms.heartbeat


def test_a_shard_that_is_ticked_at_its_deadlines_stays_linked():
    harness = ShardHarness(gateways=1, shards=2)
    for _ in range(200):
        due = [harness.shard.deadline.at, *(p.link.next_tick() for p in harness.peers.values())]
        harness.now = max(harness.now, min(due)) + 1e-6
        harness.turns(2)
    assert harness.now > 105
    assert take_notices(harness) == []


def test_the_coordinator_is_sent_the_metrics():
    harness = ShardHarness(gateways=1)
    harness.shard.send_report(harness.now)  # nothing happens without a coordinator
    harness.join("coordinator")
    harness.turns()
    harness.say("gateway-0", publish(flags=RETAIN), register(11, concurrency=1))
    harness.say("gateway-0", call(1, 1), call(1, 2))
    reports = []
    for _ in range(2):
        harness.shard.send_report(harness.now)
        harness.turns()
        reports += harness.got("coordinator", Report)
    assert reports[0].gauges == {
        "keys": 1,
        "queue_depth": 1,
        "reducer_queue": 0,
        "webhook_queue": 0,
        "outbox_bytes": 0,
        "waiting_publishes": 0,
        "store_failing": 0,
    }
    assert sum(reports[0].histograms["commit_seconds"][1:]) == 2  # the ceiling, and the key
    assert reports[0].counters["frames"] >= 4
    assert 2 <= reports[0].counters["batches"] <= reports[0].counters["frames"]
    assert reports[1].counters["frames"] == 0


def test_keys_of_the_server_itself_are_not_counted():
    harness = ShardHarness(gateways=1)
    for topic in ("$SYS.broker.uptime", "$SYS.broker.version", "a"):
        harness.say("gateway-0", publish(topic, flags=RETAIN))
    assert harness.shard.health()["keys"] == 1


def test_health_names_the_links_and_what_the_shard_holds():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-0", publish(flags=RETAIN))
    harness.kill("gateway-1")
    assert harness.shard.health() == {
        "name": "shard-0",
        "status": "degraded",
        "links": {"gateway-0": True, "gateway-1": False},
        "keys": 1,
        "queued_calls": 0,
        "waiting_publishes": 0,
    }


def test_each_peer_with_new_frames_gets_one_batch():
    harness = ShardHarness(gateways=3)
    harness.pass_time(0.3)
    harness.send("gateway-0", *(publish(request=n) for n in range(1, 20)))
    harness.say("gateway-1", subscribe())
    for name in harness.peers:
        harness.got(name)
    link = harness["gateway-0"].link
    link.send(publish(request=30))
    link.send(publish(request=31))
    for data in link.flush(harness.now):
        harness.shard.receive(decode(data), len(data), harness.now, WALL)
    out = harness.shard.flush(harness.now)
    assert [(peer, len(decode(data).frames)) for peer, data in out] == [("gateway-1", 2)]


def test_a_call_that_is_not_answered_yet_has_an_invocation_and_no_result():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", register(11))
    harness.say("gateway-0", call(1, 5))
    (invocation,) = harness.got("gateway-1", Invocation)
    assert isinstance(invocation, Invocation)
    assert harness.got("gateway-0", (Result, SyncEnd)) == []


def test_a_turn_of_plain_publishes_and_calls_leaves_nothing_for_its_end():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", subscribe(), register(11))
    harness.turn()
    for frames, quiet in (
        ([publish(request=1), publish(request=2)], True),
        ([call(1, 5)], True),
        ([publish(request=3), publish(request=4, flags=RETAIN)], False),
        ([leave(7)], False),
    ):
        harness.shard.flush(harness.now)
        link = harness["gateway-0"].link
        for frame in frames:
            link.send_reliable(frame)
        for data in link.flush(harness.now):
            harness.shard.receive(decode(data), len(data), harness.now, WALL)
        assert harness.shard.quiet is quiet, frames
        harness.turn()


def test_a_turn_with_frames_that_wait_for_the_next_one_is_not_quiet():
    harness = ShardHarness(gateways=2)
    harness.say("gateway-1", register(11))
    harness.shard.budget.units = 1
    harness.shard.flush(harness.now)
    link = harness["gateway-0"].link
    for number in range(10):
        link.send(call(1, number))
    for data in link.flush(harness.now):
        harness.shard.receive(decode(data), len(data), harness.now, WALL)
    assert harness.shard.peers["gateway-0"].waiting
    assert not harness.shard.quiet
    for _ in range(10):
        harness.turn()
    assert not harness.shard.peers["gateway-0"].waiting
