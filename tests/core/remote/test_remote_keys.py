"""`fox get`, `keys` and `watch`: what they print of the keys that they are shown."""

import pytest

from fox_shard.client import Event
from fox_shard.remote import keys
from fox_shard.remote.connecting import DONE, NO

READABLE = Event("a.b", 5, [1], {}, "")
UNREADABLE = Event("a.c", 6, [], {}, "unreadable")


class FakeSession:
    """A session whose subscriptions get these events, and are over then."""

    def __init__(self, *events):
        self._events = list(events)

    def subscribe(self, pattern, options):
        return self

    def replay(self):
        return iter(self._events)

    def next(self):
        return self._events.pop(0) if self._events else None


@pytest.mark.parametrize(
    ("events", "code", "out", "err"),
    [
        ([READABLE], DONE, "1\n", ""),
        ([], NO, "", "There is no key a.b"),
        ([UNREADABLE], NO, "", "The key a.b has a value that cannot be shown here"),
    ],
)
def test_get_prints_the_value_or_says_why_there_is_none(events, code, out, err, capfd):
    assert keys.get(FakeSession(*events), "a.b", json=False) == code
    printed = capfd.readouterr()
    assert printed.out == out
    assert err in printed.err


def test_lists_name_keys_whose_values_cannot_be_shown(capfd):
    keys.list_keys(FakeSession(UNREADABLE, READABLE), "a", "prefix", long=True)
    assert capfd.readouterr().out == "a.b\t5\t1\na.c\t6\t-\tunreadable\n"
    keys.watch(FakeSession(READABLE, UNREADABLE), "a", "prefix")
    assert capfd.readouterr().out == "a.b\t1\na.c\t-\tunreadable\n"
