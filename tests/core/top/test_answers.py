"""fox top: answers of processes that cannot be read, such as those of another version."""

import json

import pytest

from fox_shard.top.answers import checked
from fox_shard.top.monitor import Monitor

WHOLE = {
    "status": "ok",
    "pid": 7,
    "processor": 1.5,
    "links": {"shard-0": True},
    "metrics": {"age": 0.1, "counters": {}, "gauges": {}, "realms": {"realm1": {"publishes": 1}}},
    "what another version says": [],
}


def test_an_answer_is_taken_with_all_that_is_in_it():
    assert checked(json.dumps(WHOLE).encode()) == WHOLE
    assert checked(b"{}") == {}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"pid": [1]}',
        b'{"memory": "much"}',
        b'{"cores": "many"}',
        b'{"metrics": {}}',
        b'{"metrics": []}',
        b'{"metrics": {"age": 1, "counters": {"a": "b"}, "gauges": {}, "realms": {}}}',
        b'{"metrics": {"age": 1, "counters": {}, "gauges": {}, "realms": {"a": 5}}}',
        b'{"nodes": 5}',
    ],
)
def test_an_answer_of_another_form_is_told(line):
    with pytest.raises(ValueError, match=r"."):
        checked(line)


def test_what_is_taken_makes_a_picture():
    snapshot = Monitor(cores=2).take({"gateway-0": checked(json.dumps(WHOLE).encode())}, 1.0, 2.0)
    assert [(one.name, one.status) for one in snapshot.processes] == [("gateway-0", "ok")]
