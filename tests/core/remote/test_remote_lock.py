"""fox lock at a router that does unusual things."""

import sys
from math import inf

import pytest
from scripted_router import GOODBYE, joined

from fox_shard.client import ConnectionLost, NoAnswer, Refused
from fox_shard.remote import lock
from fox_shard.remote.lock import Terms, run_under_lock

TAKEN = (32, [33, 1, 5], 16)
"""The script until the lock is asked for: a subscription, then a publish."""

OURS = [36, 5, 8, {}, ["me"]]
FAILED = [8, 16, 3, {}, "fox.error.condition_failed", ["no"], {"publication": 9}]
SAY = [sys.executable, "-c", "print('ran', flush=True)"]
STAY = [sys.executable, "-c", "import time; time.sleep(60)"]


def run(session, command=SAY, wait=inf, grace=5.0):
    return run_under_lock(session, "a", "me", Terms(wait, grace), command)


def test_the_command_runs_once_the_lock_is_ours_and_has_been_shown(capfd):
    before = [36, 5, 7, {}, ["other"]], [36, 5, 7, {"removed": "weak"}]
    with joined(*TAKEN, *before, [17, 2, 8], OURS, 16, [17, 3, 9], 6, GOODBYE) as session:
        assert run(session) == 0
    assert capfd.readouterr() == ("ran\n", "")


@pytest.mark.parametrize(
    ("behind", "sentence"),
    [
        ([36, 5, 9, {"removed": "deleted"}], "as soon as it was taken: The key was deleted."),
        (
            [36, 5, 8, {"removed": "weak"}],
            "as soon as it was taken: The router has ended our session.",
        ),
        ([36, 5, 9, {}, [1]], "as soon as it was taken: Somebody has published 1 there."),
    ],
)
def test_a_lock_that_is_lost_before_it_is_shown_was_never_held(behind, sentence, capfd):
    with joined(*TAKEN, [17, 2, 8], behind, 6, GOODBYE) as session:
        assert run(session) == 75
    out, err = capfd.readouterr()
    assert out == ""
    assert sentence in err


def test_a_lock_that_is_not_shown_to_us_is_not_held(capfd, monkeypatch):
    monkeypatch.setattr(lock, "SIGHT", 0.0)
    with joined(*TAKEN, [17, 2, 8], 6, GOODBYE) as session, pytest.raises(NoAnswer):
        run(session)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("behind", "sentence"),
    [
        ([36, 5, 8, {"removed": "weak"}], "The router has ended our session."),
        ([36, 5, 8, {"removed": "expired"}], "The key has expired."),
        ([35, 0, {"subscription": 5}], "The router has ended the subscription."),
    ],
)
def test_any_change_after_our_own_value_is_the_loss_of_the_lock(behind, sentence, capfd):
    with joined(*TAKEN, [17, 2, 8], OURS, OURS, behind, 6, GOODBYE) as session:
        assert run(session, STAY) == 75
    assert f"The lock a is lost: {sentence} The command is ended." in capfd.readouterr().err


def test_a_release_that_comes_too_late_is_reported(capfd):
    with joined(*TAKEN, [17, 2, 8], OURS, 16, FAILED, 6, GOODBYE) as session:
        assert run(session) == 75
    assert capfd.readouterr() == (
        "ran\n",
        "fox: The lock a was lost before the command had ended.\n",
    )


def test_a_router_that_ends_before_the_release_changes_nothing(capfd):
    with joined(*TAKEN, [17, 2, 8], OURS, 16) as session:
        assert run(session) == 0
    assert capfd.readouterr() == ("ran\n", "")


def test_a_lock_is_not_held_if_the_router_ends_while_it_is_awaited(capfd):
    with pytest.raises(ConnectionLost), joined(*TAKEN) as session:
        run(session)
    assert capfd.readouterr().out == ""


def test_the_holder_of_a_lock_may_be_unknown(capfd, monkeypatch):
    monkeypatch.setattr(lock, "HOLDER", 0.0)
    refused = [8, 16, 2, {}, "fox.error.condition_failed", ["no"], {"publication": 9}]
    with joined(*TAKEN, refused, 6, GOODBYE) as session:
        assert run(session, wait=0) == 75
    assert capfd.readouterr() == ("", "fox: a is held by somebody.\n")


def test_any_other_refusal_is_raised():
    refused = [8, 16, 2, {}, "fox.error.queue_full", ["full"]]
    with joined(*TAKEN, refused, 6, GOODBYE) as session, pytest.raises(Refused, match="full"):
        run(session)
