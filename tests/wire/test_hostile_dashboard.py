"""The dashboard shows as text what hostile clients have named and published, and goes on."""

import re
import threading

import paho.mqtt.client as paho
import pytest
from chromium import chromium
from cluster import await_true
from playwright.sync_api import expect
from web_cluster import WebCluster

from fox_shard.client import Session

IMAGE = "<img/src=x/onerror=window.hacked=1>"
LINK = "javascript:window.hacked=1"
TURNED = "a\u202egnp\u009b2J"
SHOWN = "a\\u{202e}gnp\\u{9b}2J"
VALUE = {
    "__proto__": {"hacked": 1},
    "constructor": None,
    "html": "<script>window.hacked=1</script>",
    "type": "img",
    "props": {
        "src": "x",
        "onerror": "window.hacked=1",
        "dangerouslySetInnerHTML": {"__html": IMAGE},
    },
}
BIG = 4_000_000
"""Characters of a value."""


@pytest.fixture(scope="module")
def browser():
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    with WebCluster(gateways=1, shards=1, FOX_AUTH_REALMS_ON_DEMAND="10") as made:
        yield made


@pytest.fixture
def cluster(hostile, request):
    sizes = request.node.log_sizes = hostile.sizes()
    yield hostile
    hostile.check(sizes)


@pytest.fixture
def visit(browser, cluster):
    def make(view):
        return browser.open(f"{cluster.origin}/#/{view}")

    yield make
    browser.close_pages()


def assert_unharmed(page):
    assert page.evaluate("[window.hacked, ({}).hacked, Object.keys(Object.prototype)]") == [
        None,
        None,
        [],
    ]


def publish(cluster, topic, *args, **options):
    with cluster.http() as http:
        body = {"topic": topic, "args": args, "kwargs": {}, "options": options}
        assert http.post("/api/publish", json=body).status_code == 200


@pytest.fixture
def names(cluster):
    """A client that is called so, subscribes to and registers what is called so."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=IMAGE + "<b>bold</b>")
    client.connect("127.0.0.1", cluster.mqtt)
    client.loop_start()
    joined = threading.Event()
    client.on_subscribe = lambda *_: joined.set()
    await_true("the client is connected", client.is_connected)
    client.subscribe(f"evil/{IMAGE}/{LINK}")
    assert joined.wait(30)
    url = f"ws://127.0.0.1:{cluster.websocket}/ws"
    # The first is a realm on demand, whose rates everybody who may see the server is shown.
    with Session(url, "__proto__") as other, Session(url, "realm1") as session:
        other.publish("a.b", [1], {"acknowledge": True})
        session.register(f"evil.{IMAGE}.{LINK}", {}, lambda _: None)
        yield
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("view", ["sessions", "subscriptions", "registrations", "overview"])
def test_names_are_text(visit, names, view):
    page = visit(view)
    if view != "overview":
        expect(page.get_by_role("gridcell", name=re.compile("onerror")).first).to_be_visible()
        page.get_by_role("gridcell", name=re.compile("onerror")).first.click()
        expect(page.get_by_role("heading", level=2).first).to_be_visible()
    else:
        page.get_by_label("Rates of").select_option("__proto__")
        expect(page.get_by_role("link", name=re.compile("Published [0-9]"))).to_be_visible()
    assert_unharmed(page)


def test_topics_and_values_are_text(cluster, visit):
    live = visit("live")
    live.get_by_role("button", name="Follow").click()
    expect(live.get_by_text("Nothing was published yet.")).to_be_visible()
    topic = f"evil.{IMAGE}"
    publish(cluster, topic, VALUE, retain=True)
    publish(cluster, TURNED, VALUE, retain=True)
    row = live.get_by_role("row", name=re.compile("onerror")).first
    expect(row).to_contain_text("<script>window.hacked=1</script>")
    row.click()
    expect(live.get_by_role("region", name="Arguments")).to_contain_text('"__proto__"')
    expect(live.get_by_role("row", name=re.compile(re.escape(SHOWN)))).to_be_visible()
    assert_unharmed(live)
    keys = visit("keys")
    keys.get_by_label("Search").fill("onerror")
    keys.get_by_role("treeitem", name=re.compile("onerror")).click()
    expect(keys.get_by_role("region", name=re.compile("Value of"))).to_contain_text("__html")
    assert_unharmed(keys)


def test_values_of_millions_of_characters_do_not_stop_the_page(cluster, visit):
    live = visit("live")
    live.get_by_role("button", name="Follow").click()
    expect(live.get_by_text("Nothing was published yet.")).to_be_visible()
    for number in range(12):
        publish(cluster, "big.text", number, "x" * BIG)
    expect(live.get_by_role("status")).to_contain_text("12 in all")
    # It keeps the latest 20 million characters of messages.
    assert live.get_by_role("row").count() == 1 + 4
    live.get_by_role("row").nth(1).click()
    expect(live.get_by_text("Shown are the first 100,000 characters.")).to_be_visible()
    publish(cluster, "big.numbers", *range(10), [1] * (BIG // 2), retain=True)
    keys = visit("keys")
    keys.get_by_label("Search").fill("big.numbers")
    keys.get_by_role("treeitem", name=re.compile("numbers")).click()
    expect(keys.get_by_text("Shown are the first 100,000 characters.")).to_be_visible()
    expect(keys.get_by_text("too long to be edited here")).to_be_visible()
    expect(keys.get_by_label("New value")).to_have_value("")
