"""What the run directory says of the server, and of attached gateways."""

import fcntl
import os
import stat

import pytest
from msgspec import json

from fox_shard.backplane.attached import name_of
from fox_shard.backplane.frames import VERSION
from fox_shard.config import Address, Config, Listener, UnixPath
from fox_shard.runtime.attached import leave_place, take_place
from fox_shard.runtime.attached_names import OLD, clear_away, ended_in, running
from fox_shard.runtime.server_file import NAME, AttachError, Server, read_server, write_server

SERVER = Server(
    7,
    "/srv/fox",
    Config(
        shards=3,
        listeners=(
            Listener(protocol="mqtt", address=Address("::1", 1884)),
            Listener(protocol="mqtt", address=UnixPath("/run/mqtt-{gateway}")),
        ),
    ),
)


def test_what_was_written_is_read(tmp_path):
    write_server(tmp_path, SERVER)
    assert read_server(tmp_path) == SERVER
    write_server(tmp_path, Server(8, "/srv/fox", Config()))
    assert read_server(tmp_path).generation == 8
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"protocol": 3, "version": "0.0", "server": {"x": 1}}', f"protocol 3, .* {VERSION}"),
        (b'{"protocol": %d, "version": "0", "server": {}}' % VERSION, "not from this version"),
        (b"{", "not from this version"),
    ],
)
def test_a_server_of_another_version_is_refused(tmp_path, text, sentence):
    (tmp_path / NAME).write_bytes(text)
    with pytest.raises(AttachError, match=sentence):
        read_server(tmp_path)


def test_without_a_server_there_is_no_place(tmp_path):
    with pytest.raises(AttachError, match="No server has run"):
        take_place(tmp_path, {})


def test_each_place_has_a_name_of_its_own_while_it_is_taken(tmp_path):
    write_server(tmp_path, SERVER)
    places = [take_place(tmp_path, {}) for _ in range(2)]
    assert running(tmp_path) == {f"gateway-{place.number}" for place in places}
    assert len(running(tmp_path)) == 2
    assert places[0].config.run_dir == str(tmp_path)
    for place in places:
        leave_place(place)
    assert running(tmp_path) == frozenset()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_what_a_killed_one_has_left_is_cleared_away(tmp_path):
    old, new, held = map(name_of, range(3))
    for name in (old, new, held, "gateway-0"):
        for kind in ("lock", "health", "alive"):
            (tmp_path / f"{name}.{kind}").touch()
    for name in (old, held, "gateway-0"):
        os.utime(tmp_path / f"{name}.lock", (1000, 1000))
    os.utime(tmp_path / f"{new}.lock", (1000 + OLD, 1000 + OLD))
    with (tmp_path / f"{held}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear_away(tmp_path, lambda: 1000 + 1.5 * OLD)
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {new, held, "gateway-0"}


def test_the_file_can_be_read_by_people(tmp_path):
    write_server(tmp_path, SERVER)
    assert json.decode((tmp_path / NAME).read_bytes())["server"]["config"]["shards"] == 3


def test_one_has_ended_when_its_lock_is_free(tmp_path):
    """However often others look, who hold the lock for a moment."""
    write_server(tmp_path, SERVER)
    place = take_place(tmp_path, {})
    name, has_ended = f"gateway-{place.number}", ended_in(tmp_path)
    assert [has_ended(name) for _ in range(3)] == [False] * 3
    with (tmp_path / f"{name}.lock").open() as looking:
        place.lock.close()
        fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert has_ended(name)
    assert has_ended(name)


def test_a_missing_lock_tells_nothing(tmp_path):
    """Somebody may have cleaned up while the gateway runs."""
    write_server(tmp_path, SERVER)
    place = take_place(tmp_path, {})
    name = f"gateway-{place.number}"
    (tmp_path / f"{name}.lock").unlink()
    assert not ended_in(tmp_path)(name)
    assert not ended_in(tmp_path)(name_of(9))
    place.lock.close()


def test_a_child_that_was_forked_holds_the_lock_of_its_parent(tmp_path):
    """It may go on with the parent's sockets, so that nothing is sure."""
    write_server(tmp_path, SERVER)
    place = take_place(tmp_path, {})
    inherited = os.dup(place.lock.fileno())  # as fork does
    place.lock.close()
    assert not ended_in(tmp_path)(f"gateway-{place.number}")
    os.close(inherited)
    assert ended_in(tmp_path)(f"gateway-{place.number}")
