"""docs/wamp-conformance.md says what the tests show, and no statement of WAMP is forgotten."""

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import conformance  # noqa: E402
from conformance import Chapter, Statement, citations_of, mistakes, page  # noqa: E402

OPEN = 0
"""Statements for which nobody has looked for a test yet. This number may only fall."""


@pytest.fixture(scope="module")
def book():
    return conformance.chapters()


@pytest.fixture(scope="module")
def cited():
    return conformance.citations()


def test_each_statement_has_either_tests_or_a_reason(book, cited):
    assert list(mistakes(book, cited)) == []


def test_the_page_is_up_to_date(book, cited):
    same = conformance.PAGE.read_text() == page(book, cited)
    assert same, "say `make conformance`: citations or statements have changed"


@pytest.mark.parametrize(
    "path", sorted(conformance.STATEMENTS.glob("*.toml")), ids=lambda it: it.stem
)
def test_each_file_of_quotations_names_its_source_and_license(path):
    text = path.read_text()
    assert text.startswith("# The sentences are quoted from")
    assert "CC BY-SA 3.0" in text


def test_open_statements_only_become_fewer(book):
    statements = [one for chapter in book.values() for one in chapter.statement]
    assert sum(one.open for one in statements) == OPEN


def chapter(*statements):
    return {"basic.ids": Chapter("IDs", "ids.md", "c0ffee", statement=statements)}


TESTED = {"basic.ids.1": [("tests/test_ids.py", "test_ids")]}


@pytest.mark.parametrize(
    ("statements", "cited", "mistake"),
    [
        ([Statement("basic.ids.1", "MUST")], {}, "basic.ids.1 has neither a test nor a reason"),
        (
            [Statement("basic.ids.1", "MUST", reason="On clients")],
            TESTED,
            "basic.ids.1 has more than one of a test, a reason, and `open`",
        ),
        (
            [Statement("basic.ids.1", "MUST", open=True)],
            TESTED,
            "basic.ids.1 has more than one of a test, a reason, and `open`",
        ),
        ([], TESTED, "test_ids in tests/test_ids.py cites basic.ids.1, which is no statement"),
        (
            [Statement("basic.ids.1", "MUST"), Statement("basic.ids.1", "SHOULD")],
            TESTED,
            "basic.ids.1 stands for 2 statements",
        ),
        ([Statement("ids.1", "MUST", open=True)], {}, "ids.1 is in basic.ids.toml"),
    ],
)
def test_mistakes_are_found(statements, cited, mistake):
    assert list(mistakes(chapter(*statements), cited)) == [mistake]


def test_tests_with_and_without_reasons_make_no_mistake():
    statements = [
        Statement("basic.ids.1", "MUST"),
        Statement("basic.ids.2", "SHOULD", reason="On clients"),
        Statement("basic.ids.3", "SHOULD", open=True),
    ]
    assert list(mistakes(chapter(*statements), TESTED)) == []


def test_citations_are_read_from_the_source():
    source = """
@pytest.mark.parametrize("x", [1])
@pytest.mark.cites("basic.ids.1", "basic.ids.2")
def test_one(x): ...

class TestMany:
    @pytest.mark.cites("basic.ids.1")
    async def test_two(self): ...
"""
    assert sorted(citations_of(source)) == [
        ("basic.ids.1", "test_one"),
        ("basic.ids.1", "test_two"),
        ("basic.ids.2", "test_one"),
    ]


def test_a_page_counts_and_quotes():
    text = page(chapter(Statement("basic.ids.1", "A | B MUST be.")), TESTED)
    assert "| Basic: IDs | 1 | 1 | 0 | 0 | 0 |" in text
    assert "| `basic.ids.1` | A \\| B MUST be. | [test_ids](../tests/test_ids.py) |" in text
