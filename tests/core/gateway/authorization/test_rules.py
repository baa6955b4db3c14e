"""Which rule decides about a topic, and what is certain about a pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox_shard.config import Role, Rule
from fox_shard.errors import NotAuthorized
from fox_shard.gateway.authorization import permissions as kept
from fox_shard.gateway.authorization.permissions import Permissions
from fox_shard.gateway.authorization.rules import (
    CALL,
    DISCLOSED,
    PUBLISH,
    REGISTER,
    SUBSCRIBE,
    Extent,
    RuleSet,
)
from fox_shard.topics.pattern import Pattern

ALL = ("publish", "subscribe", "call", "register")


def rule(uri, match="exact", *allow, **more):
    return Rule(uri=uri, match=match, allow=allow, **more)


def subscribing(*rules):
    """Return rules, of which those with a "-" before their URI forbid to subscribe."""
    made = []
    for uri, match in rules:
        allow = () if uri.startswith("-") else ("subscribe",)
        made.append(rule(uri.removeprefix("-"), match, *allow))
    return RuleSet(made)


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("com.example.secret", 0),  # exact
        ("com.example.open.a", PUBLISH),  # the longest prefix
        ("com.example.other", SUBSCRIBE),  # a shorter prefix
        ("com.x.secret", CALL),  # a wildcard
        ("org", REGISTER),  # the empty prefix
        ("wamp.session.kill", 0),  # reserved: only a rule that names it
        ("$SYS.broker", 0),
    ],
)
def test_the_most_specific_rule_decides_alone(topic, allowed):
    rules = RuleSet(
        [
            rule("com..secret", "wildcard", "call"),
            rule("", "prefix", "register"),
            rule("com.example.", "prefix", "subscribe"),
            rule("com.example.open.", "prefix", "publish"),
            rule("com.example.secret"),
        ]
    )
    # A prefix comes before a wildcard, as it does for registrations.
    assert rules.decide(topic) == (REGISTER if topic == "com.x.secret" else allowed)


def test_no_rule_allows_nothing():
    assert RuleSet([]).decide("a") == 0
    assert RuleSet([rule("a.b", "exact", *ALL)]).decide("a.c") == 0
    assert RuleSet([]).extent(Pattern.wamp("", "prefix"), SUBSCRIBE) is Extent.NOTHING


def test_a_rule_in_the_notation_of_mqtt_is_for_the_same_topics():
    rules = RuleSet([rule("sensors/+/v1.2", "mqtt", "publish", disclose=True)])
    assert rules.decide("sensors.kitchen.v1/2") == PUBLISH | DISCLOSED


NOTHING, PART, EVERYTHING = Extent.NOTHING, Extent.PART, Extent.EVERYTHING


@pytest.mark.parametrize(
    ("rules", "pattern", "extent"),
    [
        ([("a.", "prefix")], ("a.b", "exact"), EVERYTHING),
        ([("a.", "prefix")], ("a.b.", "prefix"), EVERYTHING),
        ([("a.", "prefix")], ("a.b.#", "exact"), EVERYTHING),
        ([("a.", "prefix")], ("", "prefix"), PART),
        ([("a.", "prefix")], ("b.#", "exact"), NOTHING),
        ([("a.", "prefix"), ("-a.secret", "exact")], ("a.#", "exact"), PART),
        ([("a.", "prefix"), ("-a.secret", "exact")], ("a.open.#", "exact"), EVERYTHING),
        ([("a.", "prefix"), ("-a.s.", "prefix"), ("a.s.x", "exact")], ("a.s.#", "exact"), PART),
        # A rule that is less specific changes nothing.
        ([("-", "prefix"), ("a.", "prefix")], ("a.b.#", "exact"), EVERYTHING),
        # All that is reserved needs a rule that names it.
        ([("", "prefix")], ("wamp.#", "exact"), NOTHING),
        ([("", "prefix")], ("$SYS.#", "exact"), NOTHING),
        ([("", "prefix"), ("-wamp.", "prefix")], ("#", "exact"), EVERYTHING),
    ],
)
def test_how_much_of_a_pattern_is_allowed(rules, pattern, extent):
    assert subscribing(*rules).extent(Pattern.wamp(*pattern), SUBSCRIBE) is extent


uris = st.lists(st.sampled_from(["a", "b", "", "#", "wamp"]), min_size=1, max_size=3).map(".".join)
patterns = st.tuples(uris, st.sampled_from(["exact", "prefix", "wildcard"]))


def parsed(pattern):
    try:
        return Pattern.wamp(*pattern)
    except Exception:  # noqa: BLE001 - not a pattern
        return None


good = patterns.filter(parsed)
topics = st.lists(st.sampled_from(["a", "b", "ab", "wamp"]), min_size=1, max_size=3).map(".".join)


@given(st.lists(st.tuples(good, st.booleans()), max_size=5), good, topics)
def test_nothing_and_everything_are_certain(rules, pattern, topic):
    different = {parsed(one): allowed for one, allowed in rules}
    made = {parsed(one): one for one, _ in rules}
    compiled = RuleSet(
        [rule(*made[one], *(("subscribe",) if yes else ())) for one, yes in different.items()]
    )
    asked = parsed(pattern)
    extent = compiled.extent(asked, SUBSCRIBE)
    # The slow and obvious way.
    matching = [one for one in different if one.matches(topic)]
    best = max(matching, key=lambda one: one.specificity, default=None)
    allowed = best is not None and different[best]
    assert bool(compiled.decide(topic) & SUBSCRIBE) is allowed
    if asked.matches(topic):
        assert extent is not NOTHING or not allowed
        assert extent is not EVERYTHING or allowed


def test_what_is_kept_is_bounded_in_number_and_in_characters():
    permissions = Permissions(Role(name="r", rule=(rule("a.", "prefix", *ALL),)))
    for number in range(kept.MOST_KEPT + 10):
        assert permissions.may(PUBLISH, f"a.{number}")
    assert len(permissions.kept) <= kept.MOST_KEPT
    for number in range(200):
        assert permissions.may(PUBLISH, f"a.{'x' * 60_000}{number}")
    assert sum(map(len, permissions.kept)) <= kept.KEPT_CHARACTERS
    permissions.may(PUBLISH, "a." + "x" * kept.KEPT_CHARACTERS)
    for number in range(200):
        permissions.extent(SUBSCRIBE, Pattern.wamp(f"a.{'x' * 60_000}.{number}.#"))
    assert len(permissions._extents) <= kept.KEPT_CHARACTERS // 60_000


def test_a_rule_without_cache_is_looked_up_each_time():
    permissions = Permissions(Role(name="r", rule=(rule("a", "exact", *ALL, cache=False),)))
    assert permissions.may(PUBLISH, "a")
    assert not permissions.kept


def test_a_refusal_says_who_may_not_do_what():
    permissions = Permissions(Role(name="guest", rule=(rule("a.b.", "prefix", "register"),)))
    with pytest.raises(NotAuthorized, match=r"the role 'guest' may not publish to 'a\.b'"):
        permissions.check(PUBLISH, "a.b")
    with pytest.raises(NotAuthorized, match="may not register all of 'a'"):
        permissions.check_all(REGISTER, Pattern.wamp("a", "prefix"))
    permissions.check_all(REGISTER, Pattern.wamp("a.b.c", "prefix"))
