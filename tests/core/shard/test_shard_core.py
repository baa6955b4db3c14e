"""A shard among its peers: who it waits for, who has gone, how load is limited."""

import pytest
from shard_harness import (
    REALM,
    WALL,
    Stage,
    call,
    epoch_of,
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
    Announce,
    Ask,
    Batch,
    CallError,
    Cancel,
    Event,
    Failed,
    Forward,
    Hello,
    Invocation,
    Published,
    Reached,
    Registered,
    Report,
    Result,
    Retained,
    Subscribed,
    SyncEnd,
    Unregistered,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from fox_shard.deadline import NEVER
from fox_shard.shard.links.deliveries import EVERYTHING


def will(session=1, topic="w"):
    return Will(publish(topic, session=session, flags=0, args=b'["will"]'))


def told(stage):
    """What was worth a line in the log since this was last asked."""
    notices = [(event, fields.get("peer")) for event, fields in stage.shard.notices]
    stage.shard.notices.clear()
    return notices


def status(stage):
    return stage.shard.health()["status"]


# The barrier: state first, the rest when everybody has replayed


def test_until_all_expected_have_replayed_nothing_but_state_is_handled():
    stage = Stage(gateways=2, shards=2, absent=["gateway-0", "gateway-1"])
    assert status(stage) == "unavailable"
    replay = [subscribe(token=1), publish(), register(11, replay=True), will()]
    stage.join("gateway-0", replay=replay)
    stage.turns(6)
    stage.say("gateway-0", call(1, 2))
    # The subscription stands, what was published and called waits.
    assert stage.got("gateway-0") == [Subscribed(1)]
    stage.join("gateway-1")
    stage.turns(6)
    assert status(stage) == "ok"
    assert [type(frame) for frame in stage.got("gateway-0")] == [Event, Published, Invocation]


def test_what_waits_for_the_barrier_is_handled_in_order():
    stage = Stage(gateways=2, absent=["gateway-1"])
    stage.say("gateway-0", subscribe("*#"))
    for number in range(1, 6):
        stage.say("gateway-0", publish(f"t{number}", request=number))
    stage.join("gateway-1")
    stage.turns(6)
    topics = [event.publish.topic for event in stage.got("gateway-0", Event)]
    assert topics == ["t1", "t2", "t3", "t4", "t5"]
    runs = [answer.requests for answer in stage.got("gateway-0", Published)]
    assert [request for run in runs for request in run] == [1, 2, 3, 4, 5]


def test_who_does_not_come_within_peer_timeout_is_not_waited_for():
    stage = Stage(gateways=2, absent=["gateway-1"])
    assert stage.shard.deadline.at <= stage.now + stage.terms.peer_timeout
    stage.say("gateway-0", publish())
    stage.pass_time(4.5)
    assert stage.got("gateway-0") == []
    stage.pass_time(1.0)
    assert stage.got("gateway-0", Published)
    assert status(stage) == "degraded"


def test_of_a_replay_the_subscriptions_are_there_before_the_first_event():
    """Also of the gateway that comes last."""
    stage = Stage(gateways=2, absent=["gateway-1"])
    stage.say("gateway-0", publish())
    stage.join("gateway-1", replay=[subscribe()])
    stage.turns(6)
    assert len(stage.got("gateway-1", Event)) == 1


def test_a_gateway_that_is_late_to_replay_waits_alone():
    """After the barrier each gateway's frames wait for the end of its own replay."""
    stage = Stage(gateways=2, absent=["gateway-1"])
    stage.pass_time(6.0)
    assert status(stage) == "degraded"
    puppet = stage.join("gateway-1", replay=[subscribe(token=3)])
    puppet.link.send_reliable(publish())
    stage.turns(6)
    assert [type(frame) for frame in stage.got("gateway-1")] == [Subscribed, Event, Published]
    assert status(stage) == "ok"


def test_behind_the_end_of_its_replay_a_gateways_frames_keep_their_order():
    """A subscription is shown no key that was published later, or is not durable yet."""
    stage = Stage(gateways=2, absent=["gateway-1"])
    flags = ACKNOWLEDGE | RETAIN
    stage.say("gateway-0", publish(flags=flags), subscribe(token=1, replay=True))
    stage.say("gateway-0", publish(flags=flags, args=b"[2]"))
    assert stage.got("gateway-0") == []
    stage.join("gateway-1")
    stage.turns(6)
    no_key_yet, subscribed, *events = stage.got("gateway-0", (Retained, Subscribed, Event))
    assert no_key_yet == Retained(1, None, ahead=True, topic="a.b")
    assert subscribed == Subscribed(1)
    assert [event.publish.args for event in events] == [b"[1]", b"[2]"]


def test_who_subscribes_while_others_are_awaited_gets_what_is_published_after_that():
    stage = Stage(gateways=2, absent=["gateway-1"])
    stage.say("gateway-0", subscribe(token=1, replay=True), publish(args=b"[2]"))
    stage.join("gateway-1")
    stage.turns(6)
    subscribed, event = stage.got("gateway-0", (Subscribed, Event))
    assert subscribed == Subscribed(1)
    assert event.publish.args == b"[2]"


def test_what_waited_at_the_barrier_is_not_lost_when_the_pair_breaks():
    stage = Stage(gateways=2, absent=["gateway-1"])
    stage.say("gateway-0", publish(args=b"[1]"), reliable=True)
    puppet = stage["gateway-0"]
    puppet.link.break_off(stage.now)
    stage.shard.lost("gateway-0", stage.now)
    stage.turns(6)
    stage.join("gateway-1")
    stage.turns(6)
    (answer,) = stage.got("gateway-0", Published)
    assert answer.requests == [1]


def test_the_coordinator_is_not_waited_for():
    stage = Stage(gateways=1)
    assert status(stage) == "ok"
    stage.join("coordinator")
    stage.turns()
    stage.say("coordinator", publish("wamp.session.on_join", session=0))
    assert stage.got("coordinator", Published)


def test_a_gateway_that_restarts_before_the_barrier_begins_its_replay_anew():
    stage = Stage(gateways=2, absent=["gateway-1"])
    stage.say("gateway-0", publish())
    stage.join("gateway-0", incarnation=2, replay=[subscribe(token=1), register(11)])
    stage.turns(8)
    assert stage.got("gateway-0") == [Subscribed(1), Registered(11, 1, stage.id_of("=p.q"))]
    stage.join("gateway-1")
    stage.turns(6)
    assert stage.got("gateway-0") == []


# Peers come and go


def test_links_that_open_and_break_are_worth_a_line():
    stage = Stage(gateways=1, linked=False)
    stage.turns(6)
    assert told(stage) == [("linked", "gateway-0")]
    stage.kill("gateway-0")
    assert told(stage) == [("lost", "gateway-0")]
    stage.shard.lost("gateway-0", stage.now)
    assert told(stage) == []


def test_a_peer_of_another_layout_is_refused_with_the_reason():
    stage = Stage(gateways=1)
    hello = Hello(1, 1, reply=False, version=VERSION, generation=0, shards=9)
    batch = Batch("gateway-5", 3, 0, 0, 0, 0, 0, prompt=False, frames=[hello])
    stage.shard.receive(batch, 10, stage.now, WALL)
    ((event, fields),) = stage.shard.notices
    assert (event, fields["peer"]) == ("refused", "gateway-5")
    assert "with 9 shards" in fields["reason"]


def test_a_gateway_nobody_expected_is_welcome():
    """More gateways than were counted at the start."""
    stage = Stage(gateways=1)
    stage.join("gateway-7")
    stage.turns()
    stage.say("gateway-7", subscribe(token=1))
    assert stage.got("gateway-7") == [Subscribed(1)]


def test_a_hole_breaks_the_pair():
    stage = Stage(gateways=2)
    batch = Batch("gateway-0", 0, 0, 99, 0, 0, 0, prompt=False, frames=[publish()])
    link = stage.shard.peers["gateway-0"].link
    batch.epoch, batch.target = link.peer_epoch, link.epoch
    stage.shard.receive(decode(encode(batch)), 10, stage.now, WALL)
    assert told(stage) == [("lost", "gateway-0")]
    stage.turns(6)
    assert told(stage) == [("linked", "gateway-0")]


def test_a_silent_gateway_is_lost_after_peer_timeout_and_gone_after_another():
    stage = Stage(gateways=2)
    stage.say("gateway-0", will())
    stage.say("gateway-1", subscribe("=w"))
    del stage.puppets["gateway-0"]
    stage.pass_time(5.0)
    assert told(stage) == []
    stage.pass_time(0.5)
    assert told(stage) == [("lost", "gateway-0")]
    assert stage.got("gateway-1", Event) == []
    stage.pass_time(5.5)
    assert len(stage.got("gateway-1", Event)) == 1


def test_a_frame_that_is_not_for_shards_is_a_mistake():
    stage = Stage(gateways=1)
    with pytest.raises(TypeError, match="gateway-0 sent a Subscribed to a shard"):
        stage.say("gateway-0", Subscribed(1))


def test_every_frame_that_is_for_shards_is_handled():
    stage = Stage(gateways=2, shards=2)
    stage.say("gateway-1", register(11), subscribe())
    home = stage.home(0, "^here{}.")
    stage.say("gateway-1", register(12, home))
    stage.say("gateway-0", call(1, 1), call(1, 2), call(1, 3))
    one, two, three = stage.got("gateway-1", Invocation)
    stage.say("gateway-0", Cancel(1, 3, "skip"))
    stage.say("gateway-1", yield_(one), Failed(two.invocation, "x", 0, b""), yield_(three))
    stage.say("gateway-1", Unsubscribe(REALM, "=a.b"), unregister(11, request=9))
    stage.say("shard-1", Forward("gateway-0", home, call(1, 4, home[1:] + "x")))
    stage.pass_time(0.1, step=0.02)
    assert [frame.request for frame in stage.got("gateway-0")] == [3, 1, 2]
    assert {type(frame) for frame in stage.got("gateway-1")} >= {Unregistered, Invocation}


# Wills (MQTT-3.1.2-8)


@pytest.mark.parametrize(
    ("end", "published"), [("goodbye", False), ("no goodbye", True), ("no session", False)]
)
def test_a_will_is_published_when_its_session_ends_without_a_goodbye(end, published):
    stage = Stage(gateways=2)
    stage.say("gateway-0", will())
    stage.say("gateway-1", subscribe("=w"))
    session = 9 if end == "no session" else 1
    stage.say("gateway-0", leave(session, graceful=end == "goodbye"))
    assert len(stage.got("gateway-1", Event)) == published


@pytest.mark.parametrize("returns", ["same", "new", "never"])
def test_wills_of_a_gateway_go_out_when_it_will_not_come_back(returns):
    stage = Stage(gateways=2)
    stage.say("gateway-0", will(1), will(2))
    stage.say("gateway-1", subscribe("=w"))
    stage.kill("gateway-0")
    if returns != "never":
        replay = [will(1), will(2)] if returns == "same" else []
        incarnation = 1 if returns == "same" else 2
        stage.join("gateway-0", incarnation=incarnation, replay=replay)
    stage.turns(6)
    assert len(stage.got("gateway-1", Event)) == (2 if returns == "new" else 0)
    stage.pass_time(6.0)
    assert len(stage.got("gateway-1", Event)) == (2 if returns == "never" else 0)


def test_a_gateway_that_is_gone_is_not_sent_to():
    stage = Stage(gateways=2)
    stage.say("gateway-1", subscribe())
    stage.kill("gateway-1")
    stage.say("gateway-0", publish())
    # It may come back, and has to confirm the event then.
    assert stage.got("gateway-0", Published) == []
    stage.pass_time(6.0)
    assert len(stage.got("gateway-0", Published)) == 1
    assert stage.shard.peers["gateway-1"].link.idle
    stage.say("gateway-0", publish(request=2))
    assert len(stage.got("gateway-0", Published)) == 1


def test_plain_events_for_a_gateway_that_is_away_are_not_kept():
    stage = Stage(gateways=2)
    stage.say("gateway-1", subscribe())
    stage.kill("gateway-1")
    for _ in range(10):
        stage.say("gateway-0", publish(flags=0), publish(flags=ACKNOWLEDGE))
    assert len(stage.shard.peers["gateway-1"].link.outbox) == 10


def test_calls_of_a_gateway_that_restarts_are_dropped_and_its_callees_fail():
    stage = Stage(gateways=3)
    stage.say("gateway-1", register(11))
    stage.say("gateway-0", call(1, 5))
    stage.join("gateway-1", incarnation=2)
    stage.turns(8)
    assert [error.uri for error in stage.got("gateway-0", CallError)] == ["wamp.error.canceled"]
    assert stage.shard.dealer.idle


# Fences (WAMP #ordering-guarantees)


def test_who_asks_is_answered_behind_the_events():
    stage = Stage(gateways=2)
    stage.say("gateway-1", subscribe())
    epoch = stage["gateway-0"].link.epoch
    stage.say("gateway-1", Ask("gateway-0", epoch, 2))
    assert stage.got("gateway-1") == []
    stage.say("gateway-0", publish(flags=0))
    event, reached = stage.got("gateway-1")
    assert isinstance(event, Event)
    assert reached == Reached("gateway-0", epoch, 2)


@pytest.mark.parametrize("how", ["never came", "has gone", "another incarnation"])
def test_of_an_origin_that_is_not_there_everything_has_been_reached(how):
    stage = Stage(gateways=3, absent=["gateway-2"])
    stage.pass_time(5.5)
    origin = {"never came": "gateway-9", "has gone": "gateway-2"}.get(how, "gateway-0")
    if how == "another incarnation":
        stage.join("gateway-0", incarnation=3)
        stage.turns(6)
    stage.say("gateway-1", Ask(origin, epoch_of(1), 5))
    assert stage.got("gateway-1", Reached) == [Reached(origin, epoch_of(1), EVERYTHING)]


def test_a_question_about_an_origin_that_is_lost_waits_until_it_has_gone():
    stage = Stage(gateways=2)
    epoch = stage["gateway-0"].link.epoch
    stage.kill("gateway-0")
    stage.say("gateway-1", Ask("gateway-0", epoch, 5))
    assert stage.got("gateway-1") == []
    stage.pass_time(5.5)
    assert stage.got("gateway-1") == [Reached("gateway-0", epoch, EVERYTHING)]


def test_a_question_before_the_barrier_waits_for_the_origins_replay():
    stage = Stage(gateways=3, absent=["gateway-0", "gateway-2"])
    stage.say("gateway-1", Ask("gateway-0", epoch_of(1), 2))
    assert stage.got("gateway-1") == []
    puppet = stage.join("gateway-0")
    puppet.link.send(publish(flags=0))
    stage.turns(6)
    assert stage.got("gateway-1") == []
    stage.join("gateway-2")
    stage.turns(6)
    assert stage.got("gateway-1") == [Reached("gateway-0", epoch_of(1), 2)]


def test_a_question_about_a_pair_that_is_yet_to_come_waits_for_it():
    """The asker heard of it first: the origin's connection here is slower."""
    stage = Stage(gateways=2)
    puppet = stage["gateway-0"]
    stage.say("gateway-1", Ask("gateway-0", puppet.link.epoch + 1, 2))
    assert stage.got("gateway-1") == []
    puppet.link.break_off(stage.now)
    puppet.link.send(publish())
    stage.turns(6)
    assert stage.got("gateway-1") == [Reached("gateway-0", puppet.link.epoch, 2)]


def test_an_asker_that_left_is_not_answered():
    stage = Stage(gateways=2)
    stage.say("gateway-1", Ask("gateway-0", stage["gateway-0"].link.epoch, 50))
    stage.kill("gateway-1")
    stage.kill("gateway-0")
    stage.pass_time(6.0)
    assert stage.shard.peers["gateway-1"].link.outbox == []


# Load


def test_while_a_gateway_is_behind_no_gateway_is_given_credit():
    stage = Stage(gateways=2, credit=2000)
    stage.say("gateway-1", subscribe())
    stage["gateway-1"].silent = True
    for _ in range(30):
        stage.say("gateway-0", publish(flags=0, args=b"x" * 100))
    # What is published is handled all the same: a shard always reads.
    assert len(stage.got("gateway-1", Event)) == 30
    assert stage["gateway-0"].link.congested
    stage["gateway-1"].silent = False
    stage["gateway-1"].link.acknowledge_soon()
    stage.turns(6)
    assert not stage["gateway-0"].link.congested


def test_other_shards_keep_their_credit():
    stage = Stage(gateways=2, shards=2, credit=2000)
    stage.say("gateway-1", subscribe())
    stage["gateway-1"].silent = True
    stage.say("gateway-0", *(publish(flags=0, args=b"x" * 100) for _ in range(30)))
    pattern = stage.home(1)
    stage.say("shard-1", *(Announce(REALM, pattern, gone=False) for _ in range(100)))
    stage.pass_time(0.5)
    assert not stage["shard-1"].link.congested


# Time, metrics, health


def test_the_deadline_is_the_earliest_of_everything():
    stage = Stage(gateways=1)
    stage.shard.tick(stage.now)
    heartbeat = stage.shard.deadline.at
    assert stage.now < heartbeat <= stage.now + stage.terms.heartbeat
    stage.kill("gateway-0")
    stage.shard.tick(stage.now)
    assert stage.shard.deadline.at == stage.now + stage.terms.peer_timeout
    stage.pass_time(6.0)
    # Nobody is there: there is nothing to do until somebody comes.
    assert stage.shard.deadline.at == NEVER


def test_a_shard_that_is_ticked_when_it_says_so_stays_linked():
    stage = Stage(gateways=1, shards=2)
    for _ in range(200):
        due = [stage.shard.deadline.at, *(p.link.next_tick() for p in stage.puppets.values())]
        stage.now = max(stage.now, min(due)) + 1e-6
        stage.turns(2)
    assert stage.now > 105
    assert told(stage) == []


def test_the_coordinator_is_told_the_metrics():
    stage = Stage(gateways=1)
    stage.shard.send_report(stage.now)  # nobody to tell: nothing happens
    stage.join("coordinator")
    stage.turns()
    stage.say("gateway-0", publish(flags=RETAIN), register(11, concurrency=1))
    stage.say("gateway-0", call(1, 1), call(1, 2))
    reports = []
    for _ in range(2):
        stage.shard.send_report(stage.now)
        stage.turns()
        reports += stage.got("coordinator", Report)
    assert reports[0].gauges == {
        "shard-0.keys": 1,
        "shard-0.queue_depth": 1,
        "shard-0.waiting_publishes": 0,
        "shard-0.commit_microseconds": 0,
    }
    assert reports[0].counters["shard-0.commits"] == 2  # the ceiling, and the key
    assert reports[0].counters["shard-0.frames"] >= 4
    assert 2 <= reports[0].counters["shard-0.batches"] <= reports[0].counters["shard-0.frames"]
    assert reports[1].counters["shard-0.frames"] == 0


def test_keys_of_the_server_itself_are_not_counted():
    stage = Stage(gateways=1)
    for topic in ("$SYS.broker.uptime", "$SYS.broker.version", "$SYSTEM", "a"):
        stage.say("gateway-0", publish(topic, flags=RETAIN))
    assert stage.shard.health()["keys"] == 2


def test_health_names_the_links_and_what_the_shard_holds():
    stage = Stage(gateways=2)
    stage.say("gateway-0", publish(flags=RETAIN))
    stage.kill("gateway-1")
    assert stage.shard.health() == {
        "name": "shard-0",
        "status": "degraded",
        "links": {"gateway-0": True, "gateway-1": False},
        "keys": 1,
        "queued_calls": 0,
        "waiting_publishes": 0,
    }


def test_one_batch_goes_to_each_peer_that_has_news():
    stage = Stage(gateways=3)
    stage.pass_time(0.3)
    stage.send("gateway-0", *(publish(request=n) for n in range(1, 20)))
    stage.say("gateway-1", subscribe())
    for name in stage.puppets:
        stage.got(name)
    link = stage["gateway-0"].link
    link.send(publish(request=30))
    link.send(publish(request=31))
    for data in link.flush(stage.now):
        stage.shard.receive(decode(data), len(data), stage.now, WALL)
    out = stage.shard.flush(stage.now)
    assert [(peer, len(decode(data).frames)) for peer, data in out] == [("gateway-1", 2)]


def test_results_cross_shards_and_gateways_whole():
    stage = Stage(gateways=2)
    stage.say("gateway-1", register(11))
    stage.say("gateway-0", call(1, 5))
    (invocation,) = stage.got("gateway-1", Invocation)
    assert isinstance(invocation, Invocation)
    assert stage.got("gateway-0", (Result, SyncEnd)) == []
