"""Authorizers, a function and a procedure, asked by two gateways of real processes."""

import asyncio

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import PublishOptions
from cluster import Cluster, write_config

NOT_AUTHORIZED = "wamp.error.not_authorized"
ACKNOWLEDGED = PublishOptions(acknowledge=True)

CONFIG = """
[[realm]]
name = "realm1"
anonymous = true

[[realm.role]]
name = "anonymous"
authorizer = "{authorizer}"
[[realm.role.rule]]
uri = "com.authorize"
allow = ["register"]
"""
FUNCTION = """
async def may(session, action, uri):
    assert session["realm"] == "realm1"
    return "secret" not in uri
"""


AUTHORIZERS = ("rules:may", "com.authorize")


@pytest.fixture(scope="module", params=AUTHORIZERS)
def authorizer(request):
    return request.param


@pytest.fixture(scope="module")
def cluster(authorizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("authorizers")
    config = write_config(folder, CONFIG.format(authorizer=authorizer), rules=FUNCTION)
    with Cluster(config=config) as cluster:
        yield cluster


async def test_autobahn_clients_are_allowed_what_the_authorizer_allows(wamp, authorizer):
    first, second = await wamp.two()
    if authorizer == "com.authorize":

        def authorize(details, uri, action, options):
            return {"allow": "secret" not in uri, "disclose": True, "cache": True}

        # A session of its own: while a session waits for an answer, it is not read.
        callee = await wamp.join(gateway=1)
        await callee.register(authorize, "com.authorize")
    events = await second.events("a.open")
    for number in range(20):
        first.publish("a.secret", number)
        first.publish("a.open", number)
    await first.publish("a.open", 20, options=ACKNOWLEDGED)
    assert [(await events.get())[0][0] for _ in range(21)] == [*range(21)]
    for attempt in (
        lambda: second.events("a.secret"),
        lambda: second.call("a.secret"),
        lambda: second.publish("a.secret", 1, options=ACKNOWLEDGED),
        lambda: second.register(lambda: 1, "a.secret"),
    ):
        with pytest.raises(ApplicationError) as caught:
            await attempt()
        assert caught.value.error == NOT_AUTHORIZED


async def test_paho_clients_are_allowed_what_the_authorizer_allows(wamp, mqtt, authorizer):
    def device():
        for gateway in (0, 1):
            peer = mqtt.connect(f"device-{gateway}", gateway=gateway)
            assert peer.subscribe("a/secret", f"a/{gateway}/#", "$SYS/#") == [0x80, 0, 0x80]
            for qos in (0, 1, 2):
                peer.publish(f"a/{gateway}/secret", b"0", qos)
                peer.publish(f"a/{gateway}/open", b"%d" % qos, qos)
            assert [one[0] for one in peer.take(3)] == [f"a/{gateway}/open"] * 3
            assert peer.messages.empty()

    if authorizer == "com.authorize":
        callee = await wamp.join(gateway=1)  # behind the callee of the test before
        await callee.register(lambda _, uri, action, options: "secret" not in uri, authorizer)
    await asyncio.to_thread(device)
