"""The whole server: what stops its start, how it reports that it is ready, and how it ends."""

import os
import re
import shutil
import signal
import socket
from contextlib import closing, contextmanager

import pytest
from cluster import END, ROOT, await_true
from programs import alive
from supervised import FOX_RUN, SUPERVISORD, Supervised

STARTS = pytest.mark.parametrize("starts", [FOX_RUN, SUPERVISORD], ids=["fox", "supervisord"])


@contextmanager
def server(**arguments):
    """Start a server; after the block it is stopped, if it still runs."""
    broker = Supervised(**{"await_ready": False, **arguments})
    try:
        yield broker
    finally:
        if broker.supervisord.poll() is None:
            broker.stop()
        broker.remove()


@contextmanager
def taken():
    """Give an address that is in use."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def lines_with(broker, text):
    return [line for line in broker.said.read_text().splitlines() if text in line]


def await_said(broker, text, times=1):
    await_true(f"it says {text!r}", lambda: len(lines_with(broker, text)) >= times)


# What stops the start


@STARTS
def test_a_taken_port_stops_the_start_with_one_sentence(starts):
    with taken() as address, server(starts=starts, FOX_GATEWAY_MQTT=address) as broker:
        code = broker.supervisord.wait(END)
        sentence = (
            f"fox: Cannot listen at {address}: another program listens there; stop it, or set "
            "another port with gateway.mqtt or FOX_GATEWAY_MQTT."
        )
        said = lines_with(broker, "fox: ")
        if starts == FOX_RUN:
            assert (code, said) == (1, [sentence])
        else:
            # Each gateway says so, unless the server is stopped before the second one does;
            # supervisord itself does not know that something has failed.
            assert (code, set(said)) == (0, {sentence})
        assert not lines_with(broker, "Traceback")


def test_a_gateway_that_cannot_listen_again_does_not_stop_the_others():
    with server(await_ready=True) as broker:
        await_said(broker, " ready ")
        pids = broker.children()
        broker.ctl("stop", "gateway:*")
        with closing(socket.create_server(("127.0.0.1", broker.mqtt))):
            broker.ctl("start", "gateway:gateway-0")
            await_said(broker, "fox: Cannot listen at ", times=2)
            assert {
                name: pid for name, pid in broker.children().items() if "gateway" not in name
            } == {name: pid for name, pid in pids.items() if "gateway" not in name}
        broker.ctl("start", "gateway:gateway-1")
        broker.await_ready()


def damage(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b"realm1", b"realm2"))


@pytest.mark.parametrize(
    ("harm", "says"),
    [(lambda path: path.unlink(), "is missing"), (damage, "is damaged: the checksum of ")],
)
def test_missing_or_damaged_data_stops_the_start(harm, says):
    with server(await_ready=True) as broker:
        broker.fox("put", "com.example.color", "red")
        kept = broker.folder.with_name(f"{broker.folder.name}-kept")
        shutil.copytree(broker.folder / "data", kept)
        broker.supervisord.terminate()
        assert broker.supervisord.wait(END) == 0
        for path in (broker.folder / "data").glob("generation-1/*.sqlite"):
            harm(path)
        broker.said.unlink()
        broker.supervisord = broker.start()
        assert broker.supervisord.wait(END) == 1
        (sentence, *_) = lines_with(broker, "fox: ")
        assert says in sentence
        # With its data back, the server starts.
        shutil.rmtree(broker.folder / "data")
        kept.rename(broker.folder / "data")
        broker.supervisord = broker.start()
        broker.await_ready()
        assert broker.fox("get", "com.example.color").stdout == "red\n"


def test_a_mistake_in_the_configuration_stops_the_start():
    with server(FOX_GATEWAY_MQTT="nonsense") as broker:
        assert broker.supervisord.wait(END) == 2
        assert len(broker.said.read_text().splitlines()) == 1


# The configuration


@STARTS
def test_fox_config_names_the_configuration_of_all_processes(starts, tmp_path):
    """The numbers of processes come from the server's fox.conf, as the file has none beside it."""
    text = (ROOT / "conf" / "fox.toml").read_text()
    other = tmp_path / "other.toml"
    other.write_text(re.sub(r'^(name|realm) = "realm1"', r'\1 = "other"', text, flags=re.M))
    with server(starts=starts, await_ready=True, config=other) as broker:
        health = broker.fox("health")
        assert (health.returncode, len(health.stdout.splitlines())) == (0, len(broker.names))
        assert broker.fox("put", "--realm", "other", "a.b", "1").returncode == 0
        assert "no realm 'realm1'" in broker.fox("put", "--realm", "realm1", "a.b", "1").stderr


# Ready


def test_the_server_says_once_that_it_is_ready_and_where_it_listens():
    with server() as broker:
        await_said(broker, "INFO    ready ")
        (line,) = lines_with(broker, " ready ")
        assert re.fullmatch(
            rf".* INFO    ready websocket=127.0.0.1:{broker.websocket} "
            rf"rawsocket=127.0.0.1:{broker.rawsocket} mqtt=127.0.0.1:{broker.mqtt}",
            line,
        )
        broker.await_ready()
        # The coordinator writes that line, but not again after a restart of itself alone.
        pid = broker.children()["coordinator"]
        os.kill(pid, signal.SIGKILL)
        ready = broker.run_dir / "ready"
        await_true(
            "the coordinator has looked", lambda: f"coordinator={pid}" not in ready.read_text()
        )
        assert len(lines_with(broker, " ready ")) == 1
        broker.ctl("restart", "all")
        await_said(broker, " ready ", times=2)
        assert len(lines_with(broker, " ready ")) == 2


# The end


@STARTS
def test_all_processes_end_when_supervisord_is_killed(starts):
    with server(starts=starts, await_ready=True) as broker:
        children = broker.children()
        broker.supervisord.kill()
        broker.supervisord.wait(END)
        for name, pid in children.items():
            await_true(f"{name} has ended", lambda pid=pid: not alive(pid))
            assert lines_with(broker, f" {name} started ")
        # So the next start finds all ports and locks free.
        broker.supervisord = broker.start()
        broker.await_ready()


def test_a_process_that_starts_when_supervisord_has_just_ended_ends_too():
    """Nobody listens at the socket of the supervisord that started the process."""
    with server(await_ready=True) as broker:
        with closing(socket.socket(socket.AF_UNIX)) as gone:
            gone.bind(str(broker.folder / "gone.sock"))
        broker.settings |= {
            "SUPERVISOR_ENABLED": "1",
            "SUPERVISOR_SERVER_URL": f"unix://{broker.folder / 'gone.sock'}",
        }
        done = broker.fox("shard", "0")
        assert done.returncode == 128 + signal.SIGTERM
        assert (done.stdout, done.stderr) == ("", "")
