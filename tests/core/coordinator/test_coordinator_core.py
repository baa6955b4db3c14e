"""The coordinator: registry, session meta events and procedures (WAMP #session-metapi)."""

import json
from typing import Any

import cbor2
import pytest
from coordinators import coordinator_of
from msgspec import msgpack

from fox_shard.backplane.frames import (
    RELIABLE_EVENT,
    Call,
    CallError,
    Cancel,
    Frame,
    Join,
    Joined,
    Kill,
    Leave,
    Publish,
    Published,
    Report,
    Result,
    SyncEnd,
)
from fox_shard.backplane.placement import Placement
from fox_shard.backplane.usage import NO_USAGE
from fox_shard.coordinator.core import Coordinator
from fox_shard.coordinator.schema_calls import MOST_WAITING
from fox_shard.documents import payloads

PLACEMENT = Placement(4)


def join(session: int, realm: str = "realm1", **more: Any) -> Join:
    fields: dict[str, Any] = {
        "authid": f"user{session}",
        "authrole": "anonymous",
        "authmethod": "anonymous",
        "authprovider": "static",
        "protocol": "wamp.2.json",
        "transport": "websocket",
        "peer": "127.0.0.1:5000",
        "client": "",
        "began": 1000.0,
        "replay": False,
        **more,
    }
    return Join(session=session, realm=realm, **fields)


def call(
    procedure: str,
    *args: Any,
    realm: str = "realm1",
    caller: int = 1,
    kwargs: dict[str, Any] | None = None,
    encoding: int = payloads.MSGPACK,
) -> Call:
    encode = {
        payloads.MSGPACK: msgpack.encode,
        payloads.JSON: lambda value: json.dumps(value).encode(),
        payloads.CBOR: cbor2.dumps,
    }[encoding]
    return Call(
        realm=realm,
        procedure=procedure,
        session=caller,
        request=77,
        order=1,
        flags=0,
        timeout=0,
        encoding=encoding,
        args=encode(list(args)),
        kwargs=encode(kwargs) if kwargs else b"",
    )


def published(effects: list[tuple[str, Frame]]) -> list[tuple[str, list[Any]]]:
    """Return [(topic, args)] of meta events, after checking that the router publishes them."""
    events = []
    for to, frame in effects:
        assert isinstance(frame, Publish)
        assert to == f"shard-{PLACEMENT.shard_of(frame.realm, frame.topic)}"
        numbers = (frame.session, frame.request, frame.order)
        assert (*numbers, frame.flags) == (0, 0, 0, RELIABLE_EVENT)
        assert (frame.encoding, frame.kwargs, frame.audience) == (payloads.MSGPACK, b"", None)
        events.append((frame.topic, msgpack.decode(frame.args)))
    return events


def left(*sessions: int) -> list[tuple[str, list[Any]]]:
    """Return the on_leave events of these sessions, as `published` does."""
    return [("wamp.session.on_leave", [s, f"user{s}", "anonymous"]) for s in sessions]


def coordinator_with(*sessions: int, gateway: str = "gateway-0") -> Coordinator:
    coordinator = coordinator_of(PLACEMENT)
    for session in sessions:
        coordinator.receive(gateway, join(session), 0.0)
    return coordinator


def listed(coordinator: Coordinator, realm: str = "realm1") -> list[int]:
    ((_, result),) = coordinator.receive("g", call("wamp.session.list", realm=realm), 0.0)
    assert isinstance(result, Result)
    sessions: list[int] = msgpack.decode(result.args)[0]
    return sessions


def test_on_join_is_published_with_the_details():
    effects = coordinator_of(PLACEMENT).receive("gateway-1", join(5), 0.0)
    assert published(effects) == [
        (
            "wamp.session.on_join",
            [
                {
                    "session": 5,
                    "authid": "user5",
                    "authrole": "anonymous",
                    "authmethod": "anonymous",
                    "authprovider": "static",
                    "transport": {
                        "type": "websocket",
                        "protocol": "wamp.2.json",
                        "peer": "127.0.0.1:5000",
                    },
                }
            ],
        )
    ]


def test_on_leave_is_published_with_session_authid_and_authrole():
    coordinator = coordinator_with(5)
    effects = coordinator.receive("gateway-0", Leave(5, graceful=True), 0.0)
    assert published(effects) == left(5)
    assert listed(coordinator) == []


@pytest.mark.cites("advanced.meta_api_sessions.2")
def test_meta_events_go_to_the_realm_of_the_session():
    coordinator = coordinator_of(PLACEMENT)
    for session, realm in enumerate(("realm1", "com.other")):
        ((_, event),) = coordinator.receive("gateway-0", join(session, realm), 0.0)
        assert isinstance(event, Publish)
        assert event.realm == realm


@pytest.mark.parametrize(
    ("gateway", "frame"),
    [
        ("gateway-0", join(5)),
        ("gateway-0", join(5, replay=True)),
        ("gateway-0", Leave(6, graceful=False)),
        ("gateway-1", Leave(5, graceful=False)),
        ("gateway-9", Leave(5, graceful=False)),
        ("gateway-0", Cancel(5, 1, "kill")),
        ("shard-0", Published(0, 0, 1)),
        ("shard-0", SyncEnd()),
        ("shard-0", Report({"a": 1}, {}, {}, {})),
    ],
)
def test_a_frame_without_news_has_no_effect(gateway, frame):
    coordinator = coordinator_with(5)
    assert coordinator.receive(gateway, frame, 0.0) == []
    assert listed(coordinator) == [5]


def test_a_session_id_at_two_gateways_leaves_with_the_later_one():
    coordinator = coordinator_with(5)
    coordinator.receive("gateway-1", join(5), 0.0)
    coordinator.receive("gateway-0", Leave(5, graceful=True), 0.0)
    assert listed(coordinator) == [5]
    coordinator.receive("gateway-1", Leave(5, graceful=True), 0.0)
    assert listed(coordinator) == []


def test_a_second_leave_is_harmless():
    coordinator = coordinator_with(5, 6)
    coordinator.receive("gateway-0", Leave(5, graceful=True), 0.0)
    assert coordinator.receive("gateway-0", Leave(5, graceful=True), 0.0) == []
    assert listed(coordinator) == [6]


def test_sessions_of_a_gateway_that_has_gone_leave():
    coordinator = coordinator_with(1, 2)
    coordinator.receive("gateway-1", join(3), 0.0)
    assert published(coordinator.gateway_gone("gateway-0", 1.0)) == left(1, 2)
    assert coordinator.gateway_gone("gateway-0", 1.0) == []
    assert coordinator.receive("gateway-0", Leave(1, graceful=False), 0.0) == []
    assert listed(coordinator) == [3]


# Replay


def test_only_replayed_sessions_are_left_after_a_replay():
    coordinator = coordinator_with(1, 2, 3)
    coordinator.receive("gateway-1", join(4), 0.0)
    assert coordinator.receive("gateway-0", join(2, replay=True), 0.0) == []
    # A session that joins during the replay belongs to it.
    assert published(coordinator.receive("gateway-0", join(9), 0.0))[0][0] == "wamp.session.on_join"
    assert published(coordinator.receive("gateway-0", SyncEnd(), 0.0)) == left(1, 3)
    assert sorted(listed(coordinator)) == [2, 4, 9]
    # The next replay begins from the sessions that there are now.
    assert coordinator.receive("gateway-0", join(9, replay=True), 0.0) == []
    assert published(coordinator.gateway_synced("gateway-0")) == left(2)


def test_an_empty_replay_ends_all_sessions_of_that_gateway():
    coordinator = coordinator_with(1)
    coordinator.receive("gateway-1", join(2), 0.0)
    assert published(coordinator.gateway_synced("gateway-0")) == left(1)
    assert listed(coordinator) == [2]
    assert coordinator.gateway_synced("gateway-9") == []


def test_a_session_that_leaves_during_the_replay_leaves_once():
    coordinator = coordinator_with(1, 2)
    coordinator.receive("gateway-0", join(2, replay=True), 0.0)
    assert published(coordinator.receive("gateway-0", Leave(1, graceful=True), 0.0)) == left(1)
    assert coordinator.gateway_synced("gateway-0") == []


def test_sessions_replayed_to_a_new_coordinator_are_not_announced():
    coordinator = coordinator_of(PLACEMENT)
    assert coordinator.receive("gateway-0", join(1, replay=True), 0.0) == []
    assert coordinator.gateway_synced("gateway-0") == []
    assert listed(coordinator) == [1]
    effects = coordinator.receive("gateway-0", Leave(1, graceful=True), 0.0)
    assert published(effects) == left(1)


def test_a_join_while_the_coordinator_was_down_is_announced_once():
    """The gateway replays the session, then sends the Join that nobody has confirmed."""
    coordinator = coordinator_of(PLACEMENT)
    assert coordinator.receive("gateway-0", join(1, replay=True), 0.0) == []
    assert len(published(coordinator.receive("gateway-0", join(1), 0.0))) == 1
    assert coordinator.receive("gateway-0", join(1), 0.0) == []


# Client ids that are taken over (MQTT)


def mqtt(session: int, client: str = "c1", **more: Any) -> Join:
    return join(session, client=client, protocol="mqtt.3.1.1", transport="tcp", **more)


def kills(effects: list[tuple[str, Frame]]) -> list[tuple[str, int]]:
    return [(to, frame.session) for to, frame in effects if isinstance(frame, Kill)]


def test_a_client_id_in_use_at_another_gateway_is_taken_over():
    """MQTT-3.1.4-2: the server disconnects the existing client."""
    coordinator = coordinator_of(PLACEMENT)
    assert kills(coordinator.receive("gateway-0", mqtt(1), 0.0)) == []
    effects = coordinator.receive("gateway-1", mqtt(2, began=1001.0), 0.0)
    assert kills(effects) == [("gateway-0", 1)]
    assert len(published(effects[1:])) == 1
    *left_, joined_ = coordinator.receive("gateway-0", Leave(1, graceful=False), 0.0)
    assert published(left_) == left(1)
    assert joined_ == ("gateway-1", Joined(2))
    assert kills(coordinator.receive("gateway-0", mqtt(3, began=1002.0), 0.0)) == [("gateway-1", 2)]


def test_a_session_whose_kill_was_lost_is_killed_again_when_it_is_replayed():
    """The caller of wamp.session.kill has been told that the session ends."""
    coordinator = coordinator_of(PLACEMENT)
    for session in (1, 2):
        coordinator.receive("gateway-0", join(session), 0.0)
    effects = coordinator.receive("gateway-0", call("wamp.session.kill", 2), 0.0)
    assert kills(effects) == [("gateway-0", 2)]
    for session, killed in ((1, []), (2, [("gateway-0", 2)])):
        again = coordinator.receive("gateway-0", join(session, replay=True), 0.0)
        assert kills(again) == killed
    coordinator.receive("gateway-0", Leave(2, graceful=False), 0.0)
    assert kills(coordinator.receive("gateway-0", join(2, replay=True), 0.0)) == []


def joined(effects: list[tuple[str, Frame]]) -> list[tuple[str, int]]:
    return [(to, frame.session) for to, frame in effects if isinstance(frame, Joined)]


def test_a_session_that_takes_over_has_joined_when_all_earlier_ones_have_ended():
    """MQTT-3.1.4-2: what their ends cause comes before CONNACK, and so before what it does."""
    coordinator = coordinator_of(PLACEMENT)

    def receive(gateway: str, frame: Frame) -> list[tuple[str, int]]:
        return joined(coordinator.receive(gateway, frame, 0.0))

    assert receive("gateway-0", mqtt(1)) == [("gateway-0", 1)]
    assert receive("gateway-1", mqtt(2, began=1001.0)) == []
    assert receive("gateway-2", mqtt(3, began=1002.0)) == []
    assert receive("gateway-1", Leave(2, graceful=False)) == []
    assert receive("gateway-0", Leave(1, graceful=False)) == [("gateway-2", 3)]
    assert receive("gateway-2", Leave(3, graceful=True)) == []
    assert receive("gateway-1", mqtt(4)) == [("gateway-1", 4)]


def test_a_session_that_leaves_while_it_waits_does_not_hold_up_the_next_one():
    coordinator = coordinator_of(PLACEMENT)
    coordinator.receive("gateway-0", mqtt(1), 0.0)
    coordinator.receive("gateway-1", mqtt(2, began=1001.0), 0.0)
    coordinator.receive("gateway-1", Leave(2, graceful=False), 0.0)
    assert joined(coordinator.receive("gateway-2", mqtt(3, began=1002.0), 0.0)) == []
    left_ = coordinator.receive("gateway-0", Leave(1, graceful=False), 0.0)
    assert joined(left_) == [("gateway-2", 3)]


@pytest.mark.parametrize("gone", ["gone", "synced"])
def test_a_session_has_joined_when_the_gateway_of_the_earlier_one_has_gone(gone):
    coordinator = coordinator_of(PLACEMENT)
    coordinator.receive("gateway-0", mqtt(1), 0.0)
    coordinator.receive("gateway-1", mqtt(2, began=1001.0), 0.0)
    if gone == "gone":
        effects = coordinator.gateway_gone("gateway-0", 0.0)
    else:
        effects = coordinator.gateway_synced("gateway-0")
    assert joined(effects) == [("gateway-1", 2)]


def test_an_earlier_session_that_stays_alone_is_not_ending():
    """The newer one has left, and the order to end the earlier one has been lost."""
    coordinator = coordinator_of(PLACEMENT)
    coordinator.receive("gateway-0", mqtt(1), 0.0)
    coordinator.receive("gateway-1", mqtt(2, began=1001.0), 0.0)
    coordinator.receive("gateway-1", Leave(2, graceful=False), 0.0)
    assert kills(coordinator.receive("gateway-0", mqtt(1, replay=True), 0.0)) == []
    effects = coordinator.receive("gateway-1", mqtt(3, began=1002.0), 0.0)
    assert (kills(effects), joined(effects)) == ([("gateway-0", 1)], [])


def test_wamp_sessions_and_replayed_ones_are_not_told_that_they_have_joined():
    coordinator = coordinator_of(PLACEMENT)
    for one in (join(1), mqtt(2, replay=True)):
        assert joined(coordinator.receive("gateway-0", one, 0.0)) == []
    assert joined(coordinator.receive("gateway-0", Leave(1, graceful=True), 0.0)) == []


@pytest.mark.parametrize("other", [mqtt(2, "c2"), mqtt(2, realm="com.other"), join(2)])
def test_other_client_ids_realms_and_wamp_sessions_are_not_taken_over(other):
    coordinator = coordinator_of(PLACEMENT)
    coordinator.receive("gateway-0", mqtt(1), 0.0)
    coordinator.receive("gateway-0", join(3), 0.0)
    assert kills(coordinator.receive("gateway-1", other, 0.0)) == []


def test_a_client_id_is_free_again_when_its_session_has_left():
    coordinator = coordinator_of(PLACEMENT)
    coordinator.receive("gateway-0", mqtt(1), 0.0)
    coordinator.receive("gateway-0", Leave(1, graceful=True), 0.0)
    assert kills(coordinator.receive("gateway-1", mqtt(2), 0.0)) == []


def test_the_older_of_two_replayed_sessions_with_one_client_id_ends():
    coordinator = coordinator_of(PLACEMENT)
    coordinator.receive("gateway-0", mqtt(1, began=2000.0, replay=True), 0.0)
    effects = coordinator.receive("gateway-1", mqtt(2, began=1000.0, replay=True), 0.0)
    assert kills(effects) == [("gateway-1", 2)]


# Procedures


@pytest.fixture
def populated() -> Coordinator:
    coordinator = coordinator_of(PLACEMENT)
    coordinator.receive("gateway-0", join(1), 0.0)
    coordinator.receive("gateway-1", join(2, authrole="admin"), 0.0)
    coordinator.receive("gateway-1", mqtt(3, authrole="device"), 0.0)
    coordinator.receive("gateway-1", join(4, "com.other"), 0.0)
    return coordinator


def answer(coordinator: Coordinator, request: Call) -> Result | CallError:
    *_, (to, frame) = coordinator.receive("gateway-0", request, 0.0)
    assert to == "gateway-0"
    assert isinstance(frame, Result | CallError)
    assert (frame.session, frame.request, frame.encoding) == (1, 77, payloads.MSGPACK)
    return frame


@pytest.mark.parametrize("encoding", [payloads.JSON, payloads.MSGPACK, payloads.CBOR])
@pytest.mark.parametrize(
    ("procedure", "args", "realm", "result"),
    [
        ("wamp.session.count", [], "realm1", 3),
        ("wamp.session.count", [None], "realm1", 3),
        ("wamp.session.count", [["admin", "device"]], "realm1", 2),
        ("wamp.session.count", [["nobody"]], "realm1", 0),
        ("wamp.session.count", [[]], "realm1", 0),
        ("wamp.session.count", [], "com.other", 1),
        ("wamp.session.count", [], "nowhere", 0),
        ("wamp.session.list", [], "realm1", [1, 2, 3]),
        ("wamp.session.list", [["admin"]], "realm1", [2]),
        ("wamp.session.list", [], "com.other", [4]),
    ],
)
@pytest.mark.cites("advanced.meta_api_sessions.3")
def test_count_and_list_cover_the_realm_and_the_given_authroles(
    populated, encoding, procedure, args, realm, result
):
    found = answer(populated, call(procedure, *args, realm=realm, encoding=encoding))
    assert isinstance(found, Result)
    assert not found.progress
    assert msgpack.decode(found.args) == [result]


@pytest.mark.parametrize(
    ("procedure", "result"), [("wamp.session.count", 1), ("wamp.session.list", [2])]
)
def test_the_authroles_may_be_a_keyword_argument_as_with_crossbar(populated, procedure, result):
    request = call(procedure)
    kwargs = msgpack.encode({"filter_authroles": ["admin"]})
    request.encoding, request.kwargs = payloads.MSGPACK, kwargs
    assert msgpack.decode(answer(populated, request).args) == [result]
    request.kwargs = msgpack.encode({"filter_authroles": "admin"})
    assert answer(populated, request).uri == "wamp.error.invalid_argument"


@pytest.mark.parametrize(("encoding", "args"), [(payloads.NONE, b""), (payloads.MSGPACK, b"")])
def test_a_call_may_have_no_arguments(populated, encoding, args):
    request = call("wamp.session.count")
    request.encoding, request.args = encoding, args
    found = answer(populated, request)
    assert isinstance(found, Result)
    assert msgpack.decode(found.args) == [3]


def test_a_call_may_have_a_raw_argument(populated):
    request = call("wamp.session.get")
    request.encoding, request.args = payloads.RAW, b"3"
    found = answer(populated, request)
    assert isinstance(found, Result)
    assert msgpack.decode(found.args)[0]["authrole"] == "device"


@pytest.mark.parametrize("session", [3, 3.0])
def test_get_returns_the_details(populated, session):
    found = answer(populated, call("wamp.session.get", session))
    assert isinstance(found, Result)
    assert msgpack.decode(found.args) == [
        {
            "session": 3,
            "authid": "user3",
            "authrole": "device",
            "authmethod": "anonymous",
            "authprovider": "static",
            "transport": {"type": "tcp", "protocol": "mqtt.3.1.1", "peer": "127.0.0.1:5000"},
        }
    ]


@pytest.mark.parametrize(
    ("kwargs", "reason", "message"),
    [
        (None, "wamp.close.killed", ""),
        ({"reason": "com.app.bye"}, "com.app.bye", ""),
        ({"message": "Good night"}, "wamp.close.killed", "Good night"),
        ({"reason": "wamp.close.x", "message": "", "other": 1}, "wamp.close.x", ""),
        ({"reason": None, "message": None}, "wamp.close.killed", ""),
    ],
)
def test_kill_ends_the_session_at_its_gateway_and_is_answered_at_once(
    populated, kwargs, reason, message
):
    effects = populated.receive("gateway-0", call("wamp.session.kill", 3, kwargs=kwargs), 0.0)
    assert effects[0] == ("gateway-1", Kill(3, reason, message))
    assert effects[1:] == [
        ("gateway-0", Result(1, 77, False, payloads.MSGPACK, msgpack.encode([])))
    ]


@pytest.mark.parametrize(
    ("procedure", "args", "killed", "answer"),
    [
        ("wamp.session.kill_by_authid", ["user3"], [3], [[3]]),
        ("wamp.session.kill_by_authid", ["user1"], [], [[]]),  # the caller's own session stays
        ("wamp.session.kill_by_authid", ["nobody"], [], [[]]),
        ("wamp.session.kill_by_authrole", ["no such role"], [], [0]),
        ("wamp.session.kill_all", [], [2, 3], [2]),
    ],
)
def test_kill_of_many_spares_the_caller_and_other_realms(
    populated, procedure, args, killed, answer
):
    """WAMP #session-metapi."""
    effects = populated.receive("gateway-0", call(procedure, *args), 0.0)
    assert [frame.session for _, frame in effects[:-1]] == killed
    assert effects[-1][1].args == msgpack.encode(answer)


@pytest.mark.parametrize(
    ("procedure", "args", "kwargs", "uri"),
    [
        ("wamp.session.kill_by_authid", [3], {}, "invalid_argument"),
        ("wamp.session.kill_all", [3], {}, "invalid_argument"),
        ("wamp.session.kill_all", [], {"reason": "not a uri"}, "invalid_uri"),
        ("wamp.session.get", [99], {}, "no_such_session"),
        ("wamp.session.get", [4], {}, "no_such_session"),  # in another realm
        ("wamp.session.get", [-1], {}, "no_such_session"),
        ("wamp.session.get", [], {}, "invalid_argument"),
        ("wamp.session.get", [None], {}, "invalid_argument"),
        ("wamp.session.get", ["3"], {}, "invalid_argument"),
        ("wamp.session.get", [True], {}, "invalid_argument"),
        ("wamp.session.get", [3.5], {}, "invalid_argument"),
        ("wamp.session.get", [[3]], {}, "invalid_argument"),
        ("wamp.session.get", [3, 4], {}, "invalid_argument"),
        ("wamp.session.count", ["admin"], {}, "invalid_argument"),
        ("wamp.session.count", [[1]], {}, "invalid_argument"),
        ("wamp.session.list", [{}], {}, "invalid_argument"),
        ("wamp.session.list", [[], []], {}, "invalid_argument"),
        ("wamp.session.kill", [99], {}, "no_such_session"),
        ("wamp.session.kill", [4], {}, "no_such_session"),
        ("wamp.session.kill", [1], {}, "no_such_session"),  # the caller itself
        ("wamp.session.kill", [], {}, "invalid_argument"),
        ("wamp.session.kill", ["3"], {}, "invalid_argument"),
        ("wamp.session.kill", [3], {"reason": ""}, "invalid_uri"),
        ("wamp.session.kill", [3], {"reason": "a..b"}, "invalid_uri"),
        ("wamp.session.kill", [3], {"reason": "a b"}, "invalid_uri"),
        ("wamp.session.kill", [3], {"reason": 5}, "invalid_uri"),
        ("wamp.session.kill", [3], {"message": 5}, "invalid_argument"),
        ("wamp.session.nothing", [], {}, "no_such_procedure"),
        ("wamp.registration.list", [], {}, "no_such_procedure"),
        ("wamp.", [], {}, "no_such_procedure"),
    ],
)
def test_an_invalid_call_is_answered_with_an_error(populated, procedure, args, kwargs, uri):
    effects = populated.receive("gateway-0", call(procedure, *args, kwargs=kwargs), 0.0)
    ((to, error),) = effects
    assert to == "gateway-0"
    assert isinstance(error, CallError)
    assert error.uri == f"wamp.error.{uri}"
    assert (error.session, error.request, error.encoding) == (1, 77, payloads.MSGPACK)
    (sentence,) = msgpack.decode(error.args)
    assert sentence


@pytest.mark.parametrize(
    ("encoding", "args"),
    [
        (payloads.JSON, b"[1"),
        (payloads.JSON, b'{"a":1}'),
        (payloads.JSON, b"[" * 100_000),
        (payloads.MSGPACK, b"\xc1"),
        (payloads.CBOR, b"\xff"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused(populated, encoding, args):
    request = call("wamp.session.get")
    request.encoding, request.args = encoding, args
    error = answer(populated, request)
    assert isinstance(error, CallError)
    assert error.uri == "wamp.error.invalid_argument"


# Metrics


def gauges_of(coordinator, now):
    return {
        (owner, name): value for owner, name, value, kind in coordinator.flush(now) if kind == "g"
    }


def test_sessions_are_gauges_by_realm_and_protocol(populated):
    assert gauges_of(populated, 0.0) == {
        ("realm1", "sessions"): 3,
        ("realm1", "wamp.sessions"): 2,
        ("realm1", "mqtt.sessions"): 1,
        ("com.other", "sessions"): 1,
        ("com.other", "wamp.sessions"): 1,
        ("coordinator", "uptime"): 0,
    }
    populated.gateway_gone("gateway-1", 1.0)
    gauges = gauges_of(populated, 2.0)
    assert gauges["realm1", "sessions"] == 1
    assert gauges["realm1", "mqtt.sessions"] == 0
    assert gauges["com.other", "sessions"] == 0


def test_reports_of_gateways_and_shards_are_kept_for_statsd_and_for_prometheus():
    coordinator = coordinator_of(PLACEMENT)
    of_gateway = Report({}, {"buffers": 10}, {"realm1": {"publishes": 3}}, {})
    coordinator.receive("gateway-0", of_gateway, 0.0)
    coordinator.receive("shard-0", Report({"frames": 4}, {"keys": 1}, {}, {}), 0.0)
    values = coordinator.flush(1.0)
    assert ("realm1", "publishes", 3, "c") in values
    assert ("shard-0", "frames", 4, "c") in values
    assert coordinator.sums(1.0).processes["shard-0"].gauges == {"keys": 1}
    coordinator.shard_gone("shard-0", 1.0)
    assert ("shard-0", "keys", 0, "g") in coordinator.flush(2.0)
    coordinator.gateway_gone("gateway-0", 2.0)
    assert ("gateway-0", "buffers", 0, "g") in coordinator.flush(3.0)
    sums = coordinator.sums(3.0)
    assert sums.processes["gateway-0"].gauges == sums.processes["shard-0"].gauges == {}
    assert sums.realms == {"realm1": {"publishes": 3}}


def test_refused_calls_are_reported():
    coordinator = coordinator_of(PLACEMENT, realms=["realm1"])
    for request in range(MOST_WAITING + 2):
        frame = Call("realm1", "fox.schema.get", 5, request, 1, 0, 0, payloads.MSGPACK, b"\x90")
        coordinator.receive("gateway-0", frame, 0.0)
    coordinator.report(NO_USAGE, 1.0)
    assert ("coordinator", "refused.schema_calls", 2, "c") in coordinator.flush(1.0)
    coordinator.report(NO_USAGE, 2.0)
    assert [name for _, name, _, _ in coordinator.flush(2.0) if "refused" in name] == []
