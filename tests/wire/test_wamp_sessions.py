"""Sessions: joining, leaving, the session meta API over both gateways (WAMP #session-metapi)."""

import asyncio
from contextlib import closing, suppress

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CloseDetails
from raw_wamp import GOODBYE, HELLO, RawWamp
from wamp_peers import KINDS

ROUTER_ROLES = {"broker", "dealer"}


async def session_at(caller, place):
    """Return the id of the MQTT session whose client is at (host, port), once it is known."""
    while True:
        for session in await caller.call("wamp.session.list"):
            with suppress(ApplicationError):  # the session has left meanwhile
                details = await caller.call("wamp.session.get", session)
                if details["transport"]["peer"] == f"{place[0]}:{place[1]}":
                    assert details["transport"]["protocol"] == "mqtt.3.1.1"
                    return session


@pytest.mark.parametrize(("transport", "serializer"), KINDS)
@pytest.mark.cites(
    "basic.building_blocks.9", "basic.building_blocks.11", "basic.building_blocks.12"
)
async def test_a_session_is_welcomed(wamp, transport, serializer):
    session = await wamp.join(transport, serializer)
    details = session.details
    assert details.realm == "realm1"
    assert details.authrole == details.authmethod == "anonymous"
    assert 0 < details.session <= 2**53
    assert set(session._router_roles) == ROUTER_ROLES


async def test_autobahn_may_leave_the_realm_to_the_router(wamp):
    session = await wamp.join(realm=None)
    assert session.details.realm == "realm1"


@pytest.mark.parametrize(("transport", "serializer"), KINDS)
async def test_goodbye_is_answered(wamp, transport, serializer):
    session = await wamp.join(transport, serializer)
    session.leave("com.example.enough", "I go")
    details = await session.left
    assert details.reason == "wamp.close.goodbye_and_out"
    await session.closed


async def test_no_message_is_sent_after_goodbye(cluster):
    with closing(RawWamp(cluster.rawsocket)) as client:
        client.ask(GOODBYE, {}, "wamp.close.close_realm", answer=GOODBYE)
        assert client.closed() == []


@pytest.mark.parametrize(
    ("realm", "hello", "reason"),
    [
        ("nowhere", {}, "wamp.error.no_such_realm"),
        ("realm1", {"authmethods": ["ticket"]}, "wamp.error.no_matching_auth_method"),
    ],
)
async def test_hello_is_refused_with_a_reason(wamp, realm, hello, reason):
    with pytest.raises(ConnectionError, match=reason):
        await wamp.join(realm=realm, **hello)


@pytest.mark.cites("basic.sessions.2")
async def test_a_second_hello_ends_the_session(cluster):
    """WAMP #session-establishment: a protocol violation."""
    with closing(RawWamp(cluster.rawsocket)) as client:
        client.send(HELLO, "realm1", {"roles": {"caller": {}}})
        (abort,) = client.closed()
        assert (abort[0], abort[2]) == (3, "wamp.error.protocol_violation")
        assert abort[1]["message"]


async def test_count_list_and_get_know_the_sessions_of_all_gateways(wamp, mqtt):
    sessions = await wamp.two()
    device = await asyncio.to_thread(mqtt.connect, "meta-device", gateway=1)
    asking = await wamp.join(gateway=0)
    ids = {session.details.session for session in sessions}
    ids.add(await session_at(asking, device.place))
    known = set()
    # Sessions of other tests may still be ending, so this repeats until nothing changes.
    while not ids <= known or await asking.call("wamp.session.count") != len(known):
        known = set(await asking.call("wamp.session.list"))
    assert await asking.call("wamp.session.count", ["nobody"]) == 0
    details = await asking.call("wamp.session.get", sessions[1].details.session)
    assert details["session"] == sessions[1].details.session
    assert details["transport"]["type"] == "websocket"
    assert details["transport"]["protocol"] == "wamp.2.json"


async def test_unknown_sessions_and_wrong_arguments_are_errors(wamp):
    session = await wamp.join()
    for procedure, args, uri in [
        ("wamp.session.get", [1], "wamp.error.no_such_session"),
        ("wamp.session.kill", [1], "wamp.error.no_such_session"),
        ("wamp.session.kill", [session.details.session], "wamp.error.no_such_session"),
        ("wamp.session.get", ["x"], "wamp.error.invalid_argument"),
        ("wamp.session.get", [], "wamp.error.invalid_argument"),
    ]:
        with pytest.raises(ApplicationError) as caught:
            await session.call(procedure, *args)
        assert caught.value.error == uri


async def test_on_join_and_on_leave_announce_sessions_at_other_gateways(wamp):
    watcher = await wamp.join(gateway=0)
    joins = await watcher.events("wamp.session.on_join")
    leaves = await watcher.events("wamp.session.on_leave")
    other = await wamp.join("rawsocket", "cbor", gateway=1)
    while True:
        (details,), _, _ = await joins.get()
        if details["session"] == other.details.session:
            break
    assert details["authrole"] == "anonymous"
    assert details["transport"]["protocol"] == "wamp.2.cbor"
    await other.bye()
    while True:
        (session, authid, authrole), _, _ = await leaves.get()
        if session == other.details.session:
            break
    assert (authid, authrole) == ("anonymous", "anonymous")


async def test_on_join_and_on_leave_announce_mqtt_clients_even_when_they_are_cut_off(wamp, mqtt):
    watcher = await wamp.join(gateway=0)
    joins = await watcher.events("wamp.session.on_join")
    leaves = await watcher.events("wamp.session.on_leave")
    device = await asyncio.to_thread(mqtt.connect, "watched", gateway=1)
    peer = "{}:{}".format(*device.place)
    while True:
        (details,), _, _ = await joins.get()
        if details["transport"]["peer"] == peer:
            break
    assert details["transport"]["protocol"] == "mqtt.3.1.1"
    await asyncio.to_thread(device.cut)
    while (await leaves.get())[0][0] != details["session"]:
        pass


async def test_kill_ends_a_session_at_another_gateway_with_a_reason(wamp):
    killer, victim = await wamp.two()
    news = await killer.events("wamp.session.on_leave")
    await killer.call(
        "wamp.session.kill",
        victim.details.session,
        reason="com.example.maintenance",
        message="come back later",
    )
    details = await victim.left
    assert isinstance(details, CloseDetails)
    assert (details.reason, details.message) == ("com.example.maintenance", "come back later")
    while (await news.get())[0][0] != victim.details.session:
        pass  # sessions of other tests
    with pytest.raises(ApplicationError) as caught:
        await killer.call("wamp.session.get", victim.details.session)
    assert caught.value.error == "wamp.error.no_such_session"


async def test_kill_ends_an_mqtt_session_and_publishes_its_will(wamp, mqtt):
    killer = await wamp.join(gateway=0)
    wills = await killer.events("kill.will")
    device = await asyncio.to_thread(
        mqtt.connect, "killed", gateway=1, will={"topic": "kill/will", "payload": "1"}
    )
    await killer.call("wamp.session.kill", await session_at(killer, device.place))
    assert await asyncio.to_thread(device.lost.wait, 20)
    assert (await wills.get())[0] == (1,)
