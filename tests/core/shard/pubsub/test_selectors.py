"""Subscriptions to state and with filters, in the shard (semantics: subscribing)."""

import pytest
from msgspec import msgpack
from shard_harness import REALM, Stage, leave, publish, subscribe

from fox_shard.backplane.frames import (
    ACKNOWLEDGE,
    CONDITION,
    EMPTY,
    QOS1,
    RETAIN,
    Again,
    Audience,
    Event,
    Keep,
    Published,
    Selected,
    Selection,
    Unsubscribe,
)
from fox_shard.config import Realm
from fox_shard.shard.pubsub.replay import Replay
from fox_shard.shard.pubsub.selectors import Selector

KEEP = ACKNOWLEDGE | RETAIN
ERASE = KEEP | EMPTY
ON = {"on": True}


def wants(pattern="*#", id_=5, *, state=False, filter_=None, token=0, replay=False, realm=REALM):
    """A Subscribe with a selection."""
    packed = b"" if filter_ is None else msgpack.encode(filter_)
    frame = subscribe(pattern, token=token, replay=replay, realm=realm)
    frame.selection = Selection(id_, state, packed)
    return frame


def on(*, state=True, request=1, **more):
    args = b'[{"on":true}]' if state else b'[{"on":false}]'
    return publish(request=request, args=args, **{"flags": KEEP, **more})


def erase(request=1, **more):
    return publish(request=request, flags=ERASE, args=b"", **more)


def told(stage, name="gateway-1"):
    """[(what the value is or was, why it is no more, selections)]"""
    return [
        (frame.event.publish.args, frame.removed, frame.selections)
        for frame in stage.got(name, Selected)
    ]


@pytest.fixture(params=["stored", "memory"])
def stage(request):
    """Writers are at gateway-0."""
    stage = Stage(gateways=3, unstored=() if request.param == "stored" else (REALM,))
    stage.write = lambda *frames: stage.say("gateway-0", *frames, reliable=True)
    return stage


# Filters


def test_an_event_goes_to_the_selections_whose_filter_it_meets(stage):
    stage.say("gateway-1", wants(id_=1, filter_=ON), wants("=a.b", 2, filter_={"on": False}))
    stage.say("gateway-2", wants("=a.c", 3, filter_=ON), wants("*a.+", 4, filter_=ON))
    stage.write(on(flags=0), on(state=False, flags=0), publish(flags=0))
    assert told(stage) == [(b'[{"on":true}]', "", [1]), (b'[{"on":false}]', "", [2])]
    assert told(stage, "gateway-2") == [(b'[{"on":true}]', "", [4])]
    assert stage.got("gateway-1", Event) == []


def test_of_several_selections_of_a_gateway_one_frame_names_all(stage):
    stage.say("gateway-1", wants(id_=1, filter_=ON), wants("=a.b", 2, filter_=ON))
    stage.say("gateway-1", wants("=a.b", 3, filter_={}))
    stage.write(on(flags=0))
    ((_, _, selections),) = told(stage)
    assert sorted(selections) == [1, 2, 3]


def test_who_wants_all_events_gets_them_besides(stage):
    stage.say("gateway-1", subscribe(), wants(filter_=ON))
    stage.write(on(state=False, flags=0), on(flags=0))
    assert [event.publish.args for event in stage.got("gateway-1", Event)] == [
        b'[{"on":false}]', b'[{"on":true}]',
    ]  # fmt: skip
    assert told(stage) == [(b'[{"on":true}]', "", [5])]


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
def test_a_filter_is_about_the_document(args, kwargs, meets, stage):
    stage.say("gateway-1", wants(filter_=ON))
    stage.write(publish(args=args, kwargs=kwargs))
    assert len(told(stage)) == meets


def test_where_keyword_arguments_are_headers_they_do_not_belong_to_it():
    stage = Stage(realms=[Realm(name=REALM, kwargs_are_headers=True)])
    stage.say("gateway-1", wants(filter_=ON))
    stage.say("gateway-0", publish(args=b"[]", kwargs=b'{"on":true}'), on(request=2))
    assert told(stage) == [(b'[{"on":true}]', "", [5])]


@pytest.mark.parametrize(
    ("flags", "reliable"), [(0, 0), (ACKNOWLEDGE, 1), (QOS1, 0), (ACKNOWLEDGE | QOS1, 1)]
)
def test_a_selected_event_is_as_safe_as_the_event_itself(flags, reliable, stage):
    stage.say("gateway-1", wants(filter_=ON))
    stage["gateway-1"].silent = True
    stage.write(on(flags=flags))
    assert len(told(stage)) == 1
    assert stage.got("gateway-0", Published) == []
    puppet = stage["gateway-1"]
    puppet.replay = [wants(filter_=ON)]
    puppet.link.break_off(stage.now)
    puppet.link.watermark = 0
    stage.shard.lost("gateway-1", stage.now)
    puppet.silent = False
    stage.turns(6)
    assert len(told(stage)) == reliable
    assert len(stage.got("gateway-0", Published)) == (flags & ACKNOWLEDGE > 0)


def test_what_is_not_subscribed_to_any_more_is_not_selected(stage):
    stage.say("gateway-1", wants(id_=1, filter_=ON), wants(id_=2, state=True), subscribe("*#"))
    for gone, left in ((7, {1, 2}), (1, {2}), (2, set()), (0, set())):
        stage.say("gateway-1", Unsubscribe(REALM, "*#", gone))
        stage.write(on())
        found = {id_ for _, _, selections in told(stage) for id_ in selections}
        assert found == left
        assert len(stage.got("gateway-1", Event)) == (gone != 0)
    assert stage.shard.broker.realms[REALM].attentive == 0


def test_a_gateway_that_has_gone_wants_nothing_more(stage):
    stage.say("gateway-1", wants(filter_=ON, token=1, replay=True))
    stage.kill("gateway-1")
    stage.pass_time(6.0)
    assert stage.shard.broker.realms[REALM].attentive == 0


# State


def test_a_state_stream_is_told_each_value_and_the_end(stage):
    stage.say("gateway-1", wants(state=True))
    stage.write(publish(flags=0), publish(flags=KEEP), publish(flags=KEEP, args=b"[2]"), erase())
    stage.write(erase(), publish(flags=KEEP, args=b"[3]"))
    assert told(stage) == [
        (b"[1]", "", [5]),
        (b"[2]", "", [5]),
        (b"[2]", "deleted", [5]),
        (b"[3]", "", [5]),
    ]
    assert stage.got("gateway-1", Event) == []


def test_a_change_has_the_id_of_the_publish_that_makes_it(stage):
    stage.say("gateway-1", wants(state=True), subscribe())
    stage.write(publish(flags=KEEP), erase(2))
    ids = [id_ for answer in stage.got("gateway-0", Published) for id_ in answer.publications]
    assert [frame.event.publication for frame in stage.got("gateway-1", Selected)] == ids
    assert [frame.publication for frame in stage.got("gateway-1", Event)] == ids


def test_a_change_is_told_when_it_is_durable():
    stage = Stage()
    stage.say("gateway-1", wants(state=True))
    stage.disk.held = True
    stage.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert told(stage) == []
    stage.commit()
    stage.turns()
    assert told(stage) == [(b"[1]", "", [5])]


def test_a_change_that_cannot_be_stored_is_not_told():
    stage = Stage()
    stage.say("gateway-1", wants(state=True))
    stage.disk.trouble = "full"
    stage.say("gateway-0", publish(flags=KEEP), reliable=True)
    assert told(stage) == []


def test_a_key_expires(stage):
    stage.say("gateway-1", wants(state=True), subscribe())
    stage.write(publish(flags=KEEP, keep=Keep(2.0)))
    (change,) = stage.got("gateway-1", Selected)
    stage.got("gateway-1", Event)
    stage.pass_time(3.0)
    (gone,) = stage.got("gateway-1", Selected)
    assert (gone.removed, gone.state, gone.event.publish.args) == ("expired", True, b"[1]")
    assert gone.event.publication > change.event.publication
    assert stage.got("gateway-1", Event) == []


@pytest.mark.parametrize("graceful", [True, False])
def test_a_weak_key_goes_with_its_session(graceful, stage):
    stage.say("gateway-1", wants(state=True))
    stage.write(publish(flags=KEEP, keep=Keep(weak=True)))
    stage.write(leave(1, graceful=graceful))
    assert told(stage) == [(b"[1]", "", [5]), (b"[1]", "weak", [5])]


def test_a_weak_key_goes_with_its_gateway(stage):
    stage.say("gateway-1", wants(state=True))
    stage.write(publish(flags=KEEP, keep=Keep(weak=True)))
    stage.kill("gateway-0")
    stage.pass_time(6.0)
    assert told(stage) == [(b"[1]", "", [5]), (b"[1]", "weak", [5])]


def test_the_will_of_a_key_is_a_change_like_any_other(stage):
    stage.say("gateway-1", wants(state=True))
    will = msgpack.encode(["gone"])
    stage.write(publish(flags=KEEP, keep=Keep(will=will)))
    stage.write(leave(1))
    assert told(stage) == [(b"[1]", "", [5]), (will, "", [5])]


def test_a_condition_that_fails_changes_nothing(stage):
    stage.say("gateway-1", wants(state=True))
    stage.write(publish(flags=KEEP | CONDITION, keep=Keep(when_id=7)))
    assert told(stage) == []


def test_keys_enter_and_leave_a_filter(stage):
    stage.say("gateway-1", wants(id_=1, state=True, filter_=ON), wants(id_=2, state=True))
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
        stage.write(write)
        news = [(removed, sorted(selections)) for _, removed, selections in told(stage)]
        assert sorted(news) == expected, write


def test_a_key_of_a_filter_expires_only_for_those_who_were_shown_it(stage):
    stage.say("gateway-1", wants(id_=1, state=True, filter_=ON))
    stage.write(on(keep=Keep(2.0)), on(state=False, topic="a.c", keep=Keep(2.0)))
    told(stage)
    stage.pass_time(3.0)
    assert told(stage) == [(b'[{"on":true}]', "expired", [1])]


def test_who_may_see_a_change_is_in_it(stage):
    """The gateway tells sessions that may see the old value, but not the new one, `deleted`."""
    stage.say("gateway-1", wants(state=True))
    one, other = Audience(eligible_authid=["one"]), Audience(eligible_authid=["other"])
    for audience in (one, other, None):
        stage.write(publish(flags=KEEP, audience=audience))
    stage.write(erase(audience=one))
    seen = [
        (frame.event.publish.audience, frame.removed, frame.known, frame.audience)
        for frame in stage.got("gateway-1", Selected)
    ]
    assert seen == [
        (one, "", False, None),
        (other, "", True, one),
        (None, "", False, None),
        # Erased: for those who could see it, whoever may see the erasing event.
        (None, "deleted", False, None),
    ]


def test_who_was_not_shown_the_old_value_by_its_filter_does_not_know_the_key(stage):
    stage.say("gateway-1", wants(id_=1, state=True, filter_=ON), wants(id_=2, state=True))
    one = Audience(eligible_authid=["one"])
    stage.write(on(state=False), on(audience=one))
    stage.write(on())
    news = [(frame.selections, frame.known) for frame in stage.got("gateway-1", Selected)]
    # Where everybody may see the new value, that makes no difference.
    assert news == [([2], False), ([1], False), ([2], True), ([1, 2], False)]


def test_a_private_key_is_told_to_its_publisher_alone(stage):
    stage.say("gateway-1", wants(state=True))
    mine = Audience(eligible=[1])
    stage.write(publish(flags=KEEP, audience=mine, keep=Keep(weak=True, private=True)))
    stage.write(leave(1))
    changes = stage.got("gateway-1", Selected)
    assert [(frame.removed, frame.event.publish.audience) for frame in changes] == [
        ("", mine), ("weak", mine),
    ]  # fmt: skip


def test_an_event_for_sessions_of_now_changes_no_key(stage):
    stage.say("gateway-1", wants(state=True))
    stage.write(publish(flags=KEEP, audience=Audience(eligible=[1])))
    assert told(stage) == []


def test_realms_know_nothing_of_each_others_selections(stage):
    stage.say("gateway-1", wants(id_=1, state=True, realm="other"), wants(id_=2, filter_=ON))
    stage.write(on())
    assert told(stage) == [(b'[{"on":true}]', "", [2])]


# Hot path


def test_where_nobody_selects_an_event_touches_neither_selectors_nor_replays(stage, monkeypatch):
    def touched(*_):
        raise AssertionError("a plain event is none of its business")

    stage.say("gateway-1", subscribe(), wants(state=True, realm="other"))
    monkeypatch.setattr(Selector, "wants", touched)
    monkeypatch.setattr(Replay, "precede", touched)
    monkeypatch.setattr("fox_shard.shard.pubsub.broker.select", touched)
    monkeypatch.setattr("fox_shard.shard.pubsub.realms.RealmIndex.selectors", touched)
    stage.write(publish(flags=0), publish(), publish(flags=KEEP), erase())
    assert len(stage.got("gateway-1", Event)) == 4
    assert stage.shard.broker.realms[REALM].selections.entries == {}


# After a restart


@pytest.fixture
def stored():
    return Stage(gateways=2)


def restarted(stage, *again, wanted):
    """The shard dies behind the commit; gateway-0 sends again, gateway-1 has subscriptions."""
    stage.disk.held = True
    stage.say("gateway-0", *again, reliable=True)
    stage.commit()
    stage["gateway-1"].replay = [*wanted]
    stage.restart()
    stage.disk.held = False
    stage.turns(6)
    return [frame.event for frame in stage.got("gateway-1", Again)]


def test_a_change_that_may_have_been_missed_comes_again(stored):
    wanted = [wants(id_=1, state=True), wants(id_=2, filter_=ON), subscribe()]
    event, selected, change = restarted(stored, on(), wanted=wanted)
    assert isinstance(event, Event)
    assert (selected.selections, selected.state) == ([2], False)
    assert (change.selections, change.state, change.removed) == ([1], True, "")
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
def test_what_a_key_was_before_is_not_known_then(last, filter_, removed, stored):
    """So all are told, and those who may not see it that it is deleted."""
    (change,) = restarted(stored, last, wanted=[wants(state=True, filter_=filter_)])
    assert (change.removed, change.known, change.audience) == (removed, True, None)


def test_a_plain_event_that_comes_again_is_no_change(stored):
    sent = publish(flags=ACKNOWLEDGE | CONDITION, keep=Keep(when_id=0))
    assert restarted(stored, sent, wanted=[wants(state=True)]) == []
