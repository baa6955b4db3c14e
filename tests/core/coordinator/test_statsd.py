"""The StatsD sender, over real UDP sockets on the loopback interface."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from fox_shard.config import Address
from fox_shard.coordinator import statsd
from fox_shard.coordinator.statsd import MTU_PAYLOAD, Sender, clean


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(5)
        yield daemon


def port_of(daemon: socket.socket) -> int:
    port: int = daemon.getsockname()[1]
    return port


def received(daemon: socket.socket) -> list[bytes]:
    """Return what has arrived; on the loopback interface that is everything sent."""
    datagrams = []
    daemon.setblocking(False)
    while True:
        try:
            datagrams.append(daemon.recv(65536))
        except BlockingIOError:
            return datagrams


def lines_of(datagrams: list[bytes]) -> list[str]:
    return [line for datagram in datagrams for line in datagram.decode("ascii").split("\n")]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("fox", ["fox.realm1.publishes:3|c", "fox.realm1.sessions:2|g"]),
        ("", ["realm1.publishes:3|c", "realm1.sessions:2|g"]),
        ("a.b.", ["a.b.realm1.publishes:3|c", "a.b.realm1.sessions:2|g"]),
    ],
)
def test_counters_and_gauges_are_sent_in_one_datagram(daemon, prefix, expected):
    sender = Sender(Address("127.0.0.1", port_of(daemon)), prefix)
    asyncio.run(sender.send([("realm1", "publishes", 3, "c"), ("realm1", "sessions", 2, "g")]))
    sender.close()
    (datagram,) = received(daemon)
    assert datagram.decode().split("\n") == expected


def test_a_large_flush_is_packed_up_to_the_mtu_and_loses_nothing(daemon):
    sender = Sender(Address("localhost", port_of(daemon)), "fox")
    values = [("realm1", f"metric{i}" + "x" * (i % 40), i, "cg"[i % 2]) for i in range(500)]
    asyncio.run(sender.send(values))
    sender.close()
    datagrams = received(daemon)
    lines = lines_of(datagrams)
    assert Counter(lines) == Counter(
        f"fox.realm1.{name}:{value}|{kind}" for _, name, value, kind in values
    )
    assert max(map(len, datagrams)) <= MTU_PAYLOAD
    longest = max(map(len, lines)) + 1
    assert all(len(datagram) > MTU_PAYLOAD - 1 - longest for datagram in datagrams[:-1])


@pytest.mark.parametrize(
    ("owner", "name", "cleaned"),
    [
        ("realm1", "publishes", "realm1.publishes"),
        ("com.example", "publishes", "com_example.publishes"),
        ("com", "wamp.messages_in", "com.wamp.messages_in"),
        ("a:b|c@d e", "sessions", "a_b_c_d_e.sessions"),
        ("größe", "sessions", "gr__e.sessions"),
        ("gateway-0", "refused.max_calls", "gateway-0.refused.max_calls"),
        ("x:1|c\nevil", "a", "x_1_c_evil.a"),
    ],
)
def test_names_have_only_characters_that_statsd_can_read(owner, name, cleaned):
    assert clean(owner, name) == cleaned


def test_an_empty_flush_sends_no_datagram(daemon):
    sender = Sender(Address("127.0.0.1", port_of(daemon)), "fox")
    asyncio.run(sender.send([]))
    sender.close()
    assert received(daemon) == []


def test_a_daemon_that_is_down_is_logged_once_until_it_works_again(caplog):
    caplog.set_level(logging.INFO, "fox_shard")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = port_of(taken)
    values = [("r", "a", 1, "c")]

    async def scenario() -> list[bytes]:
        sender = Sender(Address("127.0.0.1", port), "fox")
        for _ in range(5):
            await sender.send(values)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
            daemon.bind(("127.0.0.1", port))
            for _ in range(3):
                await sender.send(values)
            datagrams = received(daemon)
        sender.close()
        return datagrams

    datagrams = asyncio.run(scenario())
    # No datagram is lost, although the first send got the error of the datagram before it.
    assert datagrams == [b"fox.r.a:1|c"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "again" in caplog.records[1].getMessage()


def test_sending_survives_failures_of_the_name_service(daemon, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "fox_shard")
    monkeypatch.setattr(statsd, "RESOLVE_AGAIN", 0.0)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        working, failing = loop.getaddrinfo, 0

        async def broken(*_: object, **__: object) -> None:
            nonlocal failing
            failing += 1
            raise socket.gaierror(socket.EAI_AGAIN, "try again")

        sender = Sender(Address("localhost", port_of(daemon)), "fox")
        monkeypatch.setattr(loop, "getaddrinfo", broken)
        await sender.send([("r", "a", 1, "c")])
        await sender.send([("r", "a", 2, "c")])
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        monkeypatch.setattr(loop, "getaddrinfo", working)
        await sender.send([("r", "a", 3, "c")])
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        monkeypatch.setattr(loop, "getaddrinfo", broken)
        await sender.send([("r", "a", 4, "c")])
        assert failing == 3
        sender.close()

    asyncio.run(scenario())
    assert received(daemon) == [b"fox.r.a:3|c", b"fox.r.a:4|c"]
    assert len(caplog.records) == 2


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_an_impossible_host_name_is_only_logged(host, caplog):
    sender = Sender(Address(host, 8125), "fox")
    asyncio.run(sender.send([("r", "a", 1, "c")]))
    sender.close()
    sender.close()
    assert len(caplog.records) == 1


def test_values_are_sent_over_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as daemon:
        try:
            daemon.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        sender = Sender(Address("::1", port_of(daemon)), "fox")
        asyncio.run(sender.send([("r", "a", 1, "g")]))
        sender.close()
        assert received(daemon) == [b"fox.r.a:1|g"]
