"""State streams and filters, in the shard (semantics: subscribing)."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, ShardHarness, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    QOS1,
    RELIABLE_EVENT,
    RETAIN,
    Again,
    Audience,
    Event,
    Published,
    RetainOptions,
    SelectedEvent,
    SelectorSpec,
    Unsubscribe,
)
from fox_shard.config import Realm
from fox_shard.shard.pubsub.replay import Replay
from fox_shard.shard.pubsub.selectors import Selector

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY
ON = {"on": True}


def selecting(
    pattern="*#", id_=5, *, state=False, filter_=None, token=0, replay=False, realm=REALM
):
    """Return a Subscribe with a selector."""
    packed = b"" if filter_ is None else msgpack.encode(filter_)
    frame = subscribe(pattern, token=token, replay=replay, realm=realm)
    frame.selector = SelectorSpec(id_, state, packed)
    return frame


def on(*, state=True, request=1, **more):
    args = b'[{"on":true}]' if state else b'[{"on":false}]'
    return publish(request=request, args=args, **{"flags": KEEP, **more})


def erase(request=1, **more):
    return publish(request=request, flags=ERASE, args=b"", **more)


def selected_events(harness, name="gateway-1"):
    """Return [(args of the present or last value, reason of removal or "", selector ids)]."""
    return [
        (frame.event.publish.args, frame.removed, frame.selectors)
        for frame in harness.got(name, SelectedEvent)
    ]


@pytest.fixture(params=["stored", "memory"])
def harness(request):
    """A harness whose `write` publishes at gateway-0."""
    harness = ShardHarness(gateways=3, unstored=() if request.param == "stored" else (REALM,))
    harness.write = lambda *frames: harness.say("gateway-0", *frames, reliable=True)
    return harness


# Filters


def test_an_event_goes_to_the_selectors_whose_filter_it_meets(harness):
    harness.say(
        "gateway-1", selecting(id_=1, filter_=ON), selecting("=a.b", 2, filter_={"on": False})
    )
    harness.say("gateway-2", selecting("=a.c", 3, filter_=ON), selecting("*a.+", 4, filter_=ON))
    harness.write(on(flags=0), on(state=False, flags=0), publish(flags=0))
    assert selected_events(harness) == [(b'[{"on":true}]', "", [1]), (b'[{"on":false}]', "", [2])]
    assert selected_events(harness, "gateway-2") == [(b'[{"on":true}]', "", [4])]
    assert harness.got("gateway-1", Event) == []


def test_one_frame_names_all_matching_selectors_of_a_gateway(harness):
    harness.say("gateway-1", selecting(id_=1, filter_=ON), selecting("=a.b", 2, filter_=ON))
    harness.say("gateway-1", selecting("=a.b", 3, filter_={}))
    harness.write(on(flags=0))
    ((_, _, selectors),) = selected_events(harness)
    assert sorted(selectors) == [1, 2, 3]


def test_a_subscription_to_all_events_gets_them_besides(harness):
    harness.say("gateway-1", subscribe(), selecting(filter_=ON))
    harness.write(on(state=False, flags=0), on(flags=0))
    assert [event.publish.args for event in harness.got("gateway-1", Event)] == [
        b'[{"on":false}]', b'[{"on":true}]',
    ]  # fmt: skip
    assert selected_events(harness) == [(b'[{"on":true}]', "", [5])]


@pytest.mark.parametrize(
    ("args", "kwargs", "meets"),
    [
        (b'[{"on":true}]', b"", True),
        (b"[]", b'{"on":true}', True),
        (b'[{"on":true}]', b'{"on":false}', False),
        (b'[{"on":true},2]', b"", True),
        (b"[true]", b"", False),
        (b"[", b"", False),
        (b"", b"", False),
    ],
)
def test_a_filter_looks_at_the_document(args, kwargs, meets, harness):
    harness.say("gateway-1", selecting(filter_=ON))
    harness.write(publish(args=args, kwargs=kwargs))
    assert len(selected_events(harness)) == meets


def test_keyword_arguments_that_are_headers_are_not_in_the_document():
    harness = ShardHarness(realms=[Realm(name=REALM, kwargs_are_headers=True)])
    harness.say("gateway-1", selecting(filter_=ON))
    harness.say("gateway-0", publish(args=b"[]", kwargs=b'{"on":true}'), on(request=2))
    assert selected_events(harness) == [(b'[{"on":true}]', "", [5])]


@pytest.mark.parametrize(
    ("flags", "reliable"),
    [(0, 0), (ACKNOWLEDGE, 1), (QOS1, 1), (ACKNOWLEDGE | QOS1, 1), (RELIABLE_EVENT, 1)],
)
def test_a_selected_event_is_as_reliable_as_the_event_itself(flags, reliable, harness):
    harness.say("gateway-1", selecting(filter_=ON))
    harness["gateway-1"].silent = True
    harness.write(on(flags=flags))
    assert len(selected_events(harness)) == 1
    assert harness.got("gateway-0", Published) == []
    peer = harness["gateway-1"]
    peer.replay = [selecting(filter_=ON)]
    peer.link.break_off(harness.now)
    peer.link.watermark = 0
    harness.shard.connection_lost("gateway-1", harness.now)
    peer.silent = False
    harness.turns(6)
    assert len(selected_events(harness)) == reliable
    assert len(harness.got("gateway-0", Published)) == (flags & ACKNOWLEDGE > 0)


def test_a_selector_that_was_unsubscribed_selects_nothing(harness):
    harness.say(
        "gateway-1", selecting(id_=1, filter_=ON), selecting(id_=2, state=True), subscribe("*#")
    )
    for gone, left in ((7, {1, 2}), (1, {2}), (2, set()), (0, set())):
        harness.say("gateway-1", Unsubscribe(REALM, "*#", gone))
        harness.write(on())
        found = {id_ for _, _, selectors in selected_events(harness) for id_ in selectors}
        assert found == left
        assert len(harness.got("gateway-1", Event)) == (gone != 0)
    assert harness.shard.broker.realms[REALM].observers == 0


def test_the_selectors_of_a_gateway_that_has_gone_are_dropped(harness):
    harness.say("gateway-1", selecting(filter_=ON, token=1, replay=True))
    harness.kill("gateway-1")
    harness.pass_time(6.0)
    assert harness.shard.broker.realms[REALM].observers == 0


# State streams


def test_a_state_stream_gets_each_value_and_each_removal(harness):
    harness.say("gateway-1", selecting(state=True))
    harness.write(publish(flags=0), publish(flags=KEEP), publish(flags=KEEP, args=b"[2]"), erase())
    harness.write(erase(), publish(flags=KEEP, args=b"[3]"))
    assert selected_events(harness) == [
        (b"[1]", "", [5]),
        (b"[2]", "", [5]),
        (b"[2]", "deleted", [5]),
        (b"[3]", "", [5]),
    ]
    assert harness.got("gateway-1", Event) == []


def test_a_change_has_the_id_of_the_publish_that_causes_it(harness):
    harness.say("gateway-1", selecting(state=True), subscribe())
    harness.write(publish(flags=KEEP), erase(2))
    ids = [id_ for answer in harness.got("gateway-0", Published) for id_ in answer.publications]
    assert [frame.event.publication for frame in harness.got("gateway-1", SelectedEvent)] == ids
    assert [frame.publication for frame in harness.got("gateway-1", Event)] == ids


def test_a_change_is_sent_when_it_is_durable():
    harness = ShardHarness()
    harness.say("gateway-1", selecting(state=True))
    harness.disk.held = True
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert selected_events(harness) == []
    harness.commit()
    harness.turns()
    assert selected_events(harness) == [(b"[1]", "", [5])]


def test_a_change_that_cannot_be_stored_is_not_sent():
    harness = ShardHarness()
    harness.say("gateway-1", selecting(state=True))
    harness.disk.trouble = "full"
    harness.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert selected_events(harness) == []


def test_the_expiry_of_a_key_is_a_change(harness):
    harness.say("gateway-1", selecting(state=True), subscribe())
    harness.write(publish(flags=KEEP, retain=RetainOptions(2.0)))
    (change,) = harness.got("gateway-1", SelectedEvent)
    harness.got("gateway-1", Event)
    harness.pass_time(3.0)
    (gone,) = harness.got("gateway-1", SelectedEvent)
    assert (gone.removed, gone.state, gone.event.publish.args) == ("expired", True, b"[1]")
    assert gone.event.publication > change.event.publication
    assert harness.got("gateway-1", Event) == []


@pytest.mark.parametrize("graceful", [True, False])
def test_the_end_of_a_weak_keys_session_is_a_change(graceful, harness):
    harness.say("gateway-1", selecting(state=True))
    harness.write(publish(flags=KEEP, retain=RetainOptions(weak=True)))
    harness.write(leave(1, graceful=graceful))
    assert selected_events(harness) == [(b"[1]", "", [5]), (b"[1]", "weak", [5])]


def test_the_end_of_a_weak_keys_gateway_is_a_change(harness):
    harness.say("gateway-1", selecting(state=True))
    harness.write(publish(flags=KEEP, retain=RetainOptions(weak=True)))
    harness.kill("gateway-0")
    harness.pass_time(6.0)
    assert selected_events(harness) == [(b"[1]", "", [5]), (b"[1]", "weak", [5])]


def test_the_will_of_a_key_is_a_change_like_any_other(harness):
    harness.say("gateway-1", selecting(state=True))
    will = msgpack.encode(["gone"])
    harness.write(publish(flags=KEEP, retain=RetainOptions(will=will)))
    harness.write(leave(1))
    assert selected_events(harness) == [(b"[1]", "", [5]), (will, "", [5])]


def test_a_condition_that_fails_changes_nothing(harness):
    harness.say("gateway-1", selecting(state=True))
    harness.write(publish(flags=KEEP | CONDITION, retain=RetainOptions(when_id=7)))
    assert selected_events(harness) == []


def test_keys_enter_and_leave_a_filter(harness):
    harness.say("gateway-1", selecting(id_=1, state=True, filter_=ON), selecting(id_=2, state=True))
    writes = [
        (on(state=False), [("", [2])]),
        (on(), [("", [1, 2])]),
        (on(), [("", [1, 2])]),
        (on(state=False), [("", [2]), ("filter", [1])]),
        (on(state=False), [("", [2])]),
        (publish(flags=KEEP, args=b"["), [("", [2])]),
        (on(), [("", [1, 2])]),
        (erase(), [("deleted", [1, 2])]),
        (on(state=False), [("", [2])]),
        (erase(), [("deleted", [2])]),
    ]
    for write, expected in writes:
        harness.write(write)
        news = [(removed, sorted(selectors)) for _, removed, selectors in selected_events(harness)]
        assert sorted(news) == expected, write


def test_the_expiry_of_a_key_is_sent_only_to_selectors_whose_filter_it_met(harness):
    harness.say("gateway-1", selecting(id_=1, state=True, filter_=ON))
    harness.write(
        on(retain=RetainOptions(2.0)), on(state=False, topic="a.c", retain=RetainOptions(2.0))
    )
    selected_events(harness)
    harness.pass_time(3.0)
    assert selected_events(harness) == [(b'[{"on":true}]', "expired", [1])]


def test_a_change_says_which_sessions_may_see_it(harness):
    """The gateway tells `deleted` to sessions that may see the old value but not the new one."""
    harness.say("gateway-1", selecting(state=True))
    one, other = Audience(eligible_authid=["one"]), Audience(eligible_authid=["other"])
    for audience in (one, other, None):
        harness.write(publish(flags=KEEP, audience=audience))
    harness.write(erase(audience=one))
    seen = [
        (frame.event.publish.audience, frame.removed, frame.known, frame.audience)
        for frame in harness.got("gateway-1", SelectedEvent)
    ]
    assert seen == [
        (one, "", False, None),
        (other, "", True, one),
        (None, "", False, None),
        # The erasure is for all sessions that could see the key, not only for `one`.
        (None, "deleted", False, None),
    ]


def test_a_selector_whose_filter_the_old_value_did_not_meet_does_not_know_the_key(harness):
    harness.say("gateway-1", selecting(id_=1, state=True, filter_=ON), selecting(id_=2, state=True))
    one = Audience(eligible_authid=["one"])
    harness.write(on(state=False), on(audience=one))
    harness.write(on())
    news = [(frame.selectors, frame.known) for frame in harness.got("gateway-1", SelectedEvent)]
    # If every session may see the new value, `known` makes no difference.
    assert news == [([2], False), ([1], False), ([2], True), ([1, 2], False)]


def test_a_private_key_is_shown_to_its_publisher_alone(harness):
    harness.say("gateway-1", selecting(state=True))
    mine = Audience(eligible=[1])
    harness.write(publish(flags=KEEP, audience=mine, retain=RetainOptions(weak=True, private=True)))
    harness.write(leave(1))
    changes = harness.got("gateway-1", SelectedEvent)
    assert [(frame.removed, frame.event.publish.audience) for frame in changes] == [
        ("", mine), ("weak", mine),
    ]  # fmt: skip


def test_an_event_limited_to_session_ids_changes_no_key(harness):
    harness.say("gateway-1", selecting(state=True))
    harness.write(publish(flags=KEEP, audience=Audience(eligible=[1])))
    assert selected_events(harness) == []


def test_selectors_are_separate_in_each_realm(harness):
    harness.say(
        "gateway-1", selecting(id_=1, state=True, realm="other"), selecting(id_=2, filter_=ON)
    )
    harness.write(on())
    assert selected_events(harness) == [(b'[{"on":true}]', "", [2])]


# Hot path


def test_an_event_in_a_realm_without_selectors_touches_neither_selectors_nor_replays(
    harness, monkeypatch
):
    def touched(*_):
        raise AssertionError("a plain event is none of its business")

    harness.say("gateway-1", subscribe(), selecting(state=True, realm="other"))
    monkeypatch.setattr(Selector, "wants", touched)
    monkeypatch.setattr(Replay, "precede", touched)
    monkeypatch.setattr("fox_shard.shard.pubsub.broker.select", touched)
    monkeypatch.setattr("fox_shard.shard.pubsub.realms.RealmIndex.selectors", touched)
    harness.write(publish(flags=0), publish(), publish(flags=KEEP), erase())
    assert len(harness.got("gateway-1", Event)) == 4
    assert harness.shard.broker.realms[REALM]._matching.entries == {}


# After a restart


@pytest.fixture
def stored():
    return ShardHarness(gateways=2)


def restarted(harness, *again, wanted):
    """Kill the shard right after the commit; return the events that gateway-1 is sent again.

    again: frames that gateway-0 sends, also again. wanted: subscriptions that gateway-1 replays.
    """
    harness.disk.held = True
    harness.say("gateway-0", *again, reliable=True)
    harness.commit()
    harness["gateway-1"].replay = [*wanted]
    harness.restart()
    harness.disk.held = False
    harness.turns(6)
    return [frame.event for frame in harness.got("gateway-1", Again)]


def test_a_change_that_may_have_been_missed_is_sent_again(stored):
    wanted = [selecting(id_=1, state=True), selecting(id_=2, filter_=ON), subscribe()]
    event, selected, change = restarted(stored, on(), wanted=wanted)
    assert isinstance(event, Event)
    assert (selected.selectors, selected.state) == ([2], False)
    assert (change.selectors, change.state, change.removed) == ([1], True, "")
    assert event.publication == selected.event.publication == change.event.publication


@pytest.mark.parametrize(
    ("last", "filter_", "removed"),
    [
        (on(), None, ""),
        (on(), ON, ""),
        (on(state=False), ON, "filter"),
        (erase(), None, "deleted"),
        (erase(), ON, "deleted"),
    ],
)
def test_the_earlier_value_is_not_known_when_a_change_is_sent_again(last, filter_, removed, stored):
    """Every session is therefore told, and those that may not see the new value get `deleted`."""
    (change,) = restarted(stored, last, wanted=[selecting(state=True, filter_=filter_)])
    assert (change.removed, change.known, change.audience) == (removed, True, None)


def test_a_plain_event_that_is_sent_again_is_no_change(stored):
    sent = publish(flags=ACKNOWLEDGE | CONDITION, retain=RetainOptions(when_id=0))
    assert restarted(stored, sent, wanted=[selecting(state=True)]) == []


def answered_in_one_turn(lists):
    harness = ShardHarness(gateways=2, unstored=(REALM,))
    wanted = {"of": {"$in": [[number] for number in range(lists)]}}
    harness.say("gateway-1", selecting(filter_=wanted))
    harness.turns()
    args = b'[{"of": ["x"]}]'
    frames = [publish(request=n, args=args, flags=ACKNOWLEDGE) for n in range(1, 21)]
    harness.send("gateway-0", *frames, reliable=True)
    harness.turn()
    return 20 - sum(len(one.frames) for one in harness.shard.peers["gateway-0"].waiting)


def test_comparisons_with_large_filters_are_work_of_several_turns():
    """An event may have to be compared with each value of a filter."""
    assert answered_in_one_turn(1) == 20
    assert answered_in_one_turn(5000) < 10
