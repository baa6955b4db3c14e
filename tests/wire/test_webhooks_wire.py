"""Webhooks of a running server, at a real HTTP server that answers as the test wants."""

import json
from base64 import b64encode
from contextlib import ExitStack

import pytest
import standardwebhooks
from certificates import Authority
from cluster import Cluster, await_true, write_config
from programs import Fox
from webhook_target import HANG, Target

from fox_shard.client import Session

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OLD = "whsec_" + b64encode(bytes(range(1, 33))).decode()

CONFIGURATION = """
[[realm]]
name = "realm1"

[[realm.reducer]]
pattern = "#"
function = "count"
destination = "counted"

[[realm.webhook]]
topic = "orders.#"
url = "{target}/orders"
secret = "{secret}"
headers = {{Authorization = "Bearer of-the-target"}}
longest_delay = 1

[[realm.webhook]]
name = "rotating"
topic = "rotating.#"
url = "{target}/rotating?key=1"
secret_file = "secrets"

[[realm.webhook]]
name = "hanging"
topic = "hanging.#"
url = "{target}/hanging"
timeout = 0.5
longest_delay = 1

[[realm.webhook]]
name = "small"
topic = "small.#"
url = "{target}/small"
queue_limit = 5
timeout = 0.5
longest_delay = 1

[[realm.webhook]]
name = "gone"
topic = "gone.#"
url = "{target}/gone"

[[realm.webhook]]
name = "moved"
topic = "moved.#"
url = "{target}/moved"
longest_delay = 1

[[realm.webhook]]
name = "trusting"
topic = "tls.#"
url = "{secure}/trusting"
ca_file = "ca.pem"

[[realm.webhook]]
name = "untrusting"
topic = "tls.#"
url = "{secure}/untrusting"
longest_delay = 1
"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posting")
    authority = Authority(folder)
    with ExitStack() as stack:
        target = stack.enter_context(Target())
        secure = stack.enter_context(Target(authority.sign("target", "target")))
        target.secure = secure
        text = CONFIGURATION.format(target=target.url, secure=secure.url, secret=SECRET)
        config = write_config(folder, text)
        (folder / "conf" / "secrets").write_text(f"{SECRET}\n{OLD}\n")
        (folder / "conf" / "secrets").chmod(0o600)
        (folder / "conf" / "ca.pem").write_bytes(authority.path.read_bytes())
        cluster = stack.enter_context(Cluster(shards=2, config=config))
        cluster.start("worker")
        await_true("the worker is well", lambda: cluster.health("worker").get("status") == "ok")
        yield cluster, target


@pytest.fixture
def cluster(everything):
    return everything[0]


@pytest.fixture
def target(everything):
    return everything[1]


def session(cluster):
    return Session(f"ws://127.0.0.1:{cluster.websocket}/ws", "realm1")


def publish(cluster, topic, *values):
    with session(cluster) as router:
        return [router.publish(topic, [value], {}) for value in values]


def listed(cluster, name):
    lines = Fox(cluster).prints("webhooks", "--json").splitlines()
    return next(one for one in map(json.loads, lines) if one["name"] == name)


def arrives(target, path, topic, *values):
    await_true(
        f"{values} at {path}, not {target.values(path, topic)}",
        lambda: target.values(path, topic) == list(values),
    )


def test_an_event_is_posted_and_its_signature_is_what_others_expect(cluster, target):
    with session(cluster) as router:
        publication = router.publish("orders.a", ["ä"], {}, kwargs={"n": 1})
    arrives(target, "/orders", "orders.a", "ä")
    (request,) = [one for one in target.got("/orders") if one.topic == "orders.a"]
    verified = standardwebhooks.Webhook(SECRET).verify(request.body, request.headers)
    assert verified["data"] == {"args": ["ä"], "kwargs": {"n": 1}}
    assert (verified["id"], verified["realm"]) == (publication, "realm1")
    assert request.headers["webhook-id"] == str(publication)
    assert request.headers["authorization"] == "Bearer of-the-target"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("fox-shard/")
    assert "cookie" not in request.headers


def test_while_secrets_are_exchanged_both_verify(cluster, target):
    publish(cluster, "rotating.a", 1)
    arrives(target, "/rotating?key=1", "rotating.a", 1)
    (request,) = target.got("/rotating?key=1")
    for secret in (SECRET, OLD):
        standardwebhooks.Webhook(secret).verify(request.body, request.headers)


def test_what_fails_is_tried_again_in_the_order_of_its_topic_while_others_go_on(cluster, target):
    target.will("orders.b", 500, 503, 200)
    publish(cluster, "orders.b", 1, 2, 3)
    publish(cluster, "orders.c", 4, 5)
    arrives(target, "/orders", "orders.c", 4, 5)
    arrives(target, "/orders", "orders.b", 1, 2, 3)
    posted = [one for one in target.got("/orders") if one.topic == "orders.b"]
    assert [one.value for one in posted] == [1, 1, 1, 2, 3]
    assert len({one.headers["webhook-id"] for one in posted}) == 3
    await_true("all are delivered", lambda: listed(cluster, "orders.#")["waiting"] == 0)


def test_an_event_that_the_target_refuses_is_given_up_told_and_counted(cluster, target):
    target.will("orders.d", 413, 200)
    with session(cluster) as router:
        told = router.subscribe("fox.webhook.failed", {})
        publication = router.publish("orders.d", ["large"], {})
        event = told.next()
    assert event.args[1:5] == [
        "orders.d",
        publication,
        "fox.error.not_delivered",
        ["413 Request Entity Too Large"],
    ]
    assert event.kwargs["webhook"] == "orders.#"
    assert listed(cluster, "orders.#")["given_up"] == 1
    publish(cluster, "orders.d", "small")
    arrives(target, "/orders", "orders.d", "large", "small")


def test_a_target_that_hangs_holds_up_nobody_else(cluster, target):
    target.will("/hanging", HANG)
    publish(cluster, "hanging.a", *range(20))
    await_true("it hangs", lambda: len(target.got("/hanging")) > 1)
    publish(cluster, "orders.e", 1, 2, 3)
    arrives(target, "/orders", "orders.e", 1, 2, 3)
    found = listed(cluster, "hanging")
    assert (found["waiting"], found["delivered"]) == (20, 0)
    await_true(
        "it is told why", lambda: "no answer" in (listed(cluster, "hanging")["last_failure"] or "")
    )
    assert cluster.health("worker")["status"] == "ok"
    await_true("it is named", lambda: "hanging" in cluster.health("worker")["failing"])
    target.will("/hanging", 200)
    arrives(target, "/hanging", "hanging.a", *range(20))


def test_a_full_queue_refuses_nobody(cluster, target):
    target.will("/small", 500)
    publish(cluster, "small.a", *range(20))
    found = listed(cluster, "small")
    assert (found["waiting"], found["dropped"]) == (5, 15)
    target.will("/small", 200)
    arrives(target, "/small", "small.a", 0, 1, 2, 3, 4)


def test_a_redirect_is_not_followed(cluster, target):
    target.will("/moved", (302, {"Location": f"{target.url}/elsewhere"}))
    publish(cluster, "moved.a", 1)
    await_true(
        "it is told",
        lambda: "redirects are not followed" in (listed(cluster, "moved")["last_failure"] or ""),
    )
    await_true("it is tried again", lambda: len(target.got("/moved")) > 2)
    assert not target.got("/elsewhere")
    assert not target.got("GET /elsewhere")
    target.will("/moved", 200)
    await_true("it is delivered", lambda: listed(cluster, "moved")["waiting"] == 0)


def test_the_certificate_of_a_target_is_verified(cluster, target):
    publish(cluster, "tls.a", 1)
    arrives(target.secure, "/trusting", "tls.a", 1)
    await_true(
        "the other is told",
        lambda: (
            "CERTIFICATE_VERIFY_FAILED" in (listed(cluster, "untrusting")["last_failure"] or "")
        ),
    )
    assert not target.secure.got("/untrusting")


def test_a_target_that_is_gone_is_left_alone_until_the_worker_starts_anew(cluster, target):
    target.will("/gone", 410)
    publish(cluster, "gone.a", 1)
    await_true(
        "it has said so", lambda: (listed(cluster, "gone")["last_failure"] or "")[:3] == "410"
    )
    publish(cluster, "gone.b", 2)
    publish(cluster, "orders.f", 1)
    arrives(target, "/orders", "orders.f", 1)
    assert len(target.got("/gone")) == 1
    assert listed(cluster, "gone")["waiting"] == 2
    target.will("/gone", 200)


def test_nothing_is_lost_when_the_worker_and_a_shard_are_killed(cluster, target):
    topics = cluster.on_each_shard("orders.killed")
    count = 60
    for number in range(count):
        for topic in topics:
            publish(cluster, topic, number)
        if number == 10:
            cluster.kill("worker")
        if number == 30:
            cluster.start("worker")
            cluster.restart("shard-0")
            cluster.await_ready()
        if number == 45:
            cluster.restart("gateway-0")
            cluster.await_ready()
    for topic in topics:
        arrives(target, "/orders", topic, *range(count))
    await_true("nothing waits", lambda: listed(cluster, "orders.#")["waiting"] == 0)


def test_the_configuration_is_printed_without_secrets(cluster):
    printed = Fox(cluster).prints("config")
    assert SECRET not in printed
    assert "of-the-target" not in printed
    assert "key=1" not in printed
    assert "[[realm.webhook]]" in printed
    assert SECRET not in cluster.log()
    assert "of-the-target" not in cluster.log()
