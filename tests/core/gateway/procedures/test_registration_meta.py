"""`wamp.registration.…`, as a gateway answers them (WAMP #registration-metapi)."""

import pytest
from gateway_harness import REALM, GatewayHarness
from msgspec import msgpack

from fox_shard.backplane.frames import Inquiry, InquiryPage
from fox_shard.backplane.meta_api import (
    BEST_REGISTRATION,
    CALLEES,
    REGISTRATION,
    REGISTRATIONS,
    IdLists,
    RegistrationState,
    id_key,
)
from fox_shard.documents import payloads
from fox_shard.topics.ids import pattern_id


class Calling:
    """A session that calls meta procedures, and two shards that answer."""

    def __init__(self, **settings):
        self.harness = GatewayHarness(2, **settings)
        self.session = self.harness.session()
        self.answers = []
        self.session.result = self.session.call_error = self.answers.append

    def call(self, name, *args):
        encoded = payloads.encode(list(args), {}, payloads.JSON)
        self.harness.gateway.requests.call(
            self.session, 1, f"wamp.registration.{name}", 0, 0, payloads.JSON, *encoded, None
        )
        self.harness.turns()

    def asked(self):
        """Return the shards that were asked, with the inquiries."""
        return {n: one for n in (0, 1) for one in self.harness.got(f"shard-{n}", Inquiry)}

    def answer(self, found=(), by=0):
        """Let all shards that were asked answer, `by` with the items; return what was asked."""
        asked = self.asked()
        for shard, frame in asked.items():
            items = [*found] if shard == by or len(asked) == 1 else []
            self.harness.say(f"shard-{shard}", InquiryPage(frame.token, items, b""))
        return {(shard, one.kind, one.body) for shard, one in asked.items()}

    @property
    def result(self):
        (answer,) = self.answers
        self.answers.clear()
        (value,), _ = payloads.decode(answer.encoding, answer.args, answer.kwargs)
        return getattr(answer, "uri", value)


@pytest.fixture
def calling():
    return Calling()


STATE = RegistrationState(7, 1_800_000_000.25, "*a.+.c.#", "random", 3)
FOUND = (id_key(7), msgpack.encode(STATE))


def test_list_gathers_the_ids_of_all_shards(calling):
    calling.call("list")
    for shard, lists in ((0, IdLists([5, 1], [2], [])), (1, IdLists([3], [], [4]))):
        (asked,) = calling.harness.got(f"shard-{shard}", Inquiry)
        assert (asked.kind, asked.realm) == (REGISTRATIONS, REALM)
        page = InquiryPage(asked.token, [(id_key(1), msgpack.encode(lists))], b"")
        calling.harness.say(f"shard-{shard}", page)
    assert calling.result == {"exact": [5, 1, 3], "prefix": [2], "wildcard": [4]}


@pytest.mark.parametrize("procedure", ["list", "list_callees"])
def test_an_answer_that_would_be_too_long_is_refused_and_counted(procedure):
    calling = Calling(answer_bytes=10)
    calling.call(procedure, *([] if procedure == "list" else [7]))
    value = msgpack.encode(IdLists([1, 2]) if procedure == "list" else [1, 2])
    calling.answer([(id_key(n), value) for n in range(1, 9)])
    assert calling.result == "fox.error.limit_exceeded"
    assert calling.harness.gateway.limit_counts.totals() == {"answer_bytes": 1}


@pytest.mark.parametrize(
    ("args", "text"),
    [(["a.b"], "=a.b"), (["a.", {"match": "prefix"}], "^a."), (["a.b", {"invoke": "x"}], "=a.b")],
)
def test_lookup_asks_the_home_of_the_pattern(calling, args, text):
    id_ = pattern_id(REALM, "registration", text)
    home = calling.harness.realm.shard_of(text.removeprefix("="))
    calling.call("lookup", *args)
    assert calling.answer() == {(home, REGISTRATION, id_key(id_))}
    assert calling.result is None
    calling.call("lookup", *args)
    calling.answer([FOUND])
    assert calling.result == id_


def test_match_asks_the_shard_of_the_procedure(calling):
    calling.call("match", "a.b")
    shard = calling.harness.realm.shard_of("a.b")
    assert calling.answer([(b"a.b", id_key(9))]) == {(shard, BEST_REGISTRATION, b"a.b")}
    assert calling.result == 9
    calling.call("match", "a.b")
    calling.answer()
    assert calling.result is None


def test_get_returns_the_details(calling):
    calling.call("get", 7)
    assert calling.answer([FOUND], by=1) == {(n, REGISTRATION, id_key(7)) for n in (0, 1)}
    assert calling.result == {
        "id": 7,
        "created": "2027-01-15T08:00:00.250Z",
        "uri": "a..c.#",
        "match": "wildcard",
        "invoke": "random",
    }


def test_callees_are_listed_and_counted(calling):
    calling.call("list_callees", 7.0)
    chunks = [(id_key(1), msgpack.encode([9, 3])), (id_key(5), msgpack.encode([4]))]
    assert calling.answer(chunks) == {(n, CALLEES, id_key(7)) for n in (0, 1)}
    assert calling.result == [3, 4, 9]
    calling.call("count_callees", 7)
    calling.answer([FOUND])
    assert calling.result == 3


@pytest.mark.parametrize("procedure", ["get", "list_callees", "count_callees"])
def test_an_unknown_registration_is_an_error(calling, procedure):
    calling.call(procedure, 7)
    calling.answer()
    assert calling.result == "wamp.error.no_such_registration"


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
        ("list_callees", [1, 2], "invalid_argument"),
        ("count_callees", [], "invalid_argument"),
    ],
)
def test_wrong_arguments_are_refused_before_any_shard_is_asked(calling, procedure, args, error):
    calling.call(procedure, *args)
    assert calling.result == f"wamp.error.{error}"
    assert calling.asked() == {}


def test_a_shard_that_is_down_makes_the_answer_unavailable(calling):
    calling.harness.kill("shard-1")
    calling.call("list")
    assert calling.result == "wamp.error.unavailable"
