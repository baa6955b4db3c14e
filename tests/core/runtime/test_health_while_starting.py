"""What `fox health` says of a process that does not answer."""

import subprocess
import sys

import pytest

from fox_shard.config import Config
from fox_shard.runtime.health import check_health
from fox_shard.runtime.name_lock import hold_name, is_held


@pytest.fixture
def config(tmp_path):
    return Config(gateways=1, shards=1, run_dir=str(tmp_path))


def statuses(config, capsys):
    assert check_health(config) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {line[0]: line[1] for line in lines}


def test_a_process_that_holds_its_name_and_does_not_answer_is_starting(config, capsys):
    with hold_name(config, "shard-0"):
        assert statuses(config, capsys)["shard-0"] == "status=starting"
    assert set(statuses(config, capsys).values()) == {"status=down"}


def test_another_processs_lock_counts_and_ends_with_it(config, tmp_path):
    program = (
        "import sys, fcntl; file = open(sys.argv[1], 'a'); "
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    assert not is_held(tmp_path, "shard-0")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "shard-0.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        assert is_held(tmp_path, "shard-0")
        assert not is_held(tmp_path, "gateway-0")
        process.stdin.close()
    assert not is_held(tmp_path, "shard-0")
