"""`fox.table.list`: which tables a role is told of, and what the choice costs its client."""

import pytest
from gateway_harness import GatewayHarness

from fox_shard.backplane.frames import ActiveTables, Inquiry, InquiryPage
from fox_shard.config import Role, Rule
from fox_shard.documents import payloads
from fox_shard.gateway.authorization.rules import RuleSet
from fox_shard.gateway.clients.connection import UNLIMITED
from fox_shard.gateway.clients.turns import TURN
from fox_shard.tables.query import STATES, TableState, encode
from fox_shard.tables.schema import TableSet

TABLES, RULES = 200, 100
SCHEMA = {
    f"table{n}": {"properties": {"id": {"type": "string"}}, "primary_key": ["id"]}
    for n in range(TABLES)
}
COST = TABLES * RULES * 2
"""Units for the comparison of all tables with all rules."""


def role():
    """Return a role that may see the rows of `table1` and `table7`, for which it has many rules."""
    rules = [Rule(uri=f"x.*.{n}", match="wildcard", allow=("subscribe",)) for n in range(RULES - 3)]
    rules += [
        Rule(uri="fox.table.", match="prefix", allow=("call",)),
        Rule(uri="table1.", match="prefix", allow=("subscribe",)),
        Rule(uri="table7.", match="prefix", allow=("subscribe",)),
    ]
    return Role(name="reader", rule=tuple(rules))


@pytest.fixture
def harness():
    harness = GatewayHarness(2, roles=(role(),))
    for shard in range(2):
        harness.say(f"shard-{shard}", ActiveTables("realm1", 1, TableSet.parse(SCHEMA).text))
    return harness


@pytest.fixture
def compared(monkeypatch):
    """The patterns that were compared with all rules."""
    patterns = []
    extent = RuleSet.extent

    def counted(self, pattern, action, *, rest=False):
        patterns.append(pattern)
        return extent(self, pattern, action, rest=rest)

    monkeypatch.setattr(RuleSet, "extent", counted)
    return patterns


def opened(harness):
    session = harness.session(authrole="reader")
    session.results = []
    session.result = session.call_error = session.results.append
    return session


def call(harness, session, budget=TURN):
    session.connection.budget = budget
    harness.gateway.requests.call(
        session, 1, "fox.table.list", 0, 0, payloads.JSON, b"[]", b"{}", None
    )


def go_on(harness, session):
    """Let the session's connection have a turn."""
    session.connection.budget = TURN
    [rest] = session.connection.backlog
    session.connection.backlog = []
    rest(harness.now)


def answer(harness, session):
    """Let the shards answer; return the names of the tables that the session is told of."""
    for shard in range(2):
        for inquiry in harness.got(f"shard-{shard}", Inquiry):
            assert inquiry.kind == STATES
            items = [(name.encode(), encode(TableState(1))) for name in sorted(SCHEMA)]
            harness.say(f"shard-{shard}", InquiryPage(inquiry.token, items, b""))
    [result] = session.results
    session.results.clear()
    [tables] = payloads.decode(result.encoding, result.args, result.kwargs)[0]
    return [table["table"] for table in tables]


def test_a_turn_compares_no_more_tables_with_rules_than_it_pays_for(harness, compared):
    session = opened(harness)
    call(harness, session)
    in_turns = [len(compared)]
    while session.connection.backlog:
        assert harness.got("shard-0", Inquiry) == []
        go_on(harness, session)
        in_turns.append(len(compared) - sum(in_turns))
    assert sum(in_turns) == TABLES
    assert max(in_turns) <= TURN // (RULES * 2) + 1
    assert len(in_turns) >= COST // TURN
    assert answer(harness, session) == ["table1", "table7"]


def test_a_request_that_waited_for_an_authorizer_is_bounded_as_well(harness, compared):
    session = opened(harness)
    call(harness, session, UNLIMITED)
    assert len(compared) <= TURN // (RULES * 2) + 1


def test_the_choice_is_kept_for_all_sessions_of_the_role_until_the_tables_change(harness, compared):
    session, other = opened(harness), opened(harness)
    call(harness, session)
    while session.connection.backlog:
        go_on(harness, session)
    assert answer(harness, session) == ["table1", "table7"]
    session.permissions._extents.clear()
    compared.clear()
    call(harness, other)
    assert (other.connection.backlog, compared) == ([], [])
    assert answer(harness, other) == ["table1", "table7"]
    fewer = {name: table for name, table in SCHEMA.items() if name != "table7"}
    for shard in range(2):
        text = TableSet.parse(fewer).text
        harness.say(f"shard-{shard}", ActiveTables("realm1", 2, text))
    call(harness, other)
    while other.connection.backlog:
        go_on(harness, other)
    assert answer(harness, other) == ["table1"]


def test_a_shard_that_goes_down_while_tables_are_chosen_is_answered(harness):
    session = opened(harness)
    call(harness, session)
    harness.kill("shard-1")
    while session.connection.backlog:
        go_on(harness, session)
    assert [error.uri for error in session.results] == ["wamp.error.unavailable"]
