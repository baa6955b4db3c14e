"""How many cores a process may use, in a container too."""

import os

import pytest

from fox_shard.runtime.cores import usable_cores

MACHINE = 8


@pytest.mark.parametrize(
    ("said", "cores"),
    [
        ("max 100000\n", 8),
        ("400000 100000\n", 4),
        ("150000 100000\n", 1.5),
        ("1600000 100000\n", 8),
        ("nonsense\n", 8),
        ("100000 0\n", 8),
        (None, 8),
    ],
)
def test_a_container_has_as_many_cores_as_its_limit_says(tmp_path, monkeypatch, said, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MACHINE)))
    file = tmp_path / "cpu.max"
    if said is not None:
        file.write_text(said)
    assert usable_cores(file) == cores
