"""What happens a few times leaves a line each, but a flood only one a second, with its number."""

import pytest

from fox_shard.deadline import Deadline
from fox_shard.gateway.clients.limited_lines import FIRST, LimitedLines
from fox_shard.gateway.clients.timers import Timers


class Log:
    def __init__(self):
        self.notices = []
        self.timers = Timers(Deadline())
        self.lines = LimitedLines("refused", self.notices, self.timers)

    def add(self, number, now):
        self.timers.run(now)
        self.lines.add({"number": number}, now)

    def taken(self):
        taken = [fields for _, fields in self.notices]
        self.notices.clear()
        return taken


@pytest.fixture
def log():
    return Log()


def test_the_first_ones_have_a_line_each(log):
    for number in range(FIRST + 3):
        log.add(number, 100.0)
    assert log.notices == [("refused", {"number": number}) for number in range(FIRST)]


def test_a_flood_has_one_line_a_second_with_the_number_of_those_without(log):
    for step in range(8 * 4):
        log.add(0, 100.0 + step / 8)
    log.taken()
    for step in range(8 * 4, 8 * 20):
        log.add(0, 100.0 + step / 8)
    assert log.taken() == [{"number": 0, "suppressed": 7}] * 16


def test_the_last_of_a_flood_are_not_forgotten(log):
    for number in range(FIRST + 5):
        log.add(number, 100.0)
    log.taken()
    log.timers.run(101.0)
    assert log.taken() == [{"number": FIRST + 4, "suppressed": 4}]
    log.timers.run(103.0)
    assert not log.taken()


def test_a_line_about_the_last_ones_is_the_line_of_its_second(log):
    for number in range(FIRST + 5):
        log.add(number, 100.0)
    log.timers.run(101.0)
    log.taken()
    log.add(99, 101.5)
    assert not log.taken()
