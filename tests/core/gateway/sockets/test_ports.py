"""Claims on listening addresses: one server's gateways share them, another server is refused."""

import subprocess
import sys
import tempfile
from unittest.mock import Mock

import pytest

from fox_shard.gateway.sockets.ports import AddressTaken, Claims

HOLDER = """
import sys
import tempfile
from unittest.mock import Mock
from pathlib import Path
from fox_shard.gateway.sockets.ports import Claims
claims = Claims(sys.argv[1], Path(sys.argv[2]))
claims.add("127.0.0.1", 8080)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path):
    """Make the claims of one gateway: `server(name)`, where name is its server's run directory."""
    made = []

    def make(name):
        made.append(Claims(str(tmp_path / name), tmp_path / "ports"))
        return made[-1]

    yield make
    for claims in made:
        claims.drop()


def test_gateways_of_one_server_share_an_address(server):
    for _ in range(3):
        server("a").add("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("held", "wanted", "refused"),
    [
        (("127.0.0.1", 8080), ("127.0.0.1", 8080), True),
        (("127.0.0.1", 8080), ("127.0.0.1", 8081), False),
        (("127.0.0.1", 8080), ("127.0.0.1", 80), False),
        (("127.0.0.1", 8080), ("127.0.0.2", 8080), False),
        # A claim on all addresses conflicts with a claim on one of them, in either order.
        (("0.0.0.0", 8080), ("127.0.0.1", 8080), True),
        (("127.0.0.1", 8080), ("0.0.0.0", 8080), True),
        (("::", 8080), ("::1", 8080), True),
        # Listeners at IPv6 addresses accept IPv6 only.
        (("::", 8080), ("127.0.0.1", 8080), False),
        (("0.0.0.0", 8080), ("::", 8080), False),
    ],
)
def test_another_server_is_refused_where_clients_could_reach_either(
    server, tmp_path, held, wanted, refused
):
    server("a").add(*held)
    if refused:
        with pytest.raises(AddressTaken) as error:
            server("b").add(*wanted)
        assert error.value.owner == str(tmp_path / "a")
    else:
        server("b").add(*wanted)


def test_an_address_is_free_when_the_last_gateway_has_dropped_it(server):
    first, second = server("a"), server("a")
    first.add("127.0.0.1", 8080)
    second.add("127.0.0.1", 8080)
    first.drop()
    with pytest.raises(AddressTaken):
        server("b").add("127.0.0.1", 8080)
    second.drop()
    server("b").add("127.0.0.1", 8080)
    with pytest.raises(AddressTaken):
        first.add("127.0.0.1", 8080)


def test_a_server_whose_processes_were_killed_holds_no_address(server, tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "a"), str(tmp_path / "ports")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AddressTaken):
            server("b").add("127.0.0.1", 8080)
        holder.kill()
        holder.wait()
        server("b").add("127.0.0.1", 8080)


def test_a_run_directory_behind_a_symbolic_link_is_the_same_server(server, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    server("a").add("127.0.0.1", 8080)
    server("link").add("127.0.0.1", 8080)


def test_no_address_is_claimed_where_no_files_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    claims = Claims(str(tmp_path / "a"), tmp_path / "file" / "ports")
    claims.add("127.0.0.1", 8080)
    Claims(str(tmp_path / "b"), tmp_path / "file" / "ports").add("127.0.0.1", 8080)


def test_no_address_is_claimed_where_there_is_no_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", Mock(side_effect=FileNotFoundError))
    Claims(str(tmp_path / "a")).add("127.0.0.1", 8080)
