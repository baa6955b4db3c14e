"""Descriptions of damaged rows, for operators."""

from pathlib import Path

import pytest

from fox_shard.coordinator import rows as coordinator_rows
from fox_shard.datadir.damage import described
from fox_shard.shard import rows

SHARD, COORDINATOR = Path("generation-1/shard-0.sqlite"), Path("coordinator.sqlite")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (rows.key("realm1", "com.ü"), "the key com.ü of realm realm1"),
        (rows.unannounced("realm1", "com.ü"), "a change of the key com.ü of realm realm1"),
        (rows.recorded("realm1", 640), "the recorded event 640 of realm realm1"),
        (rows.topic_marks("r", "a.b"), "the marks of the history of topic a.b of realm r"),
        (rows.log_marks("r", b"\xff" * 8), "the marks of a history of realm r"),
        (rows.will(5139), "the will of session 5139"),
        (rows.will(5139, 7), "the will of session 5139"),
        (rows.waiter(7), "the waiting publish 7"),
        (rows.grant(64), "the granted publish 64"),
        (rows.peer("gateway-0"), "a note about the link with gateway-0"),
        (rows.outcomes("gateway-0", 9), "the outcomes of frames of gateway-0"),
        (rows.definition("r", rows.NEXT), "the definitions of tables of realm r"),
        (rows.CEILING, "the publication clock"),
        (rows.RESHARDED, "the publication clock's beginning"),
        (b"k\xff\0a", r"the row b'k\xff\x00a'"),
        (b"", "the row b''"),
        (b"zebra", "the row b'zebra'"),
    ],
)
def test_rows_of_shards_are_described(key, name):
    assert described(SHARD, key) == name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (coordinator_rows.session("gateway-1", 5139), "session 5139 at gateway-1"),
        (coordinator_rows.gateway("gateway-1"), "a note about the link with gateway-1"),
        (coordinator_rows.outbox("shard-0", 3), "a note about the link with shard-0"),
        (coordinator_rows.last("shard-0"), "a note about the link with shard-0"),
        (coordinator_rows.schema("r"), "the definitions of tables of realm r"),
        (coordinator_rows.GENERATION, "the generation"),
        (b"s\xff\0", r"the row b's\xff\x00'"),
        (b"zebra", "the row b'zebra'"),
    ],
)
def test_rows_of_the_coordinator_are_described(key, name):
    assert described(COORDINATOR, key) == name
