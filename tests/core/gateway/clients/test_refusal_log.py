"""Refused clients leave a line each, but a flood of them only one a second, with their number."""

from fox_shard.gateway.clients.refusal_log import FIRST, MAX_REASON, RefusalLog


def test_the_first_refusals_have_a_line_each():
    log = RefusalLog()
    lines = [log.refused(f"a:{n}", "why", 100.0) for n in range(FIRST + 3)]
    assert lines[:FIRST] == [{"address": f"a:{n}", "reason": "why"} for n in range(FIRST)]
    assert lines[FIRST:] == [None] * 3
    assert log.suppressed == 3


def test_a_flood_has_one_line_a_second_with_the_number_of_those_without():
    log = RefusalLog()
    lines = [log.refused("a:1", "why", 100.0 + step / 8) for step in range(8 * 20)]
    later = [line for line in lines[8 * 4 :] if line is not None]
    assert later == [{"address": "a:1", "reason": "why", "suppressed": 7}] * 16


def test_the_last_of_a_flood_are_not_forgotten():
    log = RefusalLog()
    for n in range(FIRST + 5):
        log.refused(f"a:{n}", "why", 100.0)
    assert log.remaining(101.0) == {"address": f"a:{FIRST + 4}", "reason": "why", "suppressed": 4}
    assert log.remaining(102.0) is None
    # That was the line of its second.
    assert log.refused("b:1", "why", 101.5) is None


def test_a_reason_is_cut_off():
    line = RefusalLog().refused("a:1", "y" * 10_000, 100.0)
    assert line == {"address": "a:1", "reason": "y" * MAX_REASON}
