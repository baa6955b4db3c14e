"""Who may read a file with secrets."""

import os

import pytest

from fox_shard.users.secret_file import exposing_mode

US, ROOT, SOMEBODY = 1000, 0, 1001


def file_of(owner, mode):
    return os.stat_result((0o100000 | mode, 1, 1, 1, owner, 1000, 1, 0, 0, 0))


@pytest.mark.parametrize(
    ("owner", "mode", "exposed"),
    [
        (US, 0o600, False),
        (US, 0o400, False),
        (US, 0o640, True),
        (US, 0o604, True),
        (SOMEBODY, 0o640, True),
        # As Kubernetes mounts a secret with the mode 0400 for a group (fsGroup).
        (ROOT, 0o440, False),
        (ROOT, 0o640, False),
        (ROOT, 0o644, True),
        (ROOT, 0o660, True),
        (ROOT, 0o650, True),
    ],
)
def test_others_may_read_a_file(owner, mode, exposed):
    assert exposing_mode(file_of(owner, mode), US) == (f"{mode:04o}" if exposed else "")


def test_root_gives_its_own_file_to_nobody():
    assert exposing_mode(file_of(ROOT, 0o640), ROOT) == "0640"
