"""TLS, PROXY headers, UNIX sockets: real sockets, a trivial receiver, on both event loops."""

import asyncio
import socket
import ssl
import struct
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from test_listeners import ANYWHERE, PATIENCE, Echo, Laborious, Shell, run, until

from fox_shard.config import Gateway as Settings
from fox_shard.config import Listener, UnixPath
from fox_shard.gateway.sockets import channel as channel_module
from fox_shard.gateway.sockets import tls_socket as tls_socket_module
from fox_shard.gateway.sockets.listening import ListenError
from fox_shard.gateway.sockets.tls_contexts import TlsContexts

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from certificates import Authority

__all__ = ["run"]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER = SIGNATURE + struct.pack(
    "!BBH4s4sHH", 0x21, 0x11, 12, bytes([192, 0, 2, 7]), bytes(4), 50412, 1883
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("tls"))
    authority.sign("server", "localhost")
    authority.sign("peter", "peter", names=())
    return authority


def listener(authority=None, **settings):
    if authority is not None:
        folder = authority.folder
        settings["certificate"] = str(folder / "server.pem")
        settings["key"] = str(folder / "server.key")
    return Listener(**{"protocol": "mqtt", "address": ANYWHERE, **settings})


class TlsShell(Shell):
    """A shell with one listener more."""

    def __init__(self, listener, receiver):
        super().__init__(receiver)
        self.listener = listener
        self.contexts = TlsContexts([listener])

    @property
    def address(self):
        return self.listeners.addresses[self.listener.scheme]

    @property
    def newcomers(self):
        return self.listeners._newcomers

    async def open(self, more):
        await self.listeners.open(self.settings, None, [more], self.contexts)

    async def connect(self, context=None, **options):
        if isinstance(self.address, UnixPath):
            return await asyncio.open_unix_connection(self.address.path, ssl=context, **options)
        name = {"server_hostname": "localhost"} if context else {}
        return await asyncio.open_connection(
            self.address.host, self.address.port, ssl=context, **name, **options
        )


@asynccontextmanager
async def running(more, receiver=Echo, **settings):
    shell = TlsShell(more, receiver)
    shell.settings = Settings(
        websocket=None,
        rawsocket=None,
        mqtt=None,
        outbound_limit=1 << 16,
        slow_timeout=0.1,
        **settings,
    )
    await shell.open(more)
    try:
        async with asyncio.timeout(PATIENCE):
            yield shell
    finally:
        shell.listeners.stop_accepting()
        await shell.listeners.close_all(0)
        await until(lambda: len(shell.listeners) == 0)
        assert len(shell.newcomers) == 0
        assert shell.admission._count == 0
        assert shell.admission._of_address == {}


def client_context(authority, *, user=None, **versions):
    context = ssl.create_default_context(cafile=authority.path)
    if user is not None:
        folder = authority.folder
        context.load_cert_chain(folder / f"{user}.pem", folder / f"{user}.key")
    for name, version in versions.items():
        setattr(context, name, version)
    return context


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_everything_arrives_in_both_directions(run, authority, version):
    async def main():
        context = client_context(authority, maximum_version=version, minimum_version=version)
        async with running(listener(authority)) as shell:
            reader, writer = await shell.connect(context)
            writer.write(b"hello")
            assert await reader.readexactly(6) == b"hello."
            big = b"z" * 3_000_000
            writer.write(big)
            answer = b""
            while answer.count(b"z") < len(big):
                answer += await reader.read(1 << 20)
            assert shell.receivers[0].got == b"hello" + big
            assert len(shell.listeners) == 1
            assert len(shell.newcomers) == 0
            writer.close()
            await until(lambda: len(shell.listeners) == 0)
            assert shell.receivers[0].losses == 1

    run(main())


def test_a_closed_client_can_read_what_was_written_even_while_it_sends(run, authority):
    async def main():
        async with running(listener(authority)) as shell:
            reader, writer = await shell.connect(client_context(authority))
            writer.write(b"bye!")
            assert await reader.read() == b"bye!."
            writer.close()
            await until(lambda: len(shell.listeners) == 0)
            assert shell.receivers[0].losses == 1

    run(main())


def test_what_a_client_sent_is_handled_before_its_end(run, authority):
    async def main():
        async with running(listener(authority), Laborious) as shell:
            reader, writer = await shell.connect(client_context(authority))
            writer.write(bytes(range(100, 200)))
            assert await reader.readexactly(4) == b"done"
            writer.close()
            await until(lambda: shell.receivers[0].lost_after is not None)
            assert shell.receivers[0].lost_after == bytes(range(100, 200))

    run(main())


def test_many_small_records_are_read_in_turns(run, authority, monkeypatch):
    monkeypatch.setattr(tls_socket_module, "SLICE", 3)

    async def main():
        async with running(listener(authority)) as shell:
            reader, writer = await shell.connect(client_context(authority))
            said = bytes(ord("a") + number % 26 for number in range(200))
            for number in range(200):
                writer.write(said[number : number + 1])
            await until(lambda: shell.receivers and len(shell.receivers[0].got) == 200)
            assert shell.receivers[0].got == said
            assert (await reader.readexactly(2))[:1] == b"a"
            writer.close()

    run(main())


def test_a_paused_connection_is_not_read_until_it_is_resumed(run, authority):
    async def main():
        async with running(listener(authority)) as shell:
            reader, writer = await shell.connect(client_context(authority))
            writer.write(b"-")
            assert await reader.readexactly(2) == b"-."
            writer.write(b"more")
            other_reader, other_writer = await shell.connect(client_context(authority))
            other_writer.write(b"x")
            await other_reader.readexactly(2)
            echo = shell.receivers[0]
            assert echo.got == b"-"
            echo.connection.pause(paused=False)
            shell.schedule_flush()
            assert await reader.readexactly(5) == b"more."
            writer.close()
            other_writer.close()

    run(main())


def test_a_client_that_does_not_read_is_slow(run, authority, monkeypatch):
    monkeypatch.setattr(channel_module, "CLOSE_TIMEOUT", 0.01)

    async def main():
        async with running(listener(authority)) as shell:
            _, writer = await shell.connect(client_context(authority))
            writer.transport.pause_reading()
            writer.write(b"*")
            await until(lambda: shell.found_slow)
            await until(lambda: len(shell.listeners) == 0)
            assert shell.receivers[0].losses == 1
            writer.transport.abort()

    run(main())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "TLS: the client speaks HTTP without TLS"),
        (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", "TLS: "),
        (b"\x16\x03\x01\x00\x05hello", "TLS: "),
        (bytes(range(256)) * 8, "TLS: "),
    ],
)
def test_garbage_ends_the_connection_and_is_logged(run, authority, said, reason):
    async def main():
        async with running(listener(authority)) as shell:
            reader, writer = await shell.connect()
            writer.write(said)
            with suppress(ConnectionError):
                await reader.read()
            await until(lambda: shell.refusals)
            assert shell.refusals[0][1].startswith(reason)
            assert shell.receivers == []
            writer.close()

    run(main())


class Bare:
    """A client whose records are at hand before they are sent."""

    def __init__(self, shell, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.shell = shell

    async def shake(self):
        """Shake hands, but do not send the last flight."""
        self.reader, self.writer = await self.shell.connect()
        while True:
            try:
                return self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.writer.write(self.outgoing.read())
                self.incoming.write(await self.reader.read(1 << 16))


@pytest.mark.parametrize("busy", [False, True], ids=["at once", "queued"])
def test_much_may_come_together_with_the_end_of_the_handshake(run, authority, busy):
    """A client of TLS 1.3 does not wait for the server before it sends a megabyte."""

    async def main():
        async with running(listener(authority)) as shell:
            client = Bare(shell, client_context(authority))
            await client.shake()
            for _ in range(64):
                client.tls.write(b"m" * (1 << 14))
            if busy:
                shell.newcomers.handshakes.spend(1 << 20)
            client.writer.write(client.outgoing.read())
            await until(lambda: shell.receivers and len(shell.receivers[0].got) == 1 << 20)
            assert shell.refusals == []
            client.writer.transport.abort()

    run(main())


def test_a_handshake_that_does_not_end_may_not_be_long(run, authority):
    """Handshake messages in endless small records, of a type that OpenSSL lets through."""

    async def main():
        async with running(listener(authority)) as shell:
            reader, writer = await shell.connect()
            writer.write(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff" + bytes(1 << 18))
            with suppress(ConnectionError):
                await reader.read()
            await until(lambda: shell.refusals)
            assert shell.receivers == []
            writer.close()

    run(main())


def test_the_longest_silent_newcomer_makes_room(run, authority):
    async def main():
        async with running(listener(authority), max_handshakes=2) as shell:
            silent = [await shell.connect() for _ in range(5)]
            for reader, _ in silent[:3]:
                with suppress(ConnectionError):
                    assert await reader.read() == b""
            assert len(shell.newcomers) == 2
            assert shell.limit_counts.totals()["max_handshakes"] == 3
            _, writer = await shell.connect(client_context(authority))
            writer.close()
            for _, writer in silent:
                writer.close()

    run(main())


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
def test_an_unfinished_handshake_ends_in_time(run, authority, said):
    async def main():
        async with running(listener(authority), handshake_timeout=0.1) as shell:
            reader, writer = await shell.connect()
            writer.write(said)
            with suppress(ConnectionError):
                assert await reader.read() == b""
            assert shell.limit_counts.totals()["handshake_timeout"] == 1
            assert len(shell.refusals) == bool(said)
            writer.close()

    run(main())


def test_a_client_certificate_names_the_user(run, authority):
    async def main():
        more = listener(
            authority, client_certificate="required", ca=str(authority.path), certificate_user="cn"
        )
        async with running(more) as shell:
            reader, writer = await shell.connect(client_context(authority, user="peter"))
            writer.write(b"x")
            assert await reader.readexactly(2) == b"x."
            assert shell.receivers[0].connection.access.user == "peter"
            writer.close()
            with suppress(ssl.SSLError, ConnectionError):
                reader, writer = await shell.connect(client_context(authority))
                assert await reader.read() == b""
            await until(lambda: shell.refusals)
            assert shell.refusals[0][1] == "TLS: the client has shown no certificate"

    run(main())


def test_a_reloaded_certificate_is_for_new_connections(run, authority):
    async def main():
        folder = authority.folder
        authority.sign("renewed", "localhost")
        more = Listener(
            protocol="mqtt",
            address=ANYWHERE,
            certificate=str(folder / "renewed.pem"),
            key=str(folder / "renewed.key"),
        )
        async with running(more) as shell:
            reader, writer = await shell.connect(client_context(authority))
            before = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            authority.sign("renewed", "localhost")
            assert [event for event, _ in shell.contexts.reload()] == ["certificate_read"]
            _, other = await shell.connect(client_context(authority))
            after = other.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert before != after
            writer.write(b"x")
            assert await reader.readexactly(2) == b"x."
            (folder / "renewed.key").write_text("nonsense")
            ((event, fields),) = shell.contexts.reload()
            assert event == "certificate_not_read"
            assert fields["reason"].startswith("listener[0].key: ")
            _, third = await shell.connect(client_context(authority))
            assert third.get_extra_info("ssl_object").getpeercert(binary_form=True) == after
            for one in (writer, other, third):
                one.close()

    run(main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("pieces", ["at once", "byte by byte"])
def test_a_proxy_says_who_the_client_is(run, authority, tls, pieces):
    """HAProxy's `send-proxy-v2`, also in front of TLS that it does not end."""

    async def main():
        more = listener(authority if tls else None, proxy_protocol=True)
        async with running(more) as shell:
            plain = socket.create_connection((shell.address.host, shell.address.port))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in [HEADER] if pieces == "at once" else HEADER:
                plain.sendall(byte if isinstance(byte, bytes) else bytes([byte]))
                await asyncio.sleep(0)
            plain.setblocking(False)
            options = (
                {"ssl": client_context(authority), "server_hostname": "localhost"} if tls else {}
            )
            reader, writer = await asyncio.open_connection(sock=plain, **options)
            writer.write(b"hello")
            assert await reader.readexactly(6) == b"hello."
            assert shell.receivers[0].connection.peer == "192.0.2.7:50412"
            assert shell.admission._of_address == {"192.0.2.7": 1}
            writer.close()
            await until(lambda: len(shell.listeners) == 0)

    run(main())


@pytest.mark.parametrize(
    ("networks", "said", "reason"),
    [
        (["10.0.0.0/8"], HEADER + b"x", "it is no trusted proxy"),
        (["127.0.0.1"], b"hello", "the connection does not begin with a PROXY header"),
        (["127.0.0.1"], HEADER[:12] + b"\x21\x11\xff\xff", "a PROXY header of 65535 bytes"),
    ],
)
def test_only_headers_of_trusted_proxies_count(run, networks, said, reason):
    async def main():
        more = listener(proxy_protocol=True, trusted_proxies=tuple(networks))
        async with running(more) as shell:
            with suppress(ConnectionError):
                reader, writer = await shell.connect()
                writer.write(said)
                assert await reader.read() == b""
            await until(lambda: shell.refusals)
            assert shell.refusals[0][1].startswith(reason)
            assert shell.receivers == []
            writer.close()

    run(main())


def test_a_header_is_nothing_special_where_it_is_not_enabled(run):
    async def main():
        async with running(listener()) as shell:
            reader, writer = await shell.connect()
            writer.write(HEADER)
            assert await reader.readexactly(len(HEADER) + 1) == HEADER + b"."
            assert shell.receivers[0].connection.peer.startswith("127.0.0.1:")
            writer.close()

    run(main())


def at_path(path):
    return Listener(protocol="mqtt", address=UnixPath(str(path)), mode="0600")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_clients_come_by_a_unix_socket(run, authority, tmp_path, tls):
    async def main():
        path = tmp_path / "mqtt.sock"
        more = listener(authority if tls else None, address=UnixPath(str(path)), mode="0600")
        options = {"server_hostname": "localhost"} if tls else {}
        async with running(more) as shell:
            assert path.stat().st_mode & 0o777 == 0o600
            context = client_context(authority) if tls else None
            reader, writer = await shell.connect(context, **options)
            writer.write(b"hello")
            assert await reader.readexactly(6) == b"hello."
            assert shell.receivers[0].connection.peer == f"unix:{path}"
            assert shell.receivers[0].connection.host == "unix"
            writer.close()
        assert list(tmp_path.iterdir()) == []

    run(main())


def test_only_a_socket_without_a_listener_is_replaced(run, tmp_path):
    async def main():
        path = tmp_path / "mqtt.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        async with running(at_path(path)):
            sentence = f"Cannot listen at unix:{path}: another process listens there."
            with pytest.raises(ListenError) as caught:
                async with running(at_path(path)):
                    pass
            assert str(caught.value) == sentence
            assert path.is_socket()
        path.write_text("precious")
        with pytest.raises(ListenError, match="there is a file that is no socket"):
            async with running(at_path(path)):
                pass
        assert path.read_text() == "precious"

    run(main())
