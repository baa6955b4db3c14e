"""What a process does about its supervisord: whom it stops, and when it does not."""

import os
import signal
import socket
from contextlib import ExitStack, closing

import pytest

from fox_shard.runtime.supervision import (
    READY,
    Supervisor,
    follow_supervisor,
    identity_of,
    peer_of,
    refusal_of,
)

PARENT = os.getppid()


@pytest.fixture
def killed(monkeypatch):
    """Signals that were sent, and to whom."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda *signal: sent.append(signal))
    return sent


def test_a_refusal_stops_a_server_that_was_not_ready(tmp_path, killed):
    supervisor = Supervisor(PARENT)
    supervisor.stop(tmp_path, "Cannot listen.")
    assert killed == [(PARENT, signal.SIGTERM)]
    assert refusal_of(supervisor.identity, tmp_path) == "Cannot listen."
    assert refusal_of(identity_of(os.getpid()), tmp_path) == ""


def test_a_refusal_does_not_stop_a_server_that_was_ready(tmp_path, killed):
    supervisor = Supervisor(PARENT)
    (tmp_path / READY).write_text(f"{supervisor.identity}\ngateway-0=1")
    supervisor.stop(tmp_path, "Cannot listen.")
    assert killed == []
    assert refusal_of(supervisor.identity, tmp_path) == ""


def test_that_another_server_was_ready_does_not_count(tmp_path, killed):
    """A process of the same id, as in a container that was restarted."""
    (tmp_path / READY).write_text(f"{PARENT} 1\ngateway-0=1")
    Supervisor(PARENT).stop(tmp_path, "Cannot listen.")
    assert len(killed) == 1


def test_who_is_not_our_parent_is_not_stopped(tmp_path, killed):
    Supervisor(os.getpid()).stop(tmp_path, "Cannot listen.")
    assert killed == []


def test_without_supervisord_there_is_nobody_to_follow(monkeypatch):
    monkeypatch.delenv("SUPERVISOR_ENABLED", raising=False)
    assert follow_supervisor() is None


def test_who_listens_at_a_socket(tmp_path):
    path = tmp_path / "s"
    assert peer_of(path) is None
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        assert peer_of(path) is None
        listener.listen(0)
        assert peer_of(path) == os.getpid()
        with ExitStack() as stack:
            while waits(stack.enter_context(closing(socket.socket(socket.AF_UNIX))), path):
                pass  # until as many wait as may
            assert peer_of(path) == 0
    assert peer_of(path) is None


def waits(client, path):
    """Is there room for it in the listener's queue?"""
    client.setblocking(False)
    return client.connect_ex(str(path)) == 0
