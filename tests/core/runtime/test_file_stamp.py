"""What shows that a file has changed."""

import pytest

from fox_shard.runtime.file_stamp import stamp_of


def replaced(path):
    beside = path.with_name("beside")
    beside.write_bytes(path.read_bytes())
    beside.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("longer"),
        replaced,
        # Whoever is told that others may read a file changes nothing else.
        lambda path: path.chmod(0o600),
        lambda path: path.unlink(),
    ],
)
def test_a_change_shows(tmp_path, change):
    path = tmp_path / "users.toml"
    path.write_text("short")
    path.chmod(0o644)
    before = stamp_of(path)
    assert stamp_of(path) == before
    change(path)
    assert stamp_of(path) != before
