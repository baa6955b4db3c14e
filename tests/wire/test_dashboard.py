"""The dashboard in a real browser: what it shows of a running server, and whom."""

import asyncio
import queue
import re
import resource
import shutil
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest
from chromium import DESKTOP, PHONE, chromium, findings, overflow
from cluster import ROOT, await_true, write_config
from playwright.sync_api import expect
from user_file import PASSWORD, UserFile
from web_cluster import WebCluster

from fox_shard.client import connect

KEYS = 100_000
SESSIONS = 10_000
BRANCHES = 100

VIEWS = (
    "overview",
    "processes",
    "sessions",
    "frames",
    "keys",
    "tables",
    "locks",
    "history",
    "live",
    "send",
    "subscriptions",
    "registrations",
    "reducers",
)

TOML = """
[[realm]]
name = "realm1"
schema = "schema.json"
[[realm.history]]
topic = "recorded"
match = "prefix"
[[realm.reducer]]
pattern = "meter"
match = "prefix"
function = "sum"
destination = "total"
"""

USERS = """
[auth]
max_failures = 100

[[realm]]
name = "realm1"
[[realm.role]]
name = "admin"
[[realm.role.rule]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
[[realm.role.rule]]
uri = "wamp."
match = "prefix"
allow = ["call", "subscribe"]
[[realm.role.rule]]
uri = "fox."
match = "prefix"
allow = ["call", "subscribe"]
[[realm.role]]
name = "device"
[[realm.role.rule]]
uri = "devices."
match = "prefix"
allow = ["publish", "subscribe"]
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def dashboard_cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard")
    config = write_config(folder, TOML)
    shutil.copy(ROOT / "conf" / "schema.json", folder / "conf")
    limits = {"FOX_GATEWAY_CONNECTS_PER_SECOND": "20000"}
    with WebCluster(gateways=1, shards=2, config=config, **limits) as made:
        yield made


@pytest.fixture(scope="module")
def cluster_with_users(tmp_path_factory):
    folder = tmp_path_factory.mktemp("users")
    config = write_config(folder, USERS)
    users = UserFile(folder, config)
    users.add("ann", "admin")
    users.add("sensor", "device")
    with WebCluster(gateways=1, shards=1, config=config, FOX_USERS=str(users.path)) as made:
        yield made


@pytest.fixture
def cluster(dashboard_cluster, request):
    sizes = request.node.log_sizes = dashboard_cluster.sizes()
    yield dashboard_cluster
    dashboard_cluster.check(sizes)


@pytest.fixture
def visit(browser, cluster):
    """Open a view in a page of its own."""

    def make(view, **context):
        return browser.open(f"{cluster.origin}/#/{view}", **context)

    yield make
    browser.close_pages()


def publish(cluster, topic, *args, **options):
    with cluster.http() as http:
        body = {"topic": topic, "args": args, "options": options}
        answer = http.post("/api/publish", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]


@pytest.fixture(scope="module")
def filled(dashboard_cluster):
    """What each view shows something of."""

    async def fill(session):
        each = KEYS // BRANCHES
        for branch in range(BRANCHES):
            for number in range(each):
                topic = f"many.b{branch:02}.k{number:03}"
                await session.publish(topic, [1], retain=True)
            # Those of one session come in order: this one is the last of its shard.
            await session.publish(f"many.b{branch:02}.k000", [1], acknowledge=True, retain=True)

    async def run():
        url = f"ws://127.0.0.1:{dashboard_cluster.websocket}/ws"
        async with connect(url, "realm1") as session:
            await fill(session)

    # Playwright runs an event loop in this thread.
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
    for number in range(20):
        publish(dashboard_cluster, "recorded.door", {"open": number % 2 == 0})
        publish(dashboard_cluster, "meter.north", number)
        row = {"date": f"2026-11-{number + 1:02}", "customer": "acme", "amount": "1.50"}
        publish(dashboard_cluster, "invoice", row, retain=True)
    return dashboard_cluster


# Processes


def test_a_shard_that_is_killed_is_seen_to_go_and_to_come_back(cluster, visit):
    overview, processes = visit("overview"), visit("processes")
    tile = overview.get_by_role("link", name="Processes").filter(has_text="of")
    card = processes.get_by_role("article", name="shard-1", exact=True)
    expect(tile).to_contain_text("5 of 5")
    expect(card).to_contain_text("ok")
    cluster.kill("shard-1")
    expect(card).to_contain_text("down")
    expect(tile).to_contain_text("of 5look")
    expect(processes.get_by_text("shard-1 is down.")).to_be_visible()
    cluster.start("shard-1")
    expect(card).to_contain_text("ok")
    expect(processes.get_by_text(re.compile("shard-1 (is back|has started again)"))).to_be_visible()
    expect(tile).to_contain_text("5 of 5")
    cluster.await_ready()


def test_a_page_comes_back_when_its_gateway_and_the_http_server_do(cluster, visit):
    page = visit("send")
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    for name in ("gateway-0", "web"):
        cluster.kill(name)
    expect(page.get_by_text("Connection lost", exact=True)).to_be_visible()
    for name in ("gateway-0", "web"):
        cluster.start(name)
    expect(page.get_by_text("Connected", exact=True)).to_be_visible(timeout=60_000)
    page.get_by_role("textbox", name="Procedure").fill("wamp.session.count")
    page.get_by_role("button", name="Call", exact=True).click()
    expect(page.get_by_role("region", name="Result")).to_contain_text("[")
    cluster.await_ready()


def test_a_page_that_was_just_opened_shows_the_last_minutes(cluster, visit):
    def recent():
        with cluster.http() as http:
            return http.get("/api/status/recent").json()["states"]

    publish(cluster, "anything", 1)
    await_true("the server remembers three states", lambda: len(recent()) >= 3)
    page = visit("overview")
    chart = page.get_by_role("figure").filter(has_text="Messages a second")
    # What is drawn first has two lines and more; the page itself has asked once.
    assert chart.locator("path.line-0").first.get_attribute("d").count("L") >= 2
    # What happened to processes before is told, too.
    cluster.restart("shard-0")
    cluster.await_ready()
    expect(page.get_by_text(re.compile("shard-0 (is back|has started again)"))).to_be_visible()
    pid = cluster.processes["shard-0"].pid
    await_true(
        "the server remembers the new shard",
        lambda: any(one["pid"] == pid for one in recent()[-1]["processes"]),
    )
    late = visit("processes")
    expect(late.get_by_text(re.compile("shard-0 (is back|has started again)"))).to_be_visible()


# Keys


def test_a_hundred_thousand_keys_are_scrolled_and_searched(filled, visit):
    page = visit("keys")
    tree = page.get_by_role("tree")
    many = page.get_by_role("treeitem", name=re.compile("^many"))
    expect(many).to_contain_text("100,000")
    many.click()
    branch = page.get_by_role("treeitem", name=re.compile("^b57"))
    tree.press("End")
    tree.press("Home")
    page.keyboard.type("b57")
    expect(branch).to_be_visible()
    branch.click()
    expect(page.get_by_role("treeitem", name=re.compile("^k000"))).to_be_visible()
    page.keyboard.type("k999")
    expect(page.get_by_role("treeitem", name=re.compile("^k999"))).to_be_visible()
    assert page.get_by_role("treeitem").count() < 100
    page.get_by_label("Search").fill("b57.k12")
    expect(page.get_by_role("status").filter(has_text="10 found.")).to_be_visible()
    page.get_by_label("Search").fill("many.")
    expect(page.get_by_role("status").filter(has_text="More than 1,000 found.")).to_be_visible()
    tree.press("End")
    expect(page.get_by_role("status").filter(has_text="More than 2,000 found.")).to_be_visible()
    page.get_by_label("Search").fill("many.*.k007")
    expect(page.get_by_role("status").filter(has_text="100 found.")).to_be_visible()


def test_a_server_without_keys_says_how_to_make_one(browser, tmp_path):
    with WebCluster(gateways=1, shards=1, config=write_config(tmp_path, "")) as empty:
        page = browser.open(f"{empty.origin}/#/keys")
        expect(page.get_by_text("There are no keys of clients yet.")).to_be_visible()
        expect(page.locator(".empty pre")).to_have_text(
            "fox put home.kitchen.lamp on\nmosquitto_pub -t home/kitchen/lamp -m on -r"
        )
        page.get_by_role("button", name="Make one here").click()
        expect(page.get_by_role("dialog")).to_contain_text("New key")
        browser.close_pages()


def test_a_key_is_made_watched_compared_and_erased(cluster, visit):
    page = visit("keys")
    page.get_by_role("button", name="New key…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Topic").fill("desk.lamp")
    dialog.get_by_label("Value").fill('{"on": true}')
    dialog.get_by_role("button", name="Make the key").click()
    value = page.get_by_role("region", name="Value of desk.lamp")
    expect(value).to_contain_text('"on": true')
    expect(page.get_by_role("treeitem", name=re.compile("^lamp"))).to_be_visible()
    # Somebody else changes it while it is edited.
    page.get_by_label("New value").fill('{"on": false}')
    publish(cluster, "desk.lamp", {"on": "dimmed"}, retain=True)
    expect(value).to_contain_text("dimmed")
    expect(page.get_by_text("The key has changed since you began to edit.")).to_be_visible()
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody else has changed the key")
    expect(value).to_contain_text("dimmed")
    page.get_by_role("button", name="Keep mine").click()
    page.get_by_role("button", name="Set", exact=True).click()
    expect(value).to_contain_text('"on": false')
    page.get_by_role("button", name="Erase…").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    expect(page.get_by_text("There is no key at this topic")).to_be_visible()
    with cluster.http() as http:
        assert http.get("/api/keys/desk.lamp").status_code == 404


def test_a_key_shows_its_owner_and_when_it_ends(cluster, visit):
    publish(cluster, "desk.note", "soon over", retain=300)
    page = visit("keys?topic=desk.note")
    expect(page.get_by_text("soon over").first).to_be_visible()
    expect(page.get_by_text(re.compile("in (4 min|5 min|[0-9]+ s)"))).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("session [0-9]+"))).to_be_visible()


def test_a_lock_shows_its_holder_its_token_and_who_waits(cluster, visit):
    lock = {"acknowledge": True, "retain": True, "when": None, "weak": True, "watch": True}

    async def hold(done):
        url = f"ws://127.0.0.1:{cluster.websocket}/ws"
        async with connect(url, "realm1") as holder, connect(url, "realm1") as waiter:
            token = await holder.publish("desk.lock", ["mine"], **lock)
            waiting = asyncio.create_task(waiter.publish("desk.lock", ["next"], **lock))

            await asyncio.to_thread(done, token)
            # Breaking the lock lets the one that waits through.
            assert await waiting > token

    def look(token):
        page = visit("locks")
        row = page.get_by_role("row", name=re.compile("desk.lock"))
        expect(row).to_contain_text(str(token))
        expect(row.get_by_role("gridcell").last).to_have_text("1")
        # Who waits can be seen on a small phone, too.
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.locator(".grid-box").evaluate("(one) => one.scrollWidth - one.clientWidth") <= 0
        row.click()
        page.get_by_role("button", name="Break the lock…").click()
        page.get_by_role("dialog").get_by_role("button", name="Break it").click()
        expect(row).not_to_contain_text(str(token))

    run_beside(hold, look)


def run_beside(client, look):
    """Run a client's coroutine in a thread, and what looks at it in this one, for Playwright.

    client(done): calls `done(value)`, which returns when `look(value)` has.
    """
    values, looked = queue.Queue(), threading.Event()

    def done(value):
        values.put(value)
        assert looked.wait(60)

    thread = threading.Thread(target=lambda: asyncio.run(client(done)))
    thread.start()
    try:
        look(values.get(timeout=30))
    finally:
        looked.set()
        thread.join(30)
    assert not thread.is_alive()


# Messages


def test_what_is_published_in_the_form_is_seen_live_with_filter_and_pause(cluster, visit):
    live, send = visit("live"), visit("send")
    live.get_by_label("Topic or pattern").fill("news.#")
    live.get_by_label("Filter").fill('{"room": {"$gt": 1}}')
    live.get_by_role("button", name="Follow").click()
    expect(live.get_by_text("Nothing was published yet.")).to_be_visible()
    form = send.get_by_role("form", name="Publish an event")

    def say(arguments):
        form.get_by_role("textbox", name="Topic").fill("news.today")
        form.get_by_label("Arguments", exact=True).fill(arguments)
        form.get_by_role("button", name="Publish").click()

    say('[{"room": 1}]')
    expect(form.get_by_role("status")).to_contain_text("Published")
    say('[{"room": 2, "text": "hello"}]')
    row = live.get_by_role("row", name=re.compile("hello"))
    expect(row).to_be_visible()
    assert live.get_by_role("row").count() == 2
    row.click()
    expect(live.get_by_role("region", name="Arguments")).to_contain_text('"room": 2')
    live.get_by_role("button", name="Pause").click()
    say('[{"room": 3, "text": "unseen"}]')
    say("[not json")
    expect(form.get_by_role("alert")).to_contain_text("Arguments: this is not JSON")
    live.get_by_role("button", name="Go on").click()
    say('[{"room": 4, "text": "seen"}]')
    expect(live.get_by_role("row", name=re.compile('"seen"'))).to_be_visible()
    expect(live.get_by_role("row", name=re.compile("unseen"))).to_have_count(0)


def test_a_call_shows_its_result_or_why_it_failed(cluster, visit):
    page = visit("send")
    form = page.get_by_role("form", name="Call a procedure")
    form.get_by_label("Procedure").fill("wamp.session.list")
    form.get_by_role("button", name="Call").click()
    expect(form.get_by_role("region", name="Result")).to_contain_text(re.compile("[0-9]{6,}"))
    form.get_by_label("Procedure").fill("com.example.nobody")
    form.get_by_role("button", name="Call").click()
    expect(form.get_by_role("alert")).to_contain_text("wamp.error.no_such_procedure")


def test_sessions_are_found_and_ended(cluster, visit, mqtt):
    mqtt.connect(client_id="thermometer-7")
    page = visit("sessions")
    page.get_by_label("Search").fill("thermometer")
    row = page.get_by_role("row", name=re.compile("thermometer-7"))
    row.click()
    page.get_by_role("button", name="End the session…").click()
    page.get_by_role("dialog").get_by_role("button", name="End the session").click()
    expect(row).to_have_count(0)


@contextmanager
def many_sessions(cluster, count):
    """Connect so many MQTT clients, `crowd-0` and so on."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", cluster.mqtt)))
            for _ in range(count)
        ]
        for number, sock in enumerate(sockets):
            name = f"crowd-{number}".encode()
            body = b"\0\4MQTT\4\2\0\0" + len(name).to_bytes(2, "big") + name
            sock.sendall(bytes([0x10, len(body)]) + body)
        for sock in sockets:
            assert sock.recv(4) == b"\x20\2\0\0"
        yield


def test_ten_thousand_sessions_are_scrolled_and_searched(cluster, visit):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with many_sessions(cluster, SESSIONS):
            page = visit("sessions")
            # The page itself has two: by WebSocket, and for what it asks over HTTP.
            expect(page.get_by_text(re.compile("10,00[12] sessions"))).to_be_visible()
            grid = page.get_by_role("grid")
            grid.press("End")
            last = page.locator(".grid-row.active")
            expect(last).to_contain_text(re.compile("crowd-|anonymous"))
            expect(last).to_have_attribute("aria-rowindex", re.compile("^1000[0-9]$"))
            assert page.get_by_role("row").count() < 100
            page.get_by_label("Search").fill("crowd-9999")
            row = page.get_by_role("row", name=re.compile("crowd-9999"))
            expect(row).to_be_visible(timeout=60_000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def publishing(cluster, topic, *args):
    """Publish an event again and again."""
    stop = threading.Event()

    def publish_on():
        while not stop.is_set():
            publish(cluster, topic, *args)

    thread = threading.Thread(target=publish_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_look_at_the_frames_shows_their_kinds_without_payloads(cluster, visit):
    with publishing(cluster, "seen.door", "a secret"):
        page = visit("frames")
        page.get_by_role("button", name="Look", exact=True).click()
        kinds = page.get_by_role("list", name="Frames a second, by kind")
        expect(kinds.get_by_text("publish", exact=True)).to_be_visible()
        expect(page.get_by_role("row", name=re.compile("seen.door")).first).to_be_visible()
        page.get_by_role("row", name=re.compile("seen.door")).first.click()
        expect(page.get_by_role("heading", name="publish", exact=True)).to_be_visible()
        assert "a secret" not in page.content()
        with cluster.http() as http:
            assert http.get("/api/frames?realm=other").status_code == 404


def test_the_overview_draws_how_long_deliveries_calls_and_commits_take(cluster, visit):
    live = visit("live")
    live.get_by_label("Topic or pattern").fill("recorded.#")
    live.get_by_role("button", name="Follow").click()
    expect(live.get_by_text("Nothing was published yet.")).to_be_visible()
    page = visit("overview")
    known = re.compile(r"median\s*[0-9.]+ m?s.*99th percentile\s*[0-9.]+ m?s", re.DOTALL)
    with publishing(cluster, "recorded.gate", {"open": True}):
        for title in ("Delivery times", "Call times", "Commit times"):
            chart = page.get_by_role("figure").filter(has_text=title)
            expect(chart).to_contain_text(known)
        # What the processes say of themselves.
        expect(page.get_by_role("link", name=re.compile(r"^Keys\s*[0-9]"))).to_be_visible()
        card = visit("processes").get_by_role("article", name="gateway-0")
        expect(card).to_contain_text(re.compile(r"sessions\s*[1-9]"))


def test_an_aggregate_is_verified_and_history_is_read(filled, visit):
    page = visit("tables?table=detail")
    row = page.get_by_role("row", name=re.compile("acme"))
    expect(row).to_contain_text("30.00")
    # The number of rows stays the same.
    for amount, total in (("2.50", "31.00"), ("1.50", "30.00")):
        invoice = {"date": "2026-11-01", "customer": "acme", "amount": amount}
        publish(filled, "invoice", invoice, retain=True)
        expect(row).to_contain_text(total)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("All rows are right.")).to_be_visible()
    history = visit("history?topic=recorded.door")
    expect(history.get_by_role("row", name=re.compile("open")).first).to_be_visible()
    expect(history.get_by_text("20 events.")).to_be_visible()
    reducers = visit("reducers")
    expect(reducers.get_by_role("article", name="Reducer of meter")).to_contain_text("sum")


# Whoever looks


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_no_serious_findings_and_fits_on_a_phone(filled, visit, view):
    for scheme, viewport in (("light", DESKTOP), ("dark", PHONE)):
        page = visit(view, viewport=viewport, scheme=scheme)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Connecting to the server…")).to_have_count(0)
        page.wait_for_load_state("networkidle") if view == "send" else page.wait_for_timeout(700)
        assert findings(page) == []
        assert overflow(page) <= 0


def test_the_description_of_http_has_no_serious_findings_and_fits_on_a_phone(cluster, browser):
    for scheme, viewport in (("light", DESKTOP), ("dark", PHONE)):
        page = browser.open(f"{cluster.origin}/api/docs", viewport=viewport, scheme=scheme)
        assert findings(page) == []
        assert overflow(page) <= 0
    browser.close_pages()


def test_the_menu_of_a_phone_leads_to_the_views(cluster, visit):
    page = visit("overview", viewport=PHONE)
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Locks").click()
    expect(page.get_by_role("heading", name="Locks")).to_be_focused()
    expect(page.get_by_role("link", name="Sessions")).to_be_hidden()


def test_a_key_is_set_by_the_keyboard_alone(filled, visit):
    publish(filled, "board.lamp", "off", retain=True)
    page = visit("overview")
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()

    def tab_to(name):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText ?? ''").strip() == name:
                return
            label = page.evaluate(
                "document.activeElement.ariaLabel ?? document.activeElement.labels?.[0]?.innerText"
            )
            if label == name:
                return
        pytest.fail(f"the keyboard does not lead to {name!r}")

    tab_to("Keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_focused()
    expect(page.get_by_role("treeitem", name=re.compile("^board"))).to_be_visible()
    tab_to("Topics")
    page.keyboard.type("board")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("treeitem", name=re.compile("^lamp"))).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    value = page.get_by_role("region", name="Value of board.lamp")
    expect(value).to_contain_text("off")
    tab_to("New value")
    page.keyboard.press("Control+A")
    page.keyboard.type("on")
    tab_to("Set")
    page.keyboard.press("Enter")
    expect(value).to_contain_text("on")


def test_the_colours_can_be_chosen(cluster, visit):
    page = visit("overview", scheme="light")

    def background():
        return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    light = background()
    button = page.get_by_role("button", name="Colours")
    button.click()
    button.click()
    dark = background()
    assert dark != light
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert background() == dark


# Whom


def log_in(page, user, password):
    page.get_by_label("User").fill(user)
    page.get_by_label("Password or token").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_once_there_are_users_only_administrators_see_the_server(browser, cluster_with_users):
    cluster = cluster_with_users
    with cluster.http() as http:
        assert http.get("/api/status").status_code == 401
    with cluster.http(("sensor", PASSWORD)) as http:
        assert http.get("/api/status").status_code == 403
    with cluster.http(("ann", PASSWORD)) as http:
        assert http.get("/api/status").json()["processes"]
    page = browser.open(f"{cluster.origin}/")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert findings(page) == []
    log_in(page, "ann", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("ann was not let in")
    expect(page.get_by_label("User")).to_have_value("ann")
    expect(page.get_by_label("Password or token")).to_be_focused()
    log_in(page, "sensor", PASSWORD)
    expect(page.get_by_text("You may not see how the server is.")).to_be_visible()
    page.get_by_role("link", name="Sessions").click()
    expect(page.get_by_role("alert")).to_contain_text("wamp.error.not_authorized")
    page.get_by_role("link", name="Keys").click()
    expect(page.get_by_role("alert")).to_contain_text("may not call 'fox.key.level'")
    page.get_by_role("button", name="Log out").click()
    log_in(page, "ann", PASSWORD)
    page.get_by_role("link", name="Processes").click()
    expect(page.get_by_role("article", name="shard-0")).to_contain_text("ok")
    browser.close_pages()


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_pages_of_other_origins_get_no_websocket(cluster, headers):
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": "wamp.2.json",
    }
    with cluster.http() as http:
        assert http.get("/ws", headers={**upgrade, **headers}).status_code == 403


def test_the_page_loads_nothing_from_elsewhere_and_stands_in_no_frame(cluster):
    with cluster.http() as http:
        answer = http.get("/")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = http.get("/", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert http.get("/dashboard/__init__.py").status_code == 404
