"""The whole server: what stops its start, the line that says it is ready, and how it ends."""

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
    """It, from its start on; ended in the end if it has not by itself."""
    made = Supervised(**{"gateways": 1, "shards": 2, "await_ready": False, **arguments})
    try:
        yield made
    finally:
        if made.supervisord.poll() is None:
            made.stop()
        made.remove()


@contextmanager
def taken():
    """An address at which somebody else listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def lines_with(made, text):
    return [line for line in made.said.read_text().splitlines() if text in line]


def await_said(made, text, times=1):
    await_true(f"it says {text!r}", lambda: len(lines_with(made, text)) >= times)


# What stops the start


@STARTS
def test_a_taken_port_stops_it_with_one_sentence(starts):
    with taken() as address, server(starts=starts, FOX_GATEWAY_MQTT=address) as made:
        code = made.supervisord.wait(END)
        sentence = f"fox: Cannot listen at {address}: Address already in use."
        assert lines_with(made, "fox: ") == [sentence]
        # supervisord itself does not know that something has failed.
        assert code == (1 if starts == FOX_RUN else 0)
        assert not lines_with(made, "Traceback")


def test_a_gateway_that_cannot_listen_again_does_not_stop_the_others():
    with server(gateways=2, await_ready=True) as made:
        await_said(made, " ready ")
        pids = made.children()
        made.ctl("stop", "gateway:*")
        with closing(socket.create_server(("127.0.0.1", made.mqtt))):
            made.ctl("start", "gateway:gateway-0")
            await_said(made, "fox: Cannot listen at ", times=2)
            assert {
                name: pid for name, pid in made.children().items() if "gateway" not in name
            } == {name: pid for name, pid in pids.items() if "gateway" not in name}
        made.ctl("start", "gateway:gateway-1")
        made.await_ready()


def damage(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b"realm1", b"realm2"))


@pytest.mark.parametrize(
    ("harm", "says"),
    [(lambda path: path.unlink(), "is missing"), (damage, "is damaged: the checksum of ")],
)
def test_data_that_is_not_what_was_stored_stops_it(harm, says):
    with server(await_ready=True) as made:
        made.fox("put", "com.example.color", "red")
        kept = made.folder.with_name(f"{made.folder.name}-kept")
        shutil.copytree(made.folder / "data", kept)
        made.supervisord.terminate()
        assert made.supervisord.wait(END) == 0
        for path in (made.folder / "data").glob("generation-1/*.sqlite"):
            harm(path)
        made.said.unlink()
        made.supervisord = made.start()
        assert made.supervisord.wait(END) == 1
        (sentence, *_) = lines_with(made, "fox: ")
        assert says in sentence
        # The data is there again, and so is the server.
        shutil.rmtree(made.folder / "data")
        kept.rename(made.folder / "data")
        made.supervisord = made.start()
        made.await_ready()
        assert made.fox("get", "com.example.color").stdout == "red\n"


def test_a_mistake_in_the_configuration_stops_it():
    with server(FOX_GATEWAY_MQTT="nonsense") as made:
        assert made.supervisord.wait(END) == 2
        assert len(made.said.read_text().splitlines()) == 1


# Which configuration it has


@STARTS
def test_fox_config_names_the_configuration_of_all(starts, tmp_path):
    """The numbers of processes are those of the server's fox.conf, as there is none beside it."""
    text = (ROOT / "conf" / "fox.toml").read_text()
    other = tmp_path / "other.toml"
    other.write_text(re.sub(r'^(name|realm) = "realm1"', r'\1 = "other"', text, flags=re.M))
    with server(starts=starts, shards=3, await_ready=True, FOX_CONFIG=str(other)) as made:
        health = made.fox("health")
        assert (health.returncode, len(health.stdout.splitlines())) == (0, 5)
        assert made.fox("put", "--realm", "other", "a.b", "1").returncode == 0
        assert "no realm 'realm1'" in made.fox("put", "--realm", "realm1", "a.b", "1").stderr


# Ready


def test_it_says_once_that_it_is_ready_and_where_it_listens():
    with server(gateways=2) as made:
        await_said(made, "INFO    ready ")
        last = made.said.read_text().splitlines()[-1]
        assert re.fullmatch(
            rf".* INFO    ready websocket=127.0.0.1:{made.websocket} "
            rf"rawsocket=127.0.0.1:{made.rawsocket} mqtt=127.0.0.1:{made.mqtt}",
            last,
        )
        made.await_ready()
        # The coordinator says it; but after its restart alone it is no news.
        pid = made.children()["coordinator"]
        os.kill(pid, signal.SIGKILL)
        ready = made.run_dir / "ready"
        await_true(
            "the coordinator has looked", lambda: f"coordinator={pid}" not in ready.read_text()
        )
        assert len(lines_with(made, " ready ")) == 1
        made.ctl("restart", "all")
        await_said(made, " ready ", times=2)
        assert len(lines_with(made, " ready ")) == 2


# The end


@STARTS
def test_all_end_when_supervisord_is_killed(starts):
    with server(starts=starts, await_ready=True) as made:
        children = made.children()
        made.supervisord.kill()
        made.supervisord.wait(END)
        for name, pid in children.items():
            await_true(f"{name} has ended", lambda pid=pid: not alive(pid))
            assert lines_with(made, f" {name} started ")
        # So the next start finds everything free.
        made.supervisord = made.start()
        made.await_ready()


def test_a_process_that_starts_when_supervisord_has_just_ended_ends_too():
    """Nobody listens at the socket of the supervisord that it was started by."""
    with server(await_ready=True) as made:
        with closing(socket.socket(socket.AF_UNIX)) as gone:
            gone.bind(str(made.folder / "gone.sock"))
        made.settings |= {
            "SUPERVISOR_ENABLED": "1",
            "SUPERVISOR_SERVER_URL": f"unix://{made.folder / 'gone.sock'}",
        }
        done = made.fox("shard", "0")
        assert done.returncode == 128 + signal.SIGTERM
        assert (done.stdout, done.stderr) == ("", "")
