"""The gateway's sockets: real ones with a trivial receiver, on both event loops."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import uvloop

from bench.ports import free_port
from fox_shard.backplane.limit_counts import LimitCounts
from fox_shard.config import Address
from fox_shard.config import Gateway as Settings
from fox_shard.gateway.clients.admission import Admission
from fox_shard.gateway.clients.limits import NAMES
from fox_shard.gateway.clients.turns import Turns
from fox_shard.gateway.sockets import channel as channel_module
from fox_shard.gateway.sockets.listeners import Listeners
from fox_shard.gateway.sockets.listening import ListenError
from fox_shard.gateway.sockets.ports import Claims
from fox_shard.gateway.sockets.relief import Relief

LIMIT = 1 << 16
ANYWHERE = Address("127.0.0.1", 0)
PATIENCE = 60.0


class Echo:
    """A receiver that echoes what it reads.

    `!` closes, `?` refuses the client, `-` pauses reading, `*` floods.
    """

    def __init__(self, host, connection):
        self.host, self.connection = host, connection
        self.got, self.losses = b"", 0
        host.receivers.append(self)

    def receive(self, data, now):
        assert now == self.host.now
        self.got += data
        self.connection.write(data)
        self.connection.write(b".")
        if b"!" in data:
            self.connection.close()
        if b"?" in data:
            self.connection.refused = "no questions"
            self.connection.close()
        if b"-" in data:
            self.connection.pause(paused=True)
        if b"*" in data:
            for _ in range(1000):
                self.connection.write(b"x" * LIMIT)

    def connection_lost(self, now):
        self.losses += 1


class Shell:
    """The shell of a gateway, with sockets but without a core."""

    def __init__(self, receiver=Echo):
        self.now = 0.0
        self.settings = Settings(
            websocket=ANYWHERE,
            rawsocket=None,
            mqtt=ANYWHERE,
            outbound_limit=LIMIT,
            slow_timeout=0.1,
        )
        self.dirty = []
        self.turns = Turns()
        self.admission = Admission()
        self.limit_counts = LimitCounts(NAMES)
        self.notices = []
        self.receivers, self.found_slow, self.refusals = [], [], []
        # Whether clients lose events instead of their sessions, and who fell behind or caught up.
        self.drops, self.behind = False, []
        self.linked, self.scheduled = True, False
        echo = partial(receiver, self)
        self.listeners = Listeners(self, {"mqtt": echo, "websocket": echo}, self.schedule_flush)

    def client_refused(self, connection):
        self.refusals.append((connection.peer, connection.refused))

    def slow(self, connection):
        self.found_slow.append(connection)
        connection.write(b"too slow")

    def fell_behind(self, connection):
        connection.behind = self.drops
        self.behind.append(True)

    def caught_up(self, connection):
        connection.behind = False
        self.behind.append(False)

    def schedule_flush(self):
        if not self.scheduled:
            self.scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self):
        self.scheduled = False
        self.listeners.perform(self.dirty)
        assert self.dirty == [] or self.scheduled

    async def connect(self, kind="mqtt"):
        address = self.listeners.addresses[kind]
        return await asyncio.open_connection(address.host, address.port)


@asynccontextmanager
async def running(receiver=Echo):
    shell = Shell(receiver)
    await shell.listeners.open(shell.settings)
    try:
        async with asyncio.timeout(PATIENCE):
            yield shell
    finally:
        shell.listeners.stop_accepting()
        await shell.listeners.close_all(0)
        await until(lambda: len(shell.listeners) == 0)


async def until(condition):
    """Poll until the condition is true; `running` limits the time."""
    while not condition():  # noqa: ASYNC110 - no event is set when it becomes true
        await asyncio.sleep(0.001)


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request):
    def run(coroutine):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(coroutine)

    return run


def test_everything_that_is_written_in_a_turn_arrives(run):
    async def main():
        async with running() as shell:
            reader, writer = await shell.connect()
            writer.write(b"hello")
            assert await reader.readexactly(6) == b"hello."
            assert len(shell.listeners) == 1
            assert shell.receivers[0].connection.peer.startswith("127.0.0.1:")
            writer.close()
            await until(lambda: len(shell.listeners) == 0)
            assert shell.receivers[0].losses == 1

    run(main())


def test_a_refused_client_is_reported_once(run):
    async def main():
        async with running() as shell:
            for said in (b"?", b"!"):
                reader, writer = await shell.connect()
                writer.write(said)
                assert await reader.read() == said + b"."
                writer.close()
            await until(lambda: len(shell.listeners) == 0)
            assert shell.refusals == [(shell.receivers[0].connection.peer, "no questions")]

    run(main())


def test_a_closed_client_can_read_what_was_written_even_while_it_sends(run):
    """Closing a socket with unread input resets it, and the reset overtakes the output."""

    async def main():
        async with running() as shell:
            reader, writer = await shell.connect()
            writer.write(b"bye!")
            await until(lambda: shell.receivers and shell.receivers[0].losses)
            writer.write(b"more" * 1000)
            assert await reader.read() == b"bye!."
            assert shell.receivers[0].got == b"bye!"
            writer.close()
            await until(lambda: len(shell.listeners) == 0)
            assert shell.receivers[0].losses == 1

    run(main())


def test_a_client_that_never_closes_its_side_is_cut_off(run, monkeypatch):
    monkeypatch.setattr(channel_module, "CLOSE_TIMEOUT", 0.01)

    async def main():
        async with running() as shell:
            reader, _writer = await shell.connect()
            _writer.write(b"!")
            assert await reader.read() == b"!."
            await until(lambda: len(shell.listeners) == 0)
            _writer.close()

    run(main())


class Laborious:
    """A receiver that can afford one byte in a turn; `?` raises an exception."""

    def __init__(self, host, connection):
        self.host, self.connection = host, connection
        self.got, self.lost_after = b"", None
        host.receivers.append(self)

    def receive(self, data, now):
        if self.connection.budget <= 0:
            self.connection.defer(partial(self.receive, data))
            return
        self.connection.budget = 0
        self.got += data[:1]
        if data[:1] == b"?":
            raise RuntimeError("a bug")
        if data[1:]:
            self.connection.defer(partial(self.receive, data[1:]))
        else:
            self.connection.write(b"done")

    def connection_lost(self, now):
        assert self.lost_after is None
        self.lost_after = self.got


@pytest.mark.parametrize("how", ["waits", "closes its half", "resets"])
def test_what_a_client_sent_is_handled_before_its_end(run, how):
    async def main():
        async with running(Laborious) as shell:
            reader, writer = await shell.connect()
            writer.write(bytes(range(100, 200)))
            if how == "closes its half":
                writer.write_eof()
            elif how == "resets":
                await until(lambda: shell.receivers and shell.receivers[0].got)
                linger = struct.pack("ii", 1, 0)
                peer = writer.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            if how != "resets":
                assert await reader.readexactly(4) == b"done"
            writer.close()
            await until(lambda: shell.receivers[0].lost_after is not None)
            assert shell.receivers[0].lost_after == bytes(range(100, 200))
            await until(lambda: len(shell.listeners) == 0)
            assert shell.turns.idle

    run(main())


def test_a_bug_in_a_later_turn_ends_that_connection_only(run):
    async def main():
        async with running(Laborious) as shell:
            failures = []
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: failures.append(context)
            )
            reader, writer = await shell.connect()
            other_reader, other_writer = await shell.connect()
            other_writer.write(b"xyz")
            writer.write(b"ab?cd")
            with suppress(ConnectionError):
                assert await reader.read() == b""
            assert await other_reader.readexactly(4) == b"done"
            assert [str(one["exception"]) for one in failures] == ["a bug"]
            # So the shell goes on.
            assert "protocol" in failures[0]
            writer.close()
            other_writer.close()
            await until(lambda: len(shell.listeners) == 0)

    run(main())


def test_clients_beyond_the_limit_are_closed_at_once_and_noted(run):
    async def main():
        async with running() as shell:
            shell.settings = Settings(max_connections=1)
            reader, writer = await shell.connect()
            writer.write(b"x")
            assert await reader.readexactly(2) == b"x."
            for _ in range(3):
                refused, other = await shell.connect()
                other.write(b"hello")
                with suppress(ConnectionError):
                    assert await refused.read() == b""
                other.close()
            limit = {"limit": "max_connections", "count": 1, "address": "127.0.0.1"}
            assert shell.notices == [("connections_refused", limit)]
            assert sum(shell.limit_counts.totals().values()) == 3
            assert len(shell.listeners) == len(shell.receivers) == 1
            writer.close()
            await until(lambda: len(shell.listeners) == 0)
            reader, writer = await shell.connect()
            writer.write(b"x")
            assert await reader.readexactly(2) == b"x."
            writer.close()

    run(main())


def test_a_client_that_closes_its_half_gets_its_answer(run):
    async def main():
        async with running() as shell:
            reader, writer = await shell.connect()
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"hello."
            await until(lambda: len(shell.listeners) == 0)
            assert shell.receivers[0].losses == 1
            writer.close()

    run(main())


def test_a_paused_connection_is_not_read_until_it_is_resumed(run):
    async def main():
        async with running() as shell:
            reader, writer = await shell.connect()
            writer.write(b"-")
            assert await reader.readexactly(2) == b"-."
            writer.write(b"more")
            other_reader, other_writer = await shell.connect()
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


def test_a_client_that_does_not_read_is_reported_as_slow_once(run, monkeypatch):
    monkeypatch.setattr(channel_module, "CLOSE_TIMEOUT", 0.01)

    async def main():
        async with running() as shell:
            _, writer = await shell.connect()
            writer.transport.pause_reading()
            writer.write(b"*")
            await until(lambda: shell.found_slow)
            await until(lambda: len(shell.listeners) == 0)
            assert shell.found_slow == [shell.receivers[0].connection]
            assert shell.receivers[0].losses == 1
            writer.transport.abort()

    run(main())


def test_the_client_for_which_most_waits_is_ended_when_too_much_waits_for_all(run):
    async def main():
        async with running() as shell:
            shell.settings = Settings(outbound_limit=1 << 30, slow_timeout=3600.0)
            shell.listeners.relief = Relief(64 << 20)
            writers = []
            for size in (1, 60 << 20, 40 << 20):  # of which the kernel takes some
                _, writer = await shell.connect()
                writers.append(writer)
                writer.transport.pause_reading()
                writer.write(b"a")
                await until(
                    lambda: len(shell.receivers) == len(writers) and shell.receivers[-1].got
                )
                assert shell.found_slow == []
                shell.receivers[-1].connection.write(bytes(size))
                shell.schedule_flush()
            await until(lambda: shell.found_slow)
            assert shell.found_slow == [shell.receivers[1].connection]
            assert shell.limit_counts.totals() == {"outbound_total": 1}
            await until(lambda: len(shell.listeners) == 2)
            for writer in writers:
                writer.transport.abort()

    run(main())


def test_a_client_for_which_far_too_much_waits_is_slow_at_once(run, monkeypatch):
    monkeypatch.setattr(channel_module, "CLOSE_TIMEOUT", 0.01)

    async def main():
        async with running() as shell:
            shell.settings = Settings(outbound_limit=LIMIT, slow_timeout=3600.0)
            _, writer = await shell.connect()
            writer.transport.pause_reading()
            writer.write(b"*")
            await until(lambda: shell.receivers and shell.receivers[0].got)
            shell.receivers[0].connection.write(b"one more")
            assert shell.found_slow == []
            shell.schedule_flush()
            await until(lambda: shell.found_slow)
            await until(lambda: len(shell.listeners) == 0)
            writer.transport.abort()

    run(main())


def test_a_client_that_loses_events_is_not_slow_however_long_it_does_not_read(run, monkeypatch):
    judgements = []

    async def main():
        async with running() as shell:
            after = shell.listeners.after

            def note(seconds, callback, *slowness):
                for one in slowness:
                    judgements.append(callback)
                    one._since -= 3600.0
                return after(seconds, callback, *slowness)

            monkeypatch.setattr(shell.listeners, "after", note)
            shell.drops = True
            reader, writer = await shell.connect()
            writer.transport.pause_reading()
            writer.write(b"*")
            await until(lambda: shell.behind)
            connection = shell.receivers[0].connection
            channel = connection.transport
            assert connection.behind
            await until(lambda: len(judgements) > 2)
            assert shell.found_slow == []
            writer.transport.resume_reading()
            assert len(await reader.readexactly(2 + 1000 * LIMIT)) == 2 + 1000 * LIMIT
            await until(lambda: shell.behind == [True, False])
            assert channel.slowness is None
            assert shell.found_slow == []
            writer.close()

    run(main())


def test_a_client_that_loses_events_is_slow_if_far_too_much_waits_all_the_same(run, monkeypatch):
    monkeypatch.setattr(channel_module, "CLOSE_TIMEOUT", 0.01)

    async def main():
        async with running() as shell:
            shell.drops = True
            _, writer = await shell.connect()
            writer.transport.pause_reading()
            writer.write(b"*")
            await until(lambda: shell.behind)
            shell.receivers[0].connection.write(b"an acknowledgement")
            shell.schedule_flush()
            await until(lambda: shell.found_slow)
            await until(lambda: len(shell.listeners) == 0)
            writer.transport.abort()

    run(main())


def test_a_client_that_reads_may_be_sent_more_than_the_limit_at_once(run):
    """Four events of 10 MB in a row cut off a subscriber that read all the time."""

    async def main():
        async with running() as shell:
            shell.settings = Settings(outbound_limit=LIMIT)
            reader, writer = await shell.connect()
            for _ in range(4):
                writer.write(b"*")
                assert len(await reader.readexactly(2 + 1000 * LIMIT)) == 2 + 1000 * LIMIT
            assert shell.found_slow == []
            writer.close()

    run(main())


def test_a_client_that_reads_is_not_slow_however_much_it_gets(run):
    async def main():
        async with running() as shell:
            shell.settings = Settings(outbound_limit=1 << 28)
            reader, writer = await shell.connect()
            writer.write(b"*")
            assert len(await reader.readexactly(2 + 1000 * LIMIT)) == 2 + 1000 * LIMIT
            assert shell.found_slow == []
            writer.close()

    run(main())


def test_a_client_that_connects_while_the_gateway_is_not_linked_waits(run):
    async def main():
        async with running() as shell:
            shell.linked = False
            reader, writer = await shell.connect()
            _, gone = await shell.connect()
            writer.write(b"hello")
            await until(lambda: len(shell.listeners) == 2)
            gone.transport.abort()
            assert shell.receivers == []
            shell.linked = True
            other_reader, other_writer = await shell.connect()
            other_writer.write(b"x")
            assert await other_reader.readexactly(2) == b"x."
            assert [echo.got for echo in shell.receivers] == [b"x"]
            shell.listeners.serve_queued()
            assert await reader.readexactly(6) == b"hello."
            await until(lambda: len(shell.listeners) == 2)
            writer.close()
            other_writer.close()

    run(main())


def test_a_websocket_client_does_not_wait_because_its_port_reports_the_health(run):
    async def main():
        async with running() as shell:
            shell.linked = False
            reader, writer = await shell.connect("websocket")
            writer.write(b"well?")
            assert await reader.readexactly(6) == b"well?."
            writer.close()

    run(main())


def test_connections_go_on_when_the_listeners_stop_accepting(run):
    async def main():
        async with running() as shell:
            address = shell.listeners.addresses["mqtt"]
            reader, writer = await shell.connect()
            writer.write(b"a")
            await reader.readexactly(2)
            shell.listeners.stop_accepting()
            await asyncio.sleep(0)
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection(address.host, address.port)
            writer.write(b"b")
            assert await reader.readexactly(2) == b"b."
            closing = asyncio.create_task(shell.listeners.close_all(PATIENCE))
            assert await reader.read() == b""
            writer.close()
            await closing
            assert len(shell.listeners) == 0

    run(main())


def test_listeners_share_their_port_with_other_gateways_and_tune_their_clients(run):
    async def main():
        async with running() as one:
            two = Shell()
            two.settings = Settings(
                websocket=None, rawsocket=None, mqtt=one.listeners.addresses["mqtt"]
            )
            await two.listeners.open(two.settings)
            two.listeners.stop_accepting()
            _, writer = await one.connect()
            await until(lambda: one.receivers)
            client = one.receivers[0].connection.transport.socket.get_extra_info("socket")
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            probes = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            idle, between, count = (
                client.getsockopt(socket.IPPROTO_TCP, option) for option in probes
            )
            assert idle + count * between == 40
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000
            writer.close()

    run(main())


def test_a_taken_port_is_reported_in_one_sentence_and_no_listener_stays_open(run):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            shell = Shell()
            port = taken.getsockname()[1]
            listeners = Listeners(shell, {"websocket": Echo, "mqtt": Echo}, shell.schedule_flush)
            settings = Settings(websocket=ANYWHERE, rawsocket=None, mqtt=Address("127.0.0.1", port))
            sentence = (
                rf"^Cannot listen at 127.0.0.1:{port}: another program .* FOX_GATEWAY_MQTT\.$"
            )
            with pytest.raises(ListenError, match=sentence):
                await listeners.open(settings)
            assert listeners.addresses == {}

    run(main())


def test_the_port_of_another_server_is_reported_in_one_sentence(run, tmp_path):
    async def main():
        address = Address("127.0.0.1", free_port())
        settings = Settings(websocket=None, rawsocket=None, mqtt=address)
        ours, same, other = Shell(), Shell(), Shell()
        folder = tmp_path / "ports"
        await ours.listeners.open(settings, Claims(str(tmp_path / "ours"), folder))
        await same.listeners.open(settings, Claims(str(tmp_path / "ours"), folder))
        sentence = (
            rf"^Cannot listen at {address}: another fox-shard, .* {tmp_path}/ours, listens there; "
            r"stop it, or set another port with gateway\.mqtt or FOX_GATEWAY_MQTT\.$"
        )
        with pytest.raises(ListenError, match=sentence):
            await other.listeners.open(settings, Claims(str(tmp_path / "other"), folder))
        ours.listeners.stop_accepting()
        same.listeners.stop_accepting()
        await other.listeners.open(settings, Claims(str(tmp_path / "other"), folder))
        other.listeners.stop_accepting()

    run(main())
