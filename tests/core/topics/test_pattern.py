"""Patterns: the rules of MQTT and WAMP, the text form, and which pattern is the most specific."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.errors import InvalidArgument, InvalidUri, ProtocolViolation
from fox_shard.topics.pattern import EXACT, Pattern, best

PREFIX_SPEC = "WAMP #prefix-matching"
WILDCARD_SPEC = "WAMP #wildcard-matching"


@pytest.mark.parametrize(
    ("filter_", "topic", "covered", "source"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True, "MQTT 4.7.1.2"),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True, "MQTT 4.7.1.2"),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True, "MQTT 4.7.1.2"),
        ("sport/#", "sport", True, "MQTT 4.7.1.2"),
        ("sport/#", "sports", False, "MQTT 4.7.1.2"),
        ("#", "any/thing", True, "MQTT 4.7.1.2"),
        ("#", "/", True, "MQTT 4.7.1.2"),
        ("sport/tennis/+", "sport/tennis/player1", True, "MQTT 4.7.1.3"),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False, "MQTT 4.7.1.3"),
        ("sport/+", "sport", False, "MQTT 4.7.1.3"),
        ("sport/+", "sport/", True, "MQTT 4.7.1.3"),
        ("+/+", "/finance", True, "MQTT 4.7.1.3"),
        ("/+", "/finance", True, "MQTT 4.7.1.3"),
        ("+", "/finance", False, "MQTT 4.7.1.3"),
        ("+/tennis/#", "sport/tennis", True, "MQTT 4.7.1.3"),
        ("+/#", "a", True, "MQTT 4.7.1.3"),
        ("#", "$SYS/x", False, "MQTT-4.7.2-1"),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False, "MQTT-4.7.2-1"),
        ("$SYS/#", "$SYS/monitor", True, "MQTT 4.7.2"),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True, "MQTT 4.7.2"),
        ("#", "wamp/session/on_join", False, "MQTT-4.7.2-1, ours"),
        ("+/x", "fox/x", False, "MQTT-4.7.2-1, ours"),
        ("wamp/#", "wamp/session/on_join", True, "MQTT-4.7.2-1, ours"),
        ("+/x", "foxes/x", True, "MQTT-4.7.2-1, ours"),
        ("ACCOUNTS", "Accounts", False, "MQTT 4.7.3"),
        ("a/b", "/a/b", False, "MQTT 4.7.3"),
        ("a.b/+", "a.b/c", True, "a dot is an ordinary character in MQTT"),
        ("a.b/+", "a/b/c", False, "a dot is an ordinary character in MQTT"),
        ("a/*", "a/b", False, "'*' is a marker in WAMP only"),
        ("a/*", "a/*", True, "'*' is a marker in WAMP only"),
        ("a/*/+", "a/*/c", True, "'*' is a marker in WAMP only"),
        ("a/*/+", "a/b/c", False, "'*' is a marker in WAMP only"),
        ("a//+", "a//c", True, "an empty component is a marker under wildcard only"),
        ("a//+", "a/b/c", False, "an empty component is a marker under wildcard only"),
    ],
)
def test_an_mqtt_filter_covers_what_the_standard_says(filter_, topic, covered, source):
    assert Pattern.mqtt(filter_).matches(topic.translate(str.maketrans("/.", "./"))) is covered


@pytest.mark.parametrize(
    ("filter_", "source"),
    [
        ("", "MQTT-4.7.3-1"),
        ("a\0", "MQTT-4.7.3-2"),
        ("a" * 65536, "MQTT-4.7.3-3"),
        ("sport/tennis#", "MQTT-4.7.1-2"),
        ("sport/tennis/#/ranking", "MQTT-4.7.1-2"),
        ("##", "MQTT-4.7.1-2"),
        ("#/", "MQTT-4.7.1-2"),
        ("sport+", "MQTT-4.7.1-3"),
        ("a/+b/c", "MQTT-4.7.1-3"),
        ("++", "MQTT-4.7.1-3"),
        ("+/a+", "MQTT-4.7.1-3"),
        ("+#", "MQTT-4.7.1-2"),
    ],
)
def test_a_malformed_mqtt_filter_ends_the_connection(filter_, source):
    with pytest.raises(ProtocolViolation) as caught:
        Pattern.mqtt(filter_)
    assert caught.value.reason == 0x8F


@pytest.mark.parametrize(
    ("match", "uri", "topic", "covered", "source"),
    [
        ("exact", "com.a", "com.a", True, "WAMP #exact-matching"),
        ("exact", "com.a", "com.a.b", False, "WAMP #exact-matching"),
        ("exact", "wamp.session.on_join", "wamp.session.on_join", True, "WAMP #session-metapi"),
        ("exact", "com.*.c", "com.b.c", True, "fox-wamp's notation"),
        ("exact", "com.*.c", "com.b.b.c", False, "fox-wamp's notation"),
        ("exact", "com.#", "com", True, "fox-wamp's notation"),
        ("exact", "com.#", "com.b.c", True, "fox-wamp's notation"),
        ("exact", "*.#", "a", True, "fox-wamp's notation"),
        ("exact", "#", "a.b", True, "fox-wamp's notation"),
        ("exact", "#", "wamp.a", False, "fox-wamp's notation"),
        ("exact", "*.a", "$SYS.a", False, "fox-wamp's notation"),
        ("exact", "a*b.c", "a*b.c", True, "only a whole component is a marker"),
        ("exact", "a*b.c", "axb.c", False, "only a whole component is a marker"),
        ("exact", "a.+", "a.b", False, "'+' is a marker in MQTT only"),
        ("exact", "*.+", "a.+", True, "'+' is a marker in MQTT only"),
        ("exact", "*.+", "a.b", False, "'+' is a marker in MQTT only"),
        ("prefix", "com.myapp.topic.emergency", "com.myapp.topic.emergency.11", True, PREFIX_SPEC),
        ("prefix", "com.myapp.topic.emergency", "com.myapp.topic.emergency-low", True, PREFIX_SPEC),
        ("prefix", "com.myapp.topic.emergency", "com.myapp.topic.emergency", True, PREFIX_SPEC),
        ("prefix", "com.myapp.topic.emergency", "com.myapp.topic.emerge", False, PREFIX_SPEC),
        ("prefix", "com.app", "com.application.x", True, PREFIX_SPEC),
        ("prefix", "com.", "com.a", True, "a trailing dot is an ordinary character"),
        ("prefix", "com.", "com", False, "a trailing dot is an ordinary character"),
        ("prefix", "com.*", "com.a", False, "every character is literal"),
        ("prefix", "com.*", "com.*a", True, "every character is literal"),
        ("prefix", "", "a.b", True, "an empty prefix"),
        ("prefix", "", "wamp.a", False, "an empty prefix"),
        ("prefix", "", "$SYS.a", False, "an empty prefix"),
        ("prefix", "wam", "wamp.a", False, "a prefix short of the reserved component"),
        ("prefix", "wam", "wampum.a", True, "a prefix short of the reserved component"),
        ("prefix", "wamp", "wamp.a", True, "a prefix that holds the reserved component"),
        ("prefix", "wamp", "wampum", True, "a prefix that holds the reserved component"),
        ("prefix", "wamp.s", "wamp.session.on_join", True, "a prefix beyond the reserved one"),
        ("prefix", "$S", "$SYS.a", True, "'$' alone makes it reserved"),
        ("wildcard", "com.myapp..userevent", "com.myapp.foo.userevent", True, WILDCARD_SPEC),
        ("wildcard", "com.myapp..userevent", "com.myapp.foo.userevent.bar", False, WILDCARD_SPEC),
        ("wildcard", "com.myapp..userevent", "com.myapp.foo.user", False, WILDCARD_SPEC),
        ("wildcard", "com.myapp..userevent", "com.myapp2.foo.userevent", False, WILDCARD_SPEC),
        ("wildcard", ".a", "x.a", True, WILDCARD_SPEC),
        ("wildcard", ".a", "fox.a", False, "a leading wildcard"),
        ("wildcard", "a.", "a.x", True, WILDCARD_SPEC),
        ("wildcard", "", "a", True, WILDCARD_SPEC),
        ("wildcard", "", "a.b", False, WILDCARD_SPEC),
        ("wildcard", "a.*.b", "a.x.b", True, "'*' is a marker in WAMP"),
        ("wildcard", "a..#", "a.x.y.z", True, "'#' is a marker in WAMP"),
        ("wildcard", "a.b", "a.b", True, WILDCARD_SPEC),
    ],
)
def test_a_wamp_pattern_covers_what_the_specification_says(match, uri, topic, covered, source):
    assert Pattern.wamp(uri, match).matches(topic) is covered


@pytest.mark.parametrize(
    ("match", "uri"),
    [
        *(("exact", uri) for uri in ["", "a..b", "a.", "a b", "*..a", "* .a", "a.\0"]),
        *(("exact", uri) for uri in ["#.a", "a#", "a.#.b", "#.#", "*.a#", "*.b c"]),
        *(("wildcard", uri) for uri in ["#.a", "a#.", "..#.", "a. ", "a\n."]),
        *(("prefix", uri) for uri in ["a..", ".", ".a", "a..b", "a b", "a.#", "#"]),
    ],
)
def test_an_invalid_wamp_pattern_is_refused(match, uri):
    with pytest.raises(InvalidUri):
        Pattern.wamp(uri, match)


@pytest.mark.parametrize("match", ["", "EXACT", "regex"])
def test_the_error_names_an_unknown_match_policy(match):
    with pytest.raises(InvalidArgument, match=f"match is '{match}'"):
        Pattern.wamp("a.b", match)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Pattern.mqtt("a/+/#"), Pattern.wamp("a.*.#")),
        (Pattern.mqtt("a/+"), Pattern.wamp("a.", "wildcard")),
        (Pattern.mqtt("a/b"), Pattern.wamp("a.b")),
    ],
)
def test_two_notations_of_one_pattern_are_equal(one, other):
    assert one == other
    assert hash(one) == hash(other)
    assert one.text == other.text


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (Pattern.wamp("a.b"), "=a.b"),
        (Pattern.wamp("a.b", "prefix"), "^a.b"),
        (Pattern.wamp("", "prefix"), "^"),
        (Pattern.wamp("a.b", "wildcard"), "*a.b"),
        (Pattern.mqtt("#"), "*#"),
        (Pattern.mqtt("a/+/c/#"), "*a.+.c.#"),
        (Pattern.mqtt("a//+"), "*a..+"),
        (Pattern.wamp("*.+.+x.=.a+"), "*+.=+.=+x.==.a+"),
    ],
)
def test_the_text_of_a_pattern_stays_the_same_in_all_versions(pattern, text):
    assert pattern.text == text
    assert Pattern.parse(text) == pattern


@given(st.from_type(Pattern))
def test_a_pattern_is_restored_from_its_text(pattern):
    assert Pattern.parse(pattern.text) == pattern


@given(st.from_type(Pattern), st.from_type(Pattern))
def test_different_patterns_have_different_texts(one, other):
    assert (one.text == other.text) == (one == other)


@pytest.mark.parametrize("text", ["", "a.b", "*a..b", "*=a.+", "*a.#.b", "*a.+x", "*"])
def test_parse_refuses_a_text_that_no_pattern_has(text):
    with pytest.raises(ValueError, match="pattern"):
        Pattern.parse(text)


def test_a_wildcard_pattern_without_wildcards_is_not_the_exact_one():
    """WAMP #pattern-based-subscriptions: another match policy is another subscription."""
    one, other = Pattern.wamp("a.b"), Pattern.wamp("a.b", "wildcard")
    assert one != other
    assert other.matches("a.b")
    assert not other.matches("a.b.c")
    assert one.specificity > other.specificity
    assert Pattern.wamp("wamp.x", "wildcard").matches("wamp.x")


def test_only_an_exact_pattern_has_a_topic():
    assert Pattern.wamp("a.b").topic == "a.b"
    assert Pattern.wamp("a.b").is_exact
    assert not Pattern.wamp("a.b", "prefix").is_exact
    with pytest.raises(ValueError, match="not one topic"):
        Pattern.wamp("a.*").topic  # noqa: B018 (the property raises)


SPEC_REGISTRATIONS = [
    Pattern.wamp("a1.b2.c3.d4.e55"),
    Pattern.wamp("a1.b2.c3", "prefix"),
    Pattern.wamp("a1.b2.c3.d4", "prefix"),
    Pattern.wamp("a1.b2..d4.e5", "wildcard"),
    Pattern.wamp("a1.b2.c9..e5", "wildcard"),
    Pattern.wamp("a1.b2..d4.e5..g7", "wildcard"),
    Pattern.wamp("a1.b2..d4..f6.g7", "wildcard"),
]


@pytest.mark.parametrize(
    ("procedure", "chosen"),
    [
        ("a1.b2.c3.d4.e55", 1),
        ("a1.b2.c3.d98.e74", 2),
        ("a1.b2.c3.d4.e325", 3),
        ("a1.b2.c55.d4.e5", 4),
        # The specification's example has c33 here, which prefix 2 matches, too, as prefixes count
        # in characters (WAMP #prefix-matching); so the wildcard of 5 is c9 here.
        ("a1.b2.c9.d4.e5", 5),
        ("a1.b2.c88.d4.e5.f6.g7", 6),
        ("a2.b2.c2.d2.e2", None),
    ],
)
@pytest.mark.cites("advanced.rpc_pattern_based_registration.2")
def test_a_call_goes_to_the_best_registration(procedure, chosen):
    """WAMP #calls-matching-multiple-registrations, with the numbers of its table."""
    expected = None if chosen is None else SPEC_REGISTRATIONS[chosen - 1]
    assert best(SPEC_REGISTRATIONS, procedure) == expected
    assert best(reversed(SPEC_REGISTRATIONS), procedure) == expected


@pytest.mark.parametrize(
    ("better", "worse"), [("a.*", "a.#"), ("a.*", "a.*.#"), ("a.*.#", "a.#"), ("a.#", "#")]
)
def test_a_bounded_wildcard_is_more_specific_than_an_open_one(better, worse):
    assert Pattern.wamp(better).specificity > Pattern.wamp(worse).specificity


@given(st.from_type(Pattern), st.from_type(Pattern), st.data())
def test_no_two_patterns_that_match_one_topic_are_equally_specific(one, other, data):
    topics = [p.literal if p.kind == EXACT else "a.b" for p in (one, other)]
    topic = data.draw(st.sampled_from([*topics, "a", "a.a", "a.b.a"]))
    if one != other and one.matches(topic) and other.matches(topic):
        assert one.specificity != other.specificity


@pytest.mark.parametrize(
    ("uri", "match", "shown"),
    [
        ("a.b", "exact", ("a.b", "exact")),
        ("a.", "prefix", ("a.", "prefix")),
        ("", "prefix", ("", "prefix")),
        ("a..c", "wildcard", ("a..c", "wildcard")),
        ("a.b", "wildcard", ("a.b", "wildcard")),
        ("a.*.#", "exact", ("a..#", "wildcard")),
        ("#", "exact", ("#", "wildcard")),
        ("", "wildcard", ("", "wildcard")),
    ],
)
def test_a_pattern_is_shown_as_what_makes_it(uri, match, shown):
    pattern = Pattern.wamp(uri, match)
    assert pattern.shown == shown
    assert Pattern.wamp(*shown) == pattern
