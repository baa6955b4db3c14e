"""The watchdog: who works although it says nothing, and who has hung."""

import subprocess
import sys
from pathlib import Path

import pytest

from fox_shard.config import Backplane
from fox_shard.runtime.watchdog import (
    _SIGN,
    SLOW,
    TurnTimer,
    Verdict,
    interval_of,
    where,
    working_peers,
)

SETTINGS = Backplane()
STEP = interval_of(SETTINGS)


def verdicts(timer, *looks, now=0.0):
    """Look once per step. looks: whether a turn has ended since the last look."""
    found = []
    for number, turned in enumerate(looks, 1):
        verdict = timer.look(now + number * STEP, turned=turned)
        if verdict is not Verdict.NOTHING:
            found.append((number, verdict))
    return found


def test_a_loop_that_turns_is_no_news():
    assert verdicts(TurnTimer(STEP, 30.0, 0.0), *[True] * 100) == []


def test_a_slow_turn_is_told_once_and_again_when_it_is_over():
    timer = TurnTimer(STEP, 30.0, 0.0)
    slow = round(SLOW / STEP)
    looks = [True, *[False] * (slow + 3), True, True, True]
    assert verdicts(timer, *looks) == [(1 + slow, Verdict.SLOW), (slow + 5, Verdict.OVER)]


def test_the_seconds_of_a_slow_turn_are_told_when_it_is_over():
    timer = TurnTimer(STEP, 30.0, 0.0)
    verdicts(timer, *[False] * 6, True)
    assert timer.seconds == 6 * STEP


def test_a_turn_without_end_has_hung():
    timer = TurnTimer(STEP, 10.0, 0.0)
    found = verdicts(timer, *[False] * round(10.0 / STEP))
    assert found[-1] == (10.0 / STEP, Verdict.HUNG)


def test_slow_turns_that_follow_one_another_have_not_hung():
    timer = TurnTimer(STEP, 10.0, 0.0)
    slow = [False] * round(2 * SLOW / STEP)
    found = verdicts(timer, *[*slow, True] * 20)
    assert {verdict for _, verdict in found} == {Verdict.SLOW, Verdict.OVER}


def test_the_time_in_which_the_whole_process_stood_still_does_not_count():
    timer = TurnTimer(STEP, 10.0, 0.0)
    assert timer.look(STEP, turned=True) is Verdict.NOTHING
    for number in range(5):
        # Stopped for an hour, again and again, before the loop had the chance to answer.
        now = (1 + number) * 3600.0
        assert timer.look(now, turned=False) in (Verdict.NOTHING, Verdict.SLOW)
        assert timer.look(now + STEP, turned=True) in (Verdict.NOTHING, Verdict.OVER)


# The signs of life


def sign(run_dir, incarnation=7, signed=100.0, turned=100.0, *, cut=None):
    (run_dir / "shard-0.alive").write_bytes(_SIGN.pack(incarnation, signed, turned)[:cut])


@pytest.mark.parametrize(
    ("signs", "now", "works"),
    [
        ({}, 100.1, True),
        ({}, 100.0 + 4 * STEP, False),
        # The loop is busy.
        ({"turned": 80.0}, 100.1, True),
        ({"turned": 60.0}, 100.1, False),
        # Another life of the process.
        ({"incarnation": 8}, 100.1, False),
        # It has just been made.
        ({"cut": 0}, 100.1, False),
        ({"cut": 5}, 100.1, False),
    ],
)
def test_a_process_works_if_its_last_sign_of_life_is_fresh(tmp_path, signs, now, works):
    sign(tmp_path, **signs)
    is_working = working_peers(tmp_path, SETTINGS)
    assert is_working("shard-0", 7, now) is works


def test_a_process_whose_incarnation_is_unknown_works_in_any(tmp_path):
    sign(tmp_path)
    assert working_peers(tmp_path, SETTINGS)("shard-0", 0, 100.1)


def test_a_process_without_a_sign_of_life_does_not_work(tmp_path):
    assert not working_peers(tmp_path, SETTINGS)("shard-0", 7, 100.0)


def test_a_process_is_stale_before_its_peers_give_it_up():
    for timeout in (0.2, 1.5, 5.0, 3600.0):
        assert 4 * interval_of(Backplane(peer_timeout=timeout)) <= timeout


def test_a_sign_of_life_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "shard-0.alive").mkdir()
    assert not working_peers(tmp_path, SETTINGS)("shard-0", 7, 100.0)


def test_the_place_is_named_with_the_innermost_call_first():
    place = where(sys._getframe())
    assert ":test_the_place_is_named_with_the_innermost_call_first<" in place
    assert place.startswith(str(Path(__file__)))


BUSY = """
import asyncio, sys, time
from pathlib import Path
from fox_shard.config import Backplane, Config
from fox_shard.runtime.logs import set_up_logging
from fox_shard.runtime.watchdog import Watchdog, working_peers

run_dir = Path(sys.argv[1])
settings = Backplane(peer_timeout=0.4, turn_timeout=2.0)

def never_ending_work():
    is_working = working_peers(run_dir, settings)
    while not is_working("shard-0", 7, time.monotonic()):
        pass
    print("works", flush=True)
    while True:
        pass

async def main():
    set_up_logging(Config())
    loop = asyncio.get_running_loop()
    Watchdog("shard-0", lambda: 7, run_dir, settings, loop).start()
    loop.call_soon(never_ending_work)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_a_busy_process_works_says_what_it_does_and_ends_itself_if_it_does_not_end(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BUSY, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == "works\n"
    slow, hung = done.stderr.splitlines()
    assert " WARNING shard-0 slow_turn seconds=" in slow
    assert " CRITICAL shard-0 hung seconds=" in hung
    assert all(":never_ending_work<" in line for line in (slow, hung))


IDLE = """
import asyncio, sys
from pathlib import Path
from fox_shard.config import Backplane
from fox_shard.runtime.watchdog import Watchdog

async def main():
    settings = Backplane(peer_timeout=0.4, turn_timeout=1.5)
    loop = asyncio.get_running_loop()
    Watchdog("shard-0", lambda: 7, Path(sys.argv[1]), settings, loop).start()
    await asyncio.sleep(4.0)

asyncio.run(main())
"""


def test_a_loop_that_has_nothing_to_do_has_not_hung(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IDLE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
