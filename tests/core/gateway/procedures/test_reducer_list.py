"""`fox.reducer.list` and `fox.reducer.remove`, as a gateway answers them."""

import pytest
from gateway_harness import REALM, GatewayHarness
from msgspec import msgpack

from fox_shard.backplane.frames import Inquiry, InquiryPage, ReducerState
from fox_shard.documents import payloads
from fox_shard.topics.ids import reducer_id
from fox_shard.topics.pattern import Pattern


class Calling:
    def __init__(self):
        self.harness = GatewayHarness(2)
        self.session = self.harness.session()
        self.answers = []
        self.session.result = self.session.call_error = self.answers.append

    def call(self, procedure, *args, **named):
        encoded = payloads.encode(list(args), named, payloads.JSON)
        self.harness.gateway.requests.call(
            self.session, 1, procedure, 0, 0, payloads.JSON, *encoded, None
        )
        self.harness.turns()

    def answer(self, shard, *items):
        (asked,) = self.harness.got(f"shard-{shard}", Inquiry)
        self.harness.say(f"shard-{shard}", InquiryPage(asked.token, list(items), b""))
        return asked

    @property
    def answered(self):
        (answer,) = self.answers
        self.answers.clear()
        return answer

    def call_bare(self, procedure):
        """Call without lists of arguments, as autobahn does if there are none."""
        self.harness.gateway.requests.call(
            self.session, 1, procedure, 0, 0, payloads.NONE, b"", b"", None
        )
        self.harness.turns()


def item(number, **more):
    state = ReducerState("a.#", "exact", "", "", "", 1, 2, 300, 1.5, 10, 1)
    for name, value in more.items():
        setattr(state, name, value)
    return number.to_bytes(8, "big"), msgpack.encode(state)


@pytest.mark.parametrize("procedure", ["fox.reducer.list", "fox.table.list"])
def test_a_call_without_arguments_is_answered(procedure):
    calling = Calling()
    calling.call_bare(procedure)
    calling.answer(0)
    calling.answer(1)
    answer = calling.answered
    assert payloads.decode(answer.encoding, answer.args, answer.kwargs) == ([[]], {})


def test_a_webhook_is_listed_with_what_is_tried_again():
    calling = Calling()
    calling.call("fox.reducer.list")
    waiting = {"webhook": "w", "durable": "w", "retrying": 2, "failure": "503"}
    calling.answer(0, item(1, **waiting, next_try=9.0), item(2))
    calling.answer(1, item(1, **{**waiting, "next_try": 1.5}))
    answer = calling.answered
    ((one, _),), _ = payloads.decode(answer.encoding, answer.args, answer.kwargs)
    assert (one["webhook"], one["durable"]) == ("w", None)
    assert (one["retrying"], one["next_try"], one["failure"]) == (4, 1.5, "503")


def test_the_numbers_of_all_shards_are_summed_up():
    calling = Calling()
    calling.call("fox.reducer.list")
    calling.answer(0, item(1), item(2, pattern="b", durable="d"))
    calling.answer(1, item(1, oldest=3.0, folded=5), item(2, pattern="b", durable="d"))
    answer = calling.answered
    ((one, two),), _ = payloads.decode(answer.encoding, answer.args, answer.kwargs)
    assert one == {
        "pattern": "a.#",
        "match": "exact",
        "mission": None,
        "durable": None,
        "function": None,
        "instances": 1,
        "queued": 4,
        "bytes": 600,
        "oldest": 3.0,
        "folded": 15,
        "failed": 2,
        "webhook": None,
        "dropped": 0,
        "retrying": 0,
        "next_try": None,
        "retried": 0,
        "failure": None,
    }
    assert (two["pattern"], two["durable"]) == ("b", "d")


def test_a_reducer_is_removed_at_all_shards():
    calling = Calling()
    calling.call("fox.reducer.remove", "a.#", durable="d", mission="m")
    id_ = reducer_id(REALM, Pattern.wamp("a.#").text, "m", "d").to_bytes(8, "big")
    assert calling.answer(0, (id_, b"")).body == id_
    assert calling.answer(1, (id_, b"")).body == id_
    assert calling.answered.args == b""


def test_a_reducer_that_does_not_exist_is_an_error():
    calling = Calling()
    calling.call("fox.reducer.remove", "a.#", durable="d")
    calling.answer(0)
    calling.answer(1)
    assert calling.answered.uri == "wamp.error.no_such_registration"


@pytest.mark.parametrize(
    ("procedure", "args", "named"),
    [
        ("fox.reducer.list", [1], {}),
        ("fox.reducer.remove", [], {"durable": "d"}),
        ("fox.reducer.remove", ["a"], {}),
        ("fox.reducer.remove", [1], {"durable": "d"}),
        ("fox.reducer.remove", ["a"], {"durable": 1}),
        ("fox.reducer.remove", ["a"], {"durable": "d", "other": 1}),
    ],
)
def test_wrong_arguments_are_refused(procedure, args, named):
    calling = Calling()
    calling.call(procedure, *args, **named)
    assert calling.answered.uri == "wamp.error.invalid_argument"
