"""TLS with real processes and real clients: paho, autobahn, node, `fox`, and plain sockets."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import node
import pytest
from autobahn.asyncio.rawsocket import WampRawSocketClientFactory
from autobahn.asyncio.websocket import WampWebSocketClientFactory
from autobahn.wamp.auth import AuthCryptoSign
from autobahn.wamp.serializer import JsonSerializer
from cluster import ROOT, Cluster, await_true
from mqtt_peers import PATIENCE, PahoClient
from paho.mqtt.enums import CallbackAPIVersion
from user_file import PASSWORD, PRIVATE_KEY, PUBLIC_KEY, UserFile, ticket
from wamp_peers import Peer

from bench.ports import free_port
from fox_shard.client import Tls, Unreachable, connect

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from certificates import Authority

PORTS = ("wss", "rss", "mqtts", "proxied", "forwarded")
SECTIONS = """
[[listener]]
protocol = "websocket"
address = "127.0.0.1:{wss}"
certificate = "server.pem"
key = "server.key"
client_certificate = "optional"
ca = "ca.pem"

[[listener]]
protocol = "rawsocket"
address = "127.0.0.1:{rss}"
certificate = "server.pem"
key = "server.key"

[[listener]]
protocol = "mqtt"
address = "127.0.0.1:{mqtts}"
certificate = "server.pem"
key = "server.key"
client_certificate = "optional"
ca = "ca.pem"

[[listener]]
protocol = "mqtt"
address = "127.0.0.1:{proxied}"
proxy_protocol = true

[[listener]]
protocol = "websocket"
address = "127.0.0.1:{forwarded}"
forwarded = "x-forwarded-for"

[[listener]]
protocol = "websocket"
address = "unix:{folder}/w{{gateway}}.sock"
"""


class Place:
    """The configuration of a cluster with further listeners, their ports, and its certificates."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority(folder)
        self.authority.sign("server", "localhost")
        self.authority.sign("sensor", "sensor", names=())
        self.ports = {name: free_port() for name in PORTS}
        self.config = folder / "fox.toml"
        text = (ROOT / "conf" / "fox.toml").read_text().replace('log]\nlevel = "info"', "log]")
        sections = SECTIONS.format(folder=folder, **self.ports)
        self.config.write_text(text + sections)
        self.users = UserFile(folder)
        self.users.add("peter", "dev")
        self.users.add("sensor", "device")
        self.users.fox(
            "key", "bot", "--realm", "realm1", "--role", "machine", "--pubkey", PUBLIC_KEY
        )

    def context(self, **settings):
        context = ssl.create_default_context(cafile=self.authority.path)
        for name, value in settings.items():
            setattr(context, name, value)
        return context


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def cluster(place):
    with Cluster(config=place.config, FOX_USERS=str(place.users.path)) as cluster:
        yield cluster


async def join(wamp, place, kind, context, authenticator):
    """Join with autobahn over TLS."""
    peer = Peer("realm1", authenticator)
    if kind == "rss":
        factory = WampRawSocketClientFactory(lambda: peer, JsonSerializer())
    else:
        url = f"wss://localhost:{place.ports[kind]}/ws"
        factory = WampWebSocketClientFactory(lambda: peer, url=url, serializers=[JsonSerializer()])
    transport, _ = await asyncio.get_running_loop().create_connection(
        factory, "127.0.0.1", place.ports[kind], ssl=context, server_hostname="localhost"
    )
    wamp._transports.append(transport)
    await peer.joined
    wamp._peers.append(peer)
    return peer


@pytest.mark.parametrize("kind", ["wss", "rss"])
@pytest.mark.cites("basic.security_model.1")
async def test_autobahn_logs_in_with_a_ticket_over_tls(wamp, place, kind):
    peer = await join(wamp, place, kind, place.context(), ticket())
    assert peer.details.authid == "peter"
    events = await peer.events("tls.said")
    other = await join(wamp, place, kind, place.context(), ticket())
    other.publish("tls.said", "x" * 200_000)
    assert (await events.get())[0] == ("x" * 200_000,)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_cryptosign_is_bound_to_the_channel_with_tls_1_2(wamp, place, version):
    """autobahn binds by its own computation of the channel ID."""
    login = AuthCryptoSign(
        authid="bot", privkey=PRIVATE_KEY, authextra={"channel_binding": "tls-unique"}
    )
    context = place.context(minimum_version=version, maximum_version=version)
    peer = Peer("realm1", login)
    seen = []
    answer = peer.onChallenge
    peer.onChallenge = lambda challenge: seen.append(challenge.extra) or answer(challenge)
    url = f"wss://localhost:{place.ports['wss']}/ws"
    factory = WampWebSocketClientFactory(lambda: peer, url=url, serializers=[JsonSerializer()])
    transport, _ = await asyncio.get_running_loop().create_connection(
        factory, "127.0.0.1", place.ports["wss"], ssl=context, server_hostname="localhost"
    )
    wamp._transports.append(transport)
    if version is ssl.TLSVersion.TLSv1_2:
        await peer.joined
        assert peer.details.authmethod == "cryptosign"
        assert seen[0]["channel_binding"] == "tls-unique"
        wamp._peers.append(peer)
    else:
        # The client is told that there is none, and decides: autobahn signs for another channel.
        with pytest.raises(ConnectionError):
            await peer.joined
        assert seen[0]["channel_binding"] is None


class Paho:
    """A paho client over TLS."""

    def __init__(self, place, port, ca, *, certificate=None, user=None, password=None):
        self.client = PahoClient(CallbackAPIVersion.VERSION2, f"paho-{port}-{certificate}")
        files = {}
        if certificate is not None:
            files = {
                "certfile": str(place.folder / f"{certificate}.pem"),
                "keyfile": str(place.folder / f"{certificate}.key"),
            }
        self.client.tls_set(str(ca), **files)
        if user is not None:
            self.client.username_pw_set(user, password)
        self.codes, self.messages = asyncio.Queue(), asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(queue, item):
            loop.call_soon_threadsafe(queue.put_nowait, item)

        self.client.on_connect = lambda _c, _u, _f, code, _p: put(self.codes, code.value)
        self.client.on_message = lambda _c, _u, message: put(self.messages, message.payload)
        self.client.on_subscribe = lambda *_: put(self.codes, "subscribed")
        self.port = port

    async def connect(self):
        await asyncio.to_thread(self.client.connect, "localhost", self.port)
        self.client.loop_start()
        return await asyncio.wait_for(self.codes.get(), PATIENCE)

    async def close(self):
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


@pytest.mark.parametrize(
    "login", [{"user": "peter", "password": "s3cret"}, {"certificate": "sensor"}]
)
async def test_paho_logs_in_over_mqtts(cluster, wamp, place, login):
    watcher = await join(wamp, place, "wss", place.context(), ticket())
    joins = await watcher.events("wamp.session.on_join")
    paho = Paho(place, place.ports["mqtts"], place.authority.path, **login)
    assert await paho.connect() == 0
    while (details := (await joins.get())[0][0])["transport"]["protocol"] != "mqtt.3.1.1":
        pass
    shown = (details["authid"], details["authmethod"])
    assert shown == (("peter", "ticket") if "user" in login else ("sensor", "tls"))
    paho.client.subscribe("tls/#", 1)
    assert await paho.codes.get() == "subscribed"
    paho.client.publish("tls/x", b"hello", 1)
    assert await paho.messages.get() == b"hello"
    await paho.close()


async def first_byte(port, context):
    """Wait for the server's verdict: in TLS 1.3, the client's handshake is over before it."""
    reader, _ = await asyncio.open_connection("localhost", port, ssl=context)
    return await reader.readexactly(1)


async def test_a_wrong_authority_is_refused_on_both_sides(cluster, place, tmp_path):
    other = Authority(tmp_path, "other")
    other.sign("sensor", "sensor", names=())
    trusting = ssl.create_default_context(cafile=other.path)
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("localhost", place.ports["mqtts"], ssl=trusting)
    context = place.context()
    context.load_cert_chain(tmp_path / "sensor.pem", tmp_path / "sensor.key")
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await first_byte(place.ports["mqtts"], context)
    await_true(
        "the log says why",
        lambda: "client's certificate is not accepted" in cluster.log(),
    )


async def test_old_versions_of_tls_are_refused(cluster, place):
    context = place.context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("localhost", place.ports["mqtts"], ssl=context)


async def test_sighup_renews_the_certificate_and_no_session_ends(cluster, wamp, place):
    peer = await join(wamp, place, "wss", place.context(), ticket())

    def shown():
        with socket.create_connection(("127.0.0.1", place.ports["wss"])) as plain:
            context = place.context()
            with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
                return encrypted.getpeercert(binary_form=True)

    def hang_up():
        for pid in cluster.gateway_pids:
            os.kill(pid, signal.SIGHUP)

    before = shown()
    place.authority.sign("server", "localhost")
    hang_up()
    await_true("the new certificate is shown", lambda: shown() != before)
    after = ssl.PEM_cert_to_DER_cert((place.folder / "server.pem").read_text())
    await_true("by all", lambda: all(shown() == after for _ in range(20)))
    good = (place.folder / "server.key").read_bytes()
    (place.folder / "server.key").write_text("nonsense")
    hang_up()
    await_true("the log says why", lambda: "certificate_not_read" in cluster.log())
    assert shown() == after
    (place.folder / "server.key").write_bytes(good)
    hang_up()
    events = await peer.events("tls.still")
    other = await join(wamp, place, "wss", place.context(), ticket())
    other.publish("tls.still", "here")
    assert (await events.get())[0] == ("here",)


@pytest.mark.parametrize(("scheme", "path"), [("mqtts", ""), ("wss", "/mqtt")])
def test_a_node_client_speaks_mqtt_over_tls(cluster, place, scheme, path):
    node.modules()
    program = f"""
    const mqtt = require('mqtt');
    const fs = require('fs');
    const client = mqtt.connect('{scheme}://localhost:{place.ports[scheme]}{path}', {{
      ca: fs.readFileSync('{place.authority.path}'),
      username: 'peter', password: 's3cret', reconnectPeriod: 0}});
    client.on('connect', () => client.subscribe('tls/node',
      () => client.publish('tls/node', 'hi')));
    client.on('message', (topic, payload) => {{
      console.log(JSON.stringify(payload.toString())); client.end(); }});
    client.on('error', (error) => {{ console.error(error); process.exit(1); }});
    """
    done = subprocess.run(
        ["node", "-e", program],
        cwd=node.JS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "hi"


def fox(*arguments, place, ca=None, user="peter"):
    more = ["--ca", str(ca)] if ca is not None else []
    if user is not None:
        more += ["--user", user]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "fox_shard",
            *arguments,
            "--realm",
            "realm1",
            *more,
        ],
        cwd=ROOT,
        env={"FOX_PASSWORD": "s3cret", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_fox_speaks_tls_and_says_when_a_certificate_is_not_trusted(cluster, place):
    url = f"wss://localhost:{place.ports['wss']}/ws"
    run = fox("put", "tls.key", "21", "--url", url, place=place, ca=place.authority.path)
    assert run.returncode == 0, run.stderr
    run = fox("get", "tls.key", "--url", url, place=place)
    assert run.returncode == 69
    assert f"The certificate of {url} is not trusted: " in run.stderr
    assert "--ca" in run.stderr
    run = fox("get", "tls.key", "--url", f"unix:{place.folder}/w1.sock", place=place)
    assert (run.returncode, run.stdout) == (0, "21\n")
    assert {path.name for path in place.folder.glob("w*")} == {"w0.sock", "w1.sock"}


@pytest.mark.parametrize(("name", "how"), [("peter", "password"), ("sensor", "certificate")])
async def test_the_client_for_programs_speaks_tls(cluster, place, name, how):
    url = f"wss://localhost:{place.ports['wss']}/ws"
    if how == "password":
        shown = {"user": name, "password": PASSWORD, "tls": Tls(str(place.authority.path))}
    else:
        pem, private = (str(place.folder / f"{name}.{kind}") for kind in ("pem", "key"))
        shown = {"tls": Tls(str(place.authority.path), pem, private)}
    async with connect(url, "realm1", **shown) as realm:
        assert realm.details["authid"] == name
    with pytest.raises(Unreachable, match="is not trusted"):
        async with connect(url, "realm1"):
            pass


def test_fox_is_the_user_of_the_certificate_that_it_shows(cluster, place):
    call = ("call", "wamp.session.list", "--url", f"wss://localhost:{place.ports['wss']}/ws")
    shared = {"place": place, "ca": place.authority.path, "user": None}
    certificate, key = str(place.folder / "sensor.pem"), str(place.folder / "sensor.key")
    run = fox(*call, "--cert", certificate, "--key", key, **shared)
    assert run.returncode == 0, run.stderr
    run = fox(*call, "--cert", certificate, **shared)
    assert run.returncode == 69
    assert f"{certificate} has no certificate with its key in PEM form" in run.stderr
    assert fox(*call, **shared).returncode == 69  # nobody is let in without a user


def test_the_client_that_a_proxy_names_is_the_one_in_the_log(cluster, place):
    with closing(socket.create_connection(("127.0.0.1", place.ports["proxied"]))) as proxy:
        proxy.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 1883\r\n")
        proxy.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")
        assert proxy.recv(4) == b"\x20\x02\x00\x05"
    await_true("the log names it", lambda: "address=192.0.2.7:4711" in cluster.log())
    request = (
        b"GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: wamp.2.json\r\n%b\r\n"
    )
    for headers, status in (
        (b"X-Forwarded-For: 6.6.6.6, 192.0.2.8\r\n", b"101"),
        (b"X-Forwarded-For: nobody\r\n", b"400"),
        # Behind the proxy, the page's origin is compared with Host, without it with loopback.
        (b"X-Forwarded-For: 192.0.2.8\r\nOrigin: https://example.com\r\n", b"101"),
        (b"X-Forwarded-For: 192.0.2.8\r\nOrigin: https://other.com\r\n", b"403"),
        (b"Origin: http://example.com\r\n", b"403"),
    ):
        with closing(socket.create_connection(("127.0.0.1", place.ports["forwarded"]))) as proxy:
            proxy.sendall(request % headers)
            answer = proxy.recv(4096)
            assert answer.split(b" ")[1] == status, (headers, answer)
            if status == b"101" and b"Origin" not in headers:
                proxy.sendall(b"\x81\x85" + bytes(4) + b"hello")
                await_true("the log names it", lambda: "address=192.0.2.8:0" in cluster.log())


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (
            lambda folder: (folder / "server.pem").unlink(),
            "listener[0].certificate: cannot read {folder}/server.pem: No such file or directory.",
        ),
        (
            lambda folder: (
                Authority(folder, "x").sign("server2", "a")
                and (folder / "server2.key").replace(folder / "server.key")
            ),
            "listener[0].key: {folder}/server.key is not the key of the certificate "
            "{folder}/server.pem.",
        ),
        (
            lambda folder: (folder / "server.pem").write_text("nonsense"),
            "listener[0].certificate: {folder}/server.pem has no certificate in PEM form.",
        ),
        (
            lambda folder: (folder / "server.key").write_text("nonsense"),
            "listener[0].key: {folder}/server.key has no private key in PEM form.",
        ),
        (
            lambda folder: Authority(folder, "x").sign("server", "a", passphrase=b"secret"),
            "listener[0].key: {folder}/server.key is encrypted with a passphrase, and nobody is "
            "there to type it: store it without one.",
        ),
    ],
)
def test_wrong_files_stop_the_start_with_one_sentence(tmp_path, break_it, sentence):
    Authority(tmp_path).sign("server", "localhost")
    break_it(tmp_path)
    config = tmp_path / "fox.toml"
    config.write_text(
        f'[[listener]]\nprotocol = "mqtt"\naddress = "127.0.0.1:{free_port()}"\n'
        'certificate = "server.pem"\nkey = "server.key"\n'
    )
    run = subprocess.run(
        [sys.executable, "-m", "fox_shard", "gateway", "0", "--config", str(config)],
        cwd=ROOT,
        env={"FOX_RUN_DIR": str(tmp_path / "run"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == f"fox: {sentence.format(folder=tmp_path)}"
