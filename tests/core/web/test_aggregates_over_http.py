"""`GET /api/aggregates/{table}`: an aggregate compared with its rows, over HTTP."""

import json

import pytest
from web_sessions import FakeSessions, request

from fox_shard.web import aggregates

SCHEMA = {
    "invoice": {
        "type": "object",
        "properties": {
            "day": {"type": "string"},
            "customer": {"type": "string"},
            "amount": {"type": "string"},
        },
        "primary_key": ["day", "customer"],
        "propagate": {"detail": [{"key": ["customer"], "fields": {"total": "amount"}}]},
    },
    "detail": {
        "type": "aggregate",
        "properties": {
            "customer": {"type": "string"},
            "total": {"type": "string"},
        },
        "primary_key": ["customer"],
        "sum": ["amount"],
    },
}

INVOICES = [
    {"day": "1", "customer": "acme", "amount": "1.50"},
    {"day": "2", "customer": "acme", "amount": "2.25"},
    {"day": "1", "customer": "other", "amount": "7.00"},
]
RIGHT = [{"customer": "acme", "total": "3.75"}, {"customer": "other", "total": "7.00"}]


@pytest.fixture
def verify(monkeypatch):
    """Verify a table, of which the router has these rows; later: those that it has afterwards."""
    monkeypatch.setattr(aggregates, "PAUSE", 0.0)

    def make(details, later=None, table="detail", page=2):
        sessions = FakeSessions()

        def answer(procedure, args, kwargs, options):
            nonlocal details
            if procedure == "fox.schema.get":
                return [SCHEMA], {"version": 1}
            if procedure == "fox.table.get":
                details = later or details
                return [next((one for one in details if one["customer"] == args[1]), None)], {}
            rows = INVOICES if args[0] == "invoice" else details
            wanted = args[1].get("filter", {})
            rows = [row for row in rows if wanted.items() <= row.items()]
            start = args[1].get("after", 0)
            more = start + page < len(rows)
            return [rows[start : start + page]], {
                "more": more,
                "after": start + page if more else None,
            }

        sessions.answers["call"] = answer
        return request(sessions, "GET", f"/api/aggregates/{table}")

    return make


def test_an_aggregate_that_is_right_is_told_to_be(verify):
    assert verify(RIGHT).json() == {
        "rows": 2,
        "contributions": 3,
        "wrong": [],
        "left_out": [],
        "more": False,
    }


def test_a_row_that_stays_wrong_is_told_with_what_it_should_be(verify):
    found = verify([{"customer": "acme", "total": "4.00"}]).json()
    assert [(one["topic"], one["found"], one["expected"]) for one in found["wrong"]] == [
        ("detail.acme", {"customer": "acme", "total": "4.00"}, RIGHT[0]),
        ("detail.other", None, RIGHT[1]),
    ]


def test_a_row_that_was_just_changing_is_no_mistake(verify):
    assert verify([RIGHT[1]], later=RIGHT).json()["wrong"] == []


def test_what_is_no_aggregate_is_refused_in_words(verify):
    assert verify(RIGHT, table="invoice").status_code == 400
    answer = verify(RIGHT, table="nothing")
    assert (answer.status_code, json.loads(answer.text)["detail"]) == (
        404,
        "There is no table nothing.",
    )


def test_too_many_rows_are_left_to_the_command(verify, monkeypatch):
    monkeypatch.setattr(aggregates, "MOST_ROWS", 2)
    answer = verify(RIGHT)
    assert answer.status_code == 400
    assert "fox tables verify" in answer.json()["detail"]
