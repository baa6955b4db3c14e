"""autobahn-js and wampy.js log in and obey their roles: in Node, and in pages of a browser.

The programs are in tests/wire/js: all of them make the visit that visit.js describes.
"""

import asyncio
import itertools
import json
import sys
from pathlib import Path

import browser
import node
import pytest
from autobahn.wamp.types import PublishOptions, RegisterOptions, SubscribeOptions
from cluster import Cluster, await_true
from user_file import FAILED, PASSWORD, PRIVATE_KEY, PUBLIC_KEY, UserFile, ticket

from bench.ports import free_port
from fox_shard.backplane.placement import Placement

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from certificates import Authority

SHARDS = 4
FORBIDDEN = "wamp.error.not_authorized"
LOCAL, FRIEND, STRANGER = "localhost", "friend.example", "stranger.example"
CONFIG = """
[gateway]
allowed_origins = ["https://{friend}:{pages}"]

[[realm]]
name = "realm1"

[[realm.role]]
name = "page"
[[realm.role.rule]]
uri = "app."
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]
[[realm.role.rule]]
uri = "app.vault."
match = "prefix"
allow = []

[[realm.role]]
name = "backend"
[[realm.role.rule]]
uri = ""
match = "prefix"
allow = ["publish", "subscribe", "call", "register"]

[[listener]]
protocol = "websocket"
address = "127.0.0.1:{wss}"
certificate = "server.pem"
key = "server.key"
"""
LOGINS = {
    "ticket": {"method": "ticket", "authid": "peter", "secret": PASSWORD},
    "wampcra": {"method": "wampcra", "authid": "peter", "secret": PASSWORD},
    "cryptosign": {
        "method": "cryptosign",
        "authid": "bot",
        "secret": PRIVATE_KEY,
        "authextra": {"pubkey": PUBLIC_KEY},
    },
}
LIBRARIES = ("autobahn", "wampy")


class Place:
    """The configuration, the certificate, the users, and the page, of one cluster."""

    def __init__(self, folder):
        node.modules()
        self.authority = Authority(folder)
        self.certificate, key = self.authority.sign("server", "localhost")
        self.page_server = browser.PageServer(self.certificate, key)
        self.wss = free_port()
        self.config = folder / "fox.toml"
        pages = self.page_server.port
        self.config.write_text(CONFIG.format(friend=FRIEND, pages=pages, wss=self.wss))
        self.users = UserFile(folder)
        self.users.add("peter", "page", "--wampcra")
        self.users.add("olga", "backend")
        self.users.fox("key", "bot", "--realm", "realm1", "--role", "page", "--pubkey", PUBLIC_KEY)

    def page(self, host):
        return f"https://{host}:{self.page_server.port}/"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("pages"))
    yield place
    place.page_server.close()


@pytest.fixture(scope="module")
def cluster(place):
    with Cluster(config=place.config, FOX_USERS=str(place.users.path)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def chromium(place):
    chromium = browser.Browser(place.certificate, (FRIEND, STRANGER))
    yield chromium
    chromium.close()


def on_each_shard(stem):
    """Return names of topics or procedures, one on each shard."""
    shard_of = Placement(SHARDS).shard_of
    names = [f"{stem}.n{count}" for count in range(100)]
    return [
        next(name for name in names if shard_of("realm1", name) == shard) for shard in range(SHARDS)
    ]


class Visit:
    """What a client is asked to do, and the test's own sessions, one at each gateway."""

    numbers = itertools.count()

    def __init__(self, place, wamp, scheme):
        self.stem = f"app.visit{next(self.numbers)}"
        self._wamp = wamp
        port = place.wss if scheme == "wss" else wamp.cluster.websocket
        self.plan = {
            "url": f"{scheme}://localhost:{port}/ws",
            "topics": on_each_shard(f"{self.stem}.topic"),
            "own": on_each_shard(f"{self.stem}.own"),
            "theirs": [f"{self.stem}.steps{gateway}" for gateway in (0, 1)],
            "vault": "app.vault",
        }

    async def join(self):
        """Join a session at each gateway, which gets events and serves a call; set the keys."""
        self._events = []
        for gateway, procedure in enumerate(self.plan["theirs"]):
            peer = await self._wamp.join(gateway=gateway, authenticator=ticket(name="olga"))
            topics = SubscribeOptions(match="prefix")
            self._events.append(await peer.events(f"{self.stem}.topic", topics))
            steps = self._steps(peer, f"from {gateway}")
            await peer.register(steps, procedure, RegisterOptions(details_arg="details"))
        kept = PublishOptions(acknowledge=True, retain=True)
        for topic in self.plan["topics"]:
            await peer.publish(topic, f"kept at {topic}", options=kept)

    def _steps(self, peer, text):
        """Return a procedure that counts up, after publishing the text to all topics."""

        async def steps(count, details=None):
            for topic in self.plan["topics"]:
                await peer.publish(topic, text, options=PublishOptions(acknowledge=True))
            for step in range(count):
                details.progress(step)
            return "done"

        return steps

    async def check(self, seen, method):
        """Check what the client saw, and that the test's sessions got what it said."""
        topics = self.plan["topics"]
        assert seen == {
            "authid": LOGINS[method]["authid"],
            "authrole": "page",
            "authmethod": method,
            "kept": [[f"kept at {topic}", True] for topic in topics],
            "live": [["from 0", "from 1"]] * SHARDS,
            "steps": [[0, 1, 2, "done"]] * (2 + SHARDS),
            "forbidden": [FORBIDDEN] * 4,
            "left": "wamp.close.goodbye_and_out",
        }
        said = {f"said at {topic}" for topic in topics}
        for events in self._events:
            heard = set()
            while not said <= heard:
                heard.add((await events.get())[0][0])


def visit_from_node(place, library, plan, login):
    trust = {"NODE_EXTRA_CA_CERTS": str(place.authority.path)}
    return node.run("visit.cjs", library, json.dumps({**plan, "login": login}), environment=trust)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("method", LOGINS)
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_node_client_logs_in_and_does_what_it_may(place, wamp, library, method, scheme):
    visit = Visit(place, wamp, scheme)
    await visit.join()
    seen = await asyncio.to_thread(visit_from_node, place, library, visit.plan, LOGINS[method])
    await visit.check(seen, method)


@pytest.mark.parametrize("method", LOGINS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_node_client_with_a_wrong_secret_is_told_so(place, wamp, library, method):
    wrong = {"secret": "11" * 32}
    plan = Visit(place, wamp, "wss").plan
    seen = visit_from_node(place, library, plan, LOGINS[method] | wrong)
    assert seen == {"refused": FAILED}


@pytest.mark.parametrize("method", LOGINS)
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_page_logs_in_and_does_what_it_may(place, wamp, chromium, library, method):
    visit = Visit(place, wamp, "wss")
    await visit.join()
    plan = visit.plan | {"login": LOGINS[method]}
    seen = await asyncio.to_thread(chromium.visit, place.page(LOCAL), library, plan)
    await visit.check(seen, method)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_page_with_a_wrong_password_is_told_so(place, wamp, chromium, library):
    plan = Visit(place, wamp, "wss").plan | {"login": LOGINS["ticket"] | {"secret": "wrong"}}
    assert chromium.visit(place.page(LOCAL), library, plan) == {"refused": FAILED}


@pytest.mark.parametrize(
    ("library", "failure"), [("autobahn", "unreachable"), ("wampy", "WebsocketError")]
)
def test_a_page_of_another_origin_is_refused(place, wamp, chromium, library, failure):
    plan = Visit(place, wamp, "wss").plan | {"login": LOGINS["ticket"]}
    before = wamp.cluster.sizes()
    assert chromium.visit(place.page(STRANGER), library, plan) == {"refused": failure}
    origin = place.page(STRANGER).rstrip("/")
    await_true(
        "the log says why",
        lambda: f"Pages of {origin} may not connect" in wamp.cluster.log(before),
    )


async def test_a_page_of_an_allowed_origin_gets_in(place, wamp, chromium):
    visit = Visit(place, wamp, "wss")
    await visit.join()
    plan = visit.plan | {"login": LOGINS["cryptosign"]}
    seen = await asyncio.to_thread(chromium.visit, place.page(FRIEND), "autobahn", plan)
    await visit.check(seen, "cryptosign")
