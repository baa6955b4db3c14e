"""What `wamp.registration.…` and `wamp.subscription.…` have in common, as gateways answer them.

WAMP #registration-metapi, #subscription-metapi.
"""

from typing import NamedTuple

import pytest
from gateway_harness import REALM
from meta_calls import MetaCalls
from msgspec import msgpack

from fox_shard.backplane.frames import Inquiry, InquiryPage
from fox_shard.backplane.meta_api import (
    REGISTRATION,
    REGISTRATIONS,
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    IdLists,
    RegistrationState,
    SubscriptionState,
    id_key,
)
from fox_shard.topics.ids import pattern_id


class Kind(NamedTuple):
    """One of both kinds: its name, the questions to the shards, and what a shard has found."""

    what: str
    one: str
    all: str
    members: str
    state: RegistrationState | SubscriptionState


KINDS = {
    kind.what: kind
    for kind in (
        Kind(
            "registration",
            REGISTRATION,
            REGISTRATIONS,
            "callees",
            RegistrationState(7, 1_800_000_000.0, "^a.", "random", 3),
        ),
        Kind(
            "subscription",
            SUBSCRIPTION,
            SUBSCRIPTIONS,
            "subscribers",
            SubscriptionState(7, 1_800_000_000.0, "^a.", 1, ["gateway-1"]),
        ),
    )
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def calling(kind):
    return MetaCalls(kind.what)


def test_list_gathers_the_ids_of_all_shards(calling, kind):
    calling.call("list")
    for shard, lists in ((0, IdLists([5, 1], [2], [])), (1, IdLists([3], [], [4]))):
        (asked,) = calling.harness.got(f"shard-{shard}", Inquiry)
        assert (asked.kind, asked.realm) == (kind.all, REALM)
        page = InquiryPage(asked.token, [(id_key(1), msgpack.encode(lists))], b"")
        calling.harness.say(f"shard-{shard}", page)
    assert calling.result == {"exact": [5, 1, 3], "prefix": [2], "wildcard": [4]}


def test_a_list_that_would_be_too_long_is_refused_and_counted(kind):
    calling = MetaCalls(kind.what, answer_bytes=10)
    calling.call("list")
    calling.answer([(id_key(n), msgpack.encode(IdLists([1, 2]))) for n in range(1, 9)])
    assert calling.result == "fox.error.limit_exceeded"
    assert calling.harness.gateway.limit_counts.totals() == {"answer_bytes": 1}


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["a.b"], "=a.b"),
        (["a.", {"match": "prefix"}], "^a."),
        (["a.b", {"invoke": "x"}], "=a.b"),
        (["a.+"], "=a.+"),
    ],
)
def test_lookup_asks_the_home_of_the_pattern(calling, kind, args, text):
    id_ = pattern_id(REALM, kind.what, text)
    home = calling.harness.realm.shard_of(text.removeprefix("="))
    calling.call("lookup", *args)
    assert calling.answer() == {(home, kind.one, id_key(id_))}
    assert calling.result is None
    calling.call("lookup", *args)
    calling.answer([(id_key(7), msgpack.encode(kind.state))])
    assert calling.result == id_


def test_get_asks_all_shards_and_returns_the_details(calling, kind):
    calling.call("get", 7)
    found = [(id_key(7), msgpack.encode(kind.state))]
    assert calling.answer(found, by=1) == {(n, kind.one, id_key(7)) for n in (0, 1)}
    created = "2027-01-15T08:00:00.000Z"
    of_registration = {"invoke": "random", "x_callees": 3, "x_queued": 0, "x_running": 0}
    more = of_registration if kind.what == "registration" else {}
    assert calling.result == {"id": 7, "created": created, "uri": "a.", "match": "prefix", **more}


@pytest.mark.parametrize("procedure", ["get", "list_{}", "count_{}"])
def test_an_unknown_id_is_an_error(calling, kind, procedure):
    calling.call(procedure.format(kind.members), 7)
    calling.answer()
    assert calling.result == f"wamp.error.no_such_{kind.what}"


@pytest.mark.parametrize(
    ("procedure", "args", "error"),
    [
        ("list", [1], "invalid_argument"),
        ("lookup", [], "invalid_argument"),
        ("lookup", ["a", 1], "invalid_argument"),
        ("lookup", ["a", {"match": 1}], "invalid_argument"),
        ("lookup", ["a", {"match": "x"}], "invalid_argument"),
        ("lookup", ["a b"], "invalid_uri"),
        ("match", [1], "invalid_argument"),
        ("match", ["a b"], "invalid_uri"),
        ("get", ["x"], "invalid_argument"),
        ("get", [True], "invalid_argument"),
        ("get", [-1], "invalid_argument"),
        ("list_{}", [1, 2], "invalid_argument"),
        ("count_{}", [], "invalid_argument"),
    ],
)
def test_wrong_arguments_are_refused_before_any_shard_is_asked(
    calling, kind, procedure, args, error
):
    calling.call(procedure.format(kind.members), *args)
    assert calling.result == f"wamp.error.{error}"
    assert calling.asked() == {}


def test_a_shard_that_is_down_makes_the_answer_unavailable(calling):
    calling.harness.kill("shard-1")
    calling.call("list")
    assert calling.result == "wamp.error.unavailable"
