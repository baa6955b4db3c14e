"""Users in retained keys: what a gateway asks the shards, and whom it lets in."""

import json

import msgspec
import pytest
from gateway_harness import REALM, GatewayHarness
from user_samples import bot, mary, peter

from fox_shard.backplane.frames import (
    CaughtUp,
    Event,
    More,
    Paused,
    Publish,
    Retained,
    SelectedEvent,
    Subscribe,
    Subscribed,
)
from fox_shard.config import Auth, Realm, Role, Rule
from fox_shard.documents import payloads
from fox_shard.gateway.auth import login
from fox_shard.gateway.auth.awaited_users import AwaitingAttempt
from fox_shard.gateway.auth.claims import ANONYMOUS, Authenticated, Claim
from fox_shard.gateway.auth.static import StaticAttempt
from fox_shard.gateway.auth.user_keys import MOST_LOGGED
from fox_shard.gateway.authorization.roles import Roles
from fox_shard.gateway.authorization.rules import UNDECIDED
from fox_shard.topics.pattern import Pattern
from fox_shard.users.user import Users

PATTERN = "com.example.users.*"
ROLES = (Role(name="dev"), Role(name="anonymous"))
VERIFIER = "$argon2id$v=19$m={},t=1,p=1$" + "A" * 22 + "$" + "A" * 43
DOCUMENT = {"role": "dev", "password": VERIFIER.format(8)}


def harness(**more):
    return GatewayHarness(user_keys=PATTERN, roles=ROLES, **more)


def of_key(name, value=DOCUMENT, publication=1):
    """Return the event of a key. value: None: it has none."""
    args = b"" if value is None else json.dumps([value]).encode()
    topic = "com.example.users." + name
    return Event(publication, Publish(REALM, topic, 99, 1, 1, 0, payloads.JSON, args))


def asked(one, shard):
    """Return the token and the selector of the gateway's own subscription at a shard."""
    (frame,) = one.got(f"shard-{shard}", Subscribe)
    assert (frame.realm, Pattern.parse(frame.pattern)) == (REALM, Pattern.wamp(PATTERN))
    assert frame.replay
    assert frame.selector.state
    return frame.token, frame.selector.id


def read(one, *names):
    """Let both shards replay their keys: all in shard 0. Returns the selector's id."""
    for shard, keys in ((0, names), (1, ())):
        token, selector = asked(one, shard)
        shown = [Retained(token, of_key(name)) for name in keys]
        one.say(f"shard-{shard}", Subscribed(token), *shown, CaughtUp(token))
    return selector


def change(one, selector, name, value, *, removed="", publication=5, shard=0):
    event = of_key(name, value, publication)
    one.say(f"shard-{shard}", SelectedEvent(event, [selector], removed, known=True, state=True))


def is_known(one, name, realm=REALM):
    users = one.gateway.authentication.users_of(realm)
    return users is not None and users.find(realm, name) is not None


def begin(one, name="ann", *methods, **more):
    methods = methods or ("ticket",)
    claim = Claim(realm=REALM, methods=methods, name=name, address="192.0.2.1", **more)
    return login.begin(one.gateway.authentication, claim)


def test_nobody_is_let_in_before_all_shards_have_shown_their_keys():
    one = harness()
    (first, _), (second, _) = asked(one, 0), asked(one, 1)
    one.say("shard-0", Subscribed(first), Retained(first, of_key("ann")), CaughtUp(first))
    assert isinstance(begin(one), AwaitingAttempt)
    one.say("shard-1", Subscribed(second), CaughtUp(second))
    assert isinstance(begin(one), StaticAttempt)
    assert is_known(one, "ann")


def test_a_replay_of_several_pages_is_asked_for_to_its_end():
    one = harness()
    token, _ = asked(one, 0)
    one.say("shard-0", Subscribed(token), Retained(token, of_key("ann")), Paused(token))
    assert one.got("shard-0", More) == [More(token)]
    one.say("shard-0", Retained(token, of_key("bob")), CaughtUp(token))
    assert is_known(one, "ann")
    assert is_known(one, "bob")


def test_changes_take_effect_at_once():
    one = harness()
    selector = read(one)
    change(one, selector, "ann", DOCUMENT)
    assert is_known(one, "ann")
    change(one, selector, "ann", DOCUMENT, removed="deleted")
    assert not is_known(one, "ann")


def test_a_change_for_others_is_none_of_the_gateways_own():
    one = harness()
    selector = read(one)
    change(one, selector - 1, "ann", DOCUMENT)
    assert not is_known(one, "ann")


@pytest.mark.parametrize(
    ("value", "removed", "ends"),
    [
        (DOCUMENT, "", False),
        ({**DOCUMENT, "pubkeys": ["ab" * 32]}, "", False),
        ({**DOCUMENT, "role": "ops"}, "", True),
        ({"role": 5}, "", True),
        (DOCUMENT, "expired", True),
    ],
)
def test_sessions_end_if_their_user_is_gone_or_has_another_role(value, removed, ends):
    one = harness()
    selector = read(one, "ann", "bob")
    mine = one.session(id_=1, authid="ann", authrole="dev", authmethod="ticket")
    other = one.session(id_=2, authid="bob", authrole="dev", authmethod="ticket")
    change(one, selector, "ann", value, removed=removed)
    while one.gateway.turns.busy:
        one.gateway.turns.begin(one.now)
        one.gateway.turns.do_chores()
    one.turns()
    ended = [("end", "fox.close.user_removed")]
    assert [told for told in mine.take() if told[0] == "end"] == (ended if ends else [])
    assert [told for told in other.take() if told[0] == "end"] == []


def test_what_a_returned_shard_does_not_show_any_more_is_gone():
    one = harness()
    read(one, "ann", "bob")
    one.kill("shard-0")
    one.turns()
    assert isinstance(begin(one), AwaitingAttempt)
    one.join("shard-0", incarnation=2)
    one.pass_time(1)
    token, selector = asked(one, 0)
    # One that is changed before its turn has been shown.
    change(one, selector, "cid", DOCUMENT)
    one.say("shard-0", Subscribed(token), Retained(token, of_key("bob")), CaughtUp(token))
    assert [is_known(one, name) for name in ("ann", "bob", "cid")] == [False, True, True]
    assert isinstance(begin(one), StaticAttempt)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        {},
        {"role": 5},
        {"role": "fox.worker"},
        {"role": "dev", "name": "ann"},
        {"role": "dev", "realm": REALM},
        {"role": "dev", "colour": "red"},
        {"role": "dev", "password": "s3cret"},
        {"role": "dev", "password": VERIFIER.format(1 << 20)},
        {"role": "dev", "pubkeys": ["AB"]},
        {"role": "dev", "padding": "x" * 20_000},
    ],
)
def test_invalid_documents_make_no_users_and_are_logged_once(value):
    one = harness()
    selector = read(one, "ann")
    change(one, selector, "ann", value)
    change(one, selector, "ann", value, publication=6)
    assert not is_known(one, "ann")
    ((event, fields),) = one.gateway.notices
    assert (event, fields["topic"]) == ("user_key_refused", "com.example.users.ann")
    assert "s3cret" not in fields["reason"]
    assert one.gateway.limit_counts.totals() == {"invalid_key_users": 2}


def test_the_log_does_not_grow_with_the_number_of_invalid_documents():
    one = harness()
    selector = read(one)
    for number in range(MOST_LOGGED + 10):
        change(one, selector, f"n{number}", {})
    assert len(one.gateway.notices) == MOST_LOGGED


def test_names_of_the_servers_own_are_refused():
    one = harness()
    selector = read(one)
    change(one, selector, "fox/worker", DOCUMENT)
    assert not is_known(one, "fox.worker")


def test_a_name_with_a_dot_has_a_slash_in_its_topic():
    one = harness()
    read(one, "mary@example/com")
    assert is_known(one, "mary@example.com")


def test_users_of_the_file_go_first():
    file = Users([peter(), mary()])
    one = harness(users=file)
    selector = read(one)
    change(one, selector, "peter", {"role": "admin", "pubkeys": ["ab" * 32]})
    found = one.gateway.authentication.users_of(REALM)
    assert found.find(REALM, "peter") is peter()
    # Nobody becomes a user of the file with a key of another.
    assert found.find_by_key(REALM, "ab" * 32) is None
    assert found.all == file.all


def test_a_public_key_of_two_users_is_nobodys():
    one = harness(users=Users([bot("cd" * 32)]))
    selector = read(one)
    change(one, selector, "ann", {"role": "dev", "pubkeys": ["ab" * 32, "cd" * 32]})
    found = one.gateway.authentication.users_of(REALM)
    assert found.find_by_key(REALM, "ab" * 32).name == "ann"
    assert found.find_by_key(REALM, "cd" * 32).name == "bot"
    change(one, selector, "bob", {"role": "dev", "pubkeys": ["ab" * 32]})
    found = one.gateway.authentication.users_of(REALM)
    assert found.find_by_key(REALM, "ab" * 32) is None


def test_their_number_and_bytes_are_limited():
    one = harness(auth=Auth(max_key_users=2))
    selector = read(one, "ann", "bob", "cid")
    assert [is_known(one, name) for name in ("ann", "bob", "cid")] == [True, True, False]
    change(one, selector, "bob", DOCUMENT, removed="deleted")
    change(one, selector, "cid", DOCUMENT, publication=6)
    assert is_known(one, "cid")
    assert one.gateway.limit_counts.totals() == {"max_key_users": 1}
    one = harness(auth=Auth(key_user_bytes=4096))
    read(one, *(f"n{number}" for number in range(100)))
    assert 5 < sum(is_known(one, f"n{number}") for number in range(100)) < 20


def test_all_verifiers_of_the_file_are_possible_in_a_document():
    document = msgspec.json.decode(msgspec.json.encode(peter()))
    del document["name"], document["realm"]
    one = harness()
    selector = read(one)
    change(one, selector, "peter", document)
    users = one.gateway.authentication.users_of(REALM)
    assert users.find(REALM, "peter") == peter()
    assert users.has_wampcra(REALM)
    for method in ("ticket", "wampcra"):
        assert begin(one, "peter", method).method == method
    extra = {"nonce": "egVDf3DMJh0="}
    assert begin(one, "peter", "scram", extra=extra).method == "scram"


def test_without_a_file_only_realms_with_such_keys_ask_who_clients_are():
    one = harness()
    read(one)
    authentication = one.gateway.authentication
    elsewhere = Claim(realm="other", methods=(ANONYMOUS,), name=None, address="192.0.2.1")
    assert isinstance(login.begin(authentication, elsewhere), Authenticated)
    assert isinstance(begin(one), StaticAttempt)
    assert authentication.lets_in("other", ANONYMOUS, ANONYMOUS, ANONYMOUS)
    assert not authentication.lets_in(REALM, ANONYMOUS, ANONYMOUS, ANONYMOUS)


def salts_of_nobody(one):
    return [
        begin(one, name, "scram", extra={"nonce": "egVDf3DMJh0="}).extra["salt"]
        for name in ("nobody", "no one")
    ]


def test_the_salts_of_nobody_are_secret_and_do_not_change_with_the_users():
    """Those of users do not, so a salt that changes would be nobody's."""
    one, other, foreign = harness(), harness(), harness()
    for h in (one, other, foreign):
        h.gateway.authentication.secret = b"foreign" if h is foreign else b"secret"
    selector = read(one, "ann", "bob")
    read(other, "ann")
    read(foreign, "ann")
    before = salts_of_nobody(one)
    assert before == salts_of_nobody(other) != salts_of_nobody(foreign)
    change(one, selector, "cid", DOCUMENT)
    change(one, selector, "ann", DOCUMENT, removed="deleted")
    assert salts_of_nobody(one) == before


def test_nobody_looks_like_a_user_that_there_is_now():
    signer = {"role": "dev", "wampcra": {"key": "x" * 44, "salt": "ab" * 16}}
    one = harness()
    selector = read(one)
    change(one, selector, "plain", DOCUMENT)
    change(one, selector, "signer", signer)
    names = [f"nobody{number}" for number in range(30)]
    offered = ("wampcra", "ticket")
    assert {begin(one, name, *offered).method for name in names} == {*offered}
    change(one, selector, "plain", DOCUMENT, removed="deleted")
    assert {begin(one, name, *offered).method for name in names} == {"wampcra"}


@pytest.mark.parametrize(
    ("rule", "sees"),
    [
        (Rule(uri="", match="prefix", allow=("subscribe",)), False),
        (Rule(uri="com.", match="prefix", allow=("subscribe",)), False),
        (Rule(uri="com.example.users.*", allow=("subscribe",)), False),
        (Rule(uri="com/example/#", match="mqtt", allow=("subscribe",)), False),
        (Rule(uri="com.example.users.", match="prefix", allow=("subscribe",)), True),
        (Rule(uri="com.example.users.ann", allow=("subscribe",)), True),
    ],
)
def test_only_a_rule_that_names_the_keys_shows_them(rule, sees):
    realm = Realm(name=REALM, users=PATTERN, role=(Role(name="dev", rule=(rule,)),))
    permissions = Roles([realm]).permissions(REALM, "x", "dev")
    assert permissions.may(2, "com.example.users.ann") is sees


def test_an_authorizer_is_asked_also_where_users_are_in_keys():
    """But never about these keys, which need a rule that names them."""
    role = Role(name="dev", authorizer="rules:may", authorizer_timeout=7, authorizer_cache=9)
    realm = Realm(name=REALM, users=PATTERN, role=(role,))
    permissions = Roles([realm]).permissions(REALM, "x", "dev")
    assert (permissions.authorizer, permissions.timeout, permissions.cache) == ("rules:may", 7, 9)
    assert permissions.decide("com.example.topic") == UNDECIDED
    assert permissions.decide("com.example.users.ann") & (UNDECIDED | 15) == 0
    assert permissions.asks_about(Pattern.wamp("", "prefix"))
    assert not permissions.may_see("com.example.users.ann")


def test_the_link_to_the_coordinator_has_to_do_with_nobodys_key():
    one = harness()
    read(one, "ann")
    one.kill("coordinator")
    one.turns()
    assert isinstance(begin(one), StaticAttempt)


def test_without_links_nobody_is_let_in():
    one = harness(linked=False, absent=("shard-0", "shard-1"))
    assert isinstance(begin(one), AwaitingAttempt)
