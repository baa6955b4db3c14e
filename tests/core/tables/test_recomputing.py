"""Recomputing an aggregate: what is read, and what comes of it."""

import pytest

from fox_shard.tables.recomputing import Recomputation
from fox_shard.tables.schema import TableSet

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
SCHEMA = TableSet.parse(
    {
        "match": {
            "properties": {"id": TEXT, "home": TEXT, "guest": TEXT, "goals": NUMBER},
            "primary_key": ["id"],
            "propagate": {
                "team": [
                    {"key": ["home"], "fields": {"sum": "goals"}},
                    {"key": ["guest"], "fields": {"sum": "goals"}},
                    {"key": ["home"], "fields": {"sum": "goals"}, "filter": {"goals": 3}},
                ]
            },
        },
        "gift": {
            "properties": {"to": TEXT, "n": NUMBER},
            "primary_key": ["to"],
            "propagate": {"team": [{"key": ["to"], "fields": {"sum": "n"}}]},
        },
        "team": {
            "type": "aggregate",
            "properties": {"name": TEXT, "sum": NUMBER},
            "primary_key": ["name"],
            "sum": ["sum"],
        },
    }
)
ROWS = {
    "match": [
        {"id": "1", "home": "foxes", "guest": "bears", "goals": 3},
        {"id": "2", "home": "bears", "guest": "foxes", "goals": 1},
        {"id": "3", "home": "owls", "guest": "bears", "goals": 5},
    ],
    "gift": [{"to": "foxes", "n": 10}],
}


def recomputed(key=None):
    """Return the recomputation, done as by whoever asks a server for rows, and what was read."""
    made = Recomputation(SCHEMA, SCHEMA.tables["team"], key)
    read = []
    for reading in made.readings:
        read.append((reading.table, reading.filter))
        for row in ROWS[reading.table]:
            if reading.filter.items() <= row.items():
                made.add(reading, row)
    return made, read


def test_all_rows_are_read_once_whatever_edges_there_are():
    made, read = recomputed()
    assert read == [("match", {}), ("gift", {})]
    assert made.contributions == 8
    assert made.rows() == {
        "team.foxes": {"name": "foxes", "sum": 3 + 3 + 1 + 10},
        "team.bears": {"name": "bears", "sum": 3 + 1 + 5},
        "team.owls": {"name": "owls", "sum": 5},
    }


def test_for_one_row_those_are_read_that_may_be_in_its_group():
    made, read = recomputed({"name": "foxes"})
    assert read == [
        ("match", {"home": "foxes"}),
        ("match", {"guest": "foxes"}),
        ("gift", {"to": "foxes"}),
    ]
    assert made.rows() == {"team.foxes": {"name": "foxes", "sum": 17}}


def test_a_table_is_no_aggregate():
    with pytest.raises(ValueError, match="match is no aggregate"):
        Recomputation(SCHEMA, SCHEMA.tables["match"])
