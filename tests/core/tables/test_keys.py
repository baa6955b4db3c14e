"""Topics of rows: whatever the key holds, one row has one topic, and every topic is legal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoices import tables

from fox_shard.errors import InvalidUri
from fox_shard.tables import keys
from fox_shard.tables.keys import BOOLEAN, INTEGER, TEXT, component_of, value_of
from fox_shard.tables.mistakes import InvalidRow
from fox_shard.topics.topic import check_mqtt_topic, check_topic, is_in_sequence, to_mqtt, to_wamp

TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.text("%./*+#~ $\t\n\0aé\u2028\x85", max_size=8)
).filter(lambda text: text[:1] != "\0")


@pytest.mark.parametrize(
    ("text", "component"),
    [
        ("acme", "acme"),
        ("", "%"),
        ("%", "%25"),
        ("%25", "%2525"),
        ("a.b", "a%2Eb"),
        ("a/b", "a%2Fb"),
        ("*", "%2A"),
        ("+", "%2B"),
        ("#", "%23"),
        ("a b", "a%20b"),
        ("a\0", "a%00"),
        ("a\n\x7f\x9f", "a%0A%7F%C2%9F"),
        ("\u2028", "%E2%80%A8"),
        ("~0000000000000001", "%7E0000000000000001"),
        ("a~", "a~"),
        ("$SYS", "$SYS"),
        ("Žluť", "Žluť"),
    ],
)
def test_texts_are_percent_encoded(text, component):
    assert component_of(text, TEXT) == component
    assert value_of(component, TEXT) == text


@pytest.mark.parametrize("text", ["\0", "\0YQ==", "\0a"])
def test_a_text_that_means_bytes_in_json_is_no_key(text):
    """A JSON client could neither ask for its row nor for the page behind it."""
    with pytest.raises(ValueError, match="U\\+0000"):
        component_of(text, TEXT)
    with pytest.raises(ValueError, match="U\\+0000"):
        value_of("%00" + text[1:], TEXT)


@pytest.mark.parametrize("text", ["x" * 65_536, "%" * 16_000_000])
def test_a_text_that_is_too_long_for_a_topic_is_not_encoded(text, monkeypatch):
    """A row may have megabytes of characters that are."""
    monkeypatch.setattr(keys, "_ENCODED", {})
    with pytest.raises(ValueError, match="at most 65535 bytes"):
        component_of(text, TEXT)


@given(TEXTS)
def test_every_text_comes_back(text):
    component = component_of(text, TEXT)
    assert value_of(component, TEXT) == text


@given(TEXTS, TEXTS)
def test_different_texts_have_different_components(one, other):
    assert (component_of(one, TEXT) == component_of(other, TEXT)) == (one == other)


@given(TEXTS)
def test_a_rows_topic_is_legal_in_both_notations(text):
    table = tables().tables["a"]
    topic = table.row_topic({"id": text})
    check_topic(topic)
    check_mqtt_topic(to_mqtt(topic))
    assert to_wamp(to_mqtt(topic)) == topic
    assert topic.count(".") == 1
    assert not is_in_sequence(topic)
    assert table.key_of(topic) == {"id": text}


@given(st.integers())
def test_every_integer_comes_back(number):
    assert value_of(component_of(number, INTEGER), INTEGER) == number


def test_a_float_that_is_an_integer_is_one():
    assert component_of(5.0, INTEGER) == "5"
    assert component_of(-0.0, INTEGER) == "0"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, TEXT),
        (5, TEXT),
        (b"x", TEXT),
        ("\ud800", TEXT),
        (["x"], TEXT),
        ("5", INTEGER),
        (True, INTEGER),
        (5.5, INTEGER),
        (float("nan"), INTEGER),
        (float("inf"), INTEGER),
        (10**100, INTEGER),
        (10**400, INTEGER),
        (1, BOOLEAN),
        ("true", BOOLEAN),
    ],
)
def test_other_values_are_refused(value, kind):
    with pytest.raises(ValueError, match=r"a text|integer|true or false"):
        component_of(value, kind)


@pytest.mark.parametrize(
    ("component", "kind"),
    [
        ("%2e", TEXT),  # lower case
        ("%41", TEXT),  # an "A" that need not be encoded
        ("%zz", TEXT),
        ("%FF", TEXT),  # not UTF-8
        ("a%", TEXT),
        ("~", TEXT),
        ("*", TEXT),
        ("05", INTEGER),
        ("-0", INTEGER),
        ("+5", INTEGER),
        ("\u0665", INTEGER),
        ("1" * 200, INTEGER),
        ("True", BOOLEAN),
    ],
)
def test_a_value_has_one_component_only(component, kind):
    with pytest.raises(ValueError):  # noqa: PT011 (several encodings have their own words)
        value_of(component, kind)
    table = tables(
        source={
            "properties": {
                "id": {"type": kind},
                "group": {"type": "string"},
                "n": {"type": "number"},
            }
        }
    ).tables["a"]
    with pytest.raises(InvalidUri, match="no row of the table a"):
        table.key_of(f"a.{component}")


def test_a_key_that_is_missing_or_null_is_refused_with_its_path():
    table = tables().tables["a"]
    for document in ({}, {"id": None}):
        with pytest.raises(InvalidRow, match="id is missing") as refused:
            table.row_topic(document)
        assert (refused.value.path, refused.value.rule) == ("$.id", "primary_key")


def test_a_key_longer_than_a_topic_may_be_is_refused():
    table = tables().tables["a"]
    with pytest.raises(InvalidRow, match="longer than 65535 bytes"):
        table.row_topic({"id": "." * 30_000})
    assert len(table.row_topic({"id": "." * 20_000})) == 60_002
    # The same of the group that the row contributes to.
    with pytest.raises(InvalidRow, match="longer"):
        table.check({"id": "x", "group": "." * 30_000})
