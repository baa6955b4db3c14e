"""Values of keys, read from the command line and printed."""

import pytest

from fox_shard.client import Event
from fox_shard.remote.columns import print_columns
from fox_shard.remote.values import as_json, as_name, as_plain, from_text, value_of, why_no_json


@pytest.mark.parametrize(
    ("args", "kwargs", "value"),
    [
        ([], {}, []),
        ([21.5], {}, 21.5),
        ([[1, 2]], {}, [1, 2]),
        ([1, 2], {}, [1, 2]),
        ([], {"a": 1}, {"a": 1}),
        ([1], {"a": 1}, {"args": [1], "kwargs": {"a": 1}}),
    ],
)
def test_a_value_is_shown_as_mqtt_clients_get_it(args, kwargs, value):
    assert value_of(Event("a", 1, args, kwargs, "")) == value


@pytest.mark.parametrize(
    ("value", "plain", "json"),
    [
        ("half price", b"half price\n", '"half price"'),
        (21.5, b"21.5\n", "21.5"),
        ({"ü": None}, '{"ü":null}\n'.encode(), '{"ü":null}'),
        ("\0/wA=", b"\xff\x00", '"\\u0000/wA="'),
        ("\0no base64", b"\0no base64\n", '"\\u0000no base64"'),
        ("two\nlines", b"two\nlines\n", '"two\\nlines"'),
    ],
)
def test_text_and_bytes_are_printed_as_they_are(value, plain, json):
    assert (as_plain(value), as_json(value)) == (plain, json)
    assert from_text(json) == value


@pytest.mark.parametrize("text", ["half price", "{", "NaN", "01", "", "\udcff"])
def test_text_that_is_not_json_stays_text(text):
    assert from_text(text) == text


def test_a_topic_stays_on_its_line():
    assert as_name("grüße.aus") == "grüße.aus"
    assert as_name("two\nlines") == '"two\\nlines"'


def test_json_has_no_commands_for_a_terminal():
    value = "a\x1b[31m\x9b2J\u202eb\u2028\U000e0001ü"
    text = as_json({value: [value]})
    assert text.isprintable()
    assert from_text(text) == {value: [value]}
    assert as_name("a\x9b2Jb") == '"a\\u009b2Jb"'


def test_columns_are_lines_whatever_stands_in_them(capsys):
    print_columns(("A", "B"), [("x\x1b[2J\n", "y")])
    assert capsys.readouterr().out == "A           B\nx\\x1b[2J\\n  y\n"


@pytest.mark.parametrize(
    ("text", "why"), [("[1]", ""), ("21", ""), ("{", "truncated"), ('{"a":1]', "expected")]
)
def test_it_is_said_why_a_text_is_no_json(text, why):
    said = why_no_json(text)
    assert (why in said) if why else (said == "")
