"""Procedures that a gateway answers with what the shards tell it, page by page."""

import pytest
from gateway_harness import REALM, GatewayHarness

from fox_shard.backplane.frames import Inquiry, InquiryPage
from fox_shard.documents import payloads
from fox_shard.errors import InvalidArgument
from fox_shard.gateway.procedures.inquiry import (
    QUESTION_BYTES,
    WAITING_BYTES,
    InquiryQuestion,
)
from fox_shard.testing.clients import WampClient
from fox_shard.testing.world import World

PROCEDURE = "fox.test.list"


class Asking:
    """A session that calls a procedure which asks all shards, and the answers to its calls."""

    def __init__(self, shards=2, limit=1000, **settings):
        self.harness = GatewayHarness(shards, **settings)
        self.gateway = self.harness.gateway
        self.limit = limit
        self.session = self.harness.session()
        self.answers = []
        self.session.result = self.session.call_error = self.answers.append
        self.gateway.calls.local_procedures[PROCEDURE] = self.ask_shards
        self.made = self.make

    def ask_shards(self, session, request, encoding, args, kwargs):
        question = InquiryQuestion(
            session,
            request,
            encoding,
            kind="test",
            body=args,
            limit=self.limit,
            answer=lambda items, more: self.made(items, more),
        )
        self.gateway.inquiries.ask(question, self.gateway.inquiries.all_shards)

    @staticmethod
    def make(items, more):
        return [[[key.decode(), value.decode()] for key, value in items]], {"more": more}

    def call(self, *args):
        args, kwargs = payloads.encode(list(args), {}, payloads.JSON)
        self.gateway.requests.call(
            self.session, 1, PROCEDURE, 0, 0, payloads.JSON, args, kwargs, None
        )
        self.harness.turns()

    def asked(self, shard):
        return self.harness.got(f"shard-{shard}", Inquiry)

    def answer(self, shard, text="", *, go_on_at=b"", **more):
        """Answer the one Inquiry that the shard has got with an item for each letter of `text`."""
        (request,) = self.asked(shard)
        items = [(letter.encode(), str(shard).encode()) for letter in text]
        page = InquiryPage(request.token, items, go_on_at, **more)
        self.harness.say(f"shard-{shard}", page)
        return request

    @property
    def result(self):
        (frame,) = self.answers
        (items,), kwargs = payloads.decode(frame.encoding, frame.args, frame.kwargs)
        return "".join(key for key, _ in items), kwargs["more"]

    @property
    def error(self):
        (frame,) = self.answers
        (sentence,), _ = payloads.decode(frame.encoding, frame.args, frame.kwargs)
        return frame.uri, sentence


def test_all_shards_are_asked_and_their_items_merged_in_the_order_of_keys():
    asking = Asking()
    asking.call(7)
    assert asking.answer(0, "ad") == Inquiry(1, REALM, "test", b"[7]", b"", 1000)
    assert asking.answers == []
    asking.answer(1, "bce")
    assert asking.result == ("abcde", False)
    assert asking.gateway.inquiries.idle
    assert asking.session.calls == {}


def test_a_call_without_arguments_is_answered_in_json():
    asking = Asking(shards=1)
    asking.gateway.requests.call(asking.session, 1, PROCEDURE, 0, 0, payloads.NONE, b"", b"", None)
    asking.harness.turns()
    asking.answer(0, "a")
    assert asking.answers[0].encoding == payloads.JSON
    assert asking.result == ("a", False)


def test_equal_keys_of_several_shards_come_in_the_order_of_the_shards():
    asking = Asking(shards=3)
    asking.made = lambda items, more: ([[[v.decode(), ""] for _, v in items]], {"more": more})
    asking.call()
    for shard in (2, 0, 1):
        asking.answer(shard, "a")
    assert asking.result == ("012", False)


def test_the_next_page_is_asked_for_when_one_is_used_up():
    asking = Asking(limit=5)
    asking.call()
    assert asking.answer(0, "ab", go_on_at=b"x").limit == 5
    asking.answer(1, "c", go_on_at=b"y")
    # a and b are taken; then shard-0 might have something before c.
    assert asking.asked(1) == []
    request = asking.answer(0, go_on_at=b"z")
    assert (request.start, request.limit) == (b"x", 3)
    assert asking.answer(0, "dh").start == b"z"
    assert asking.answer(1, "g").start == b"y"
    assert asking.result == ("abcdg", True)


def test_the_shards_have_no_more():
    asking = Asking(limit=2)
    asking.call()
    asking.answer(0, "a")
    asking.answer(1, "b")
    assert asking.result == ("ab", False)


def test_an_answer_is_bounded_in_bytes():
    asking = Asking(shards=1, answer_bytes=3)
    asking.call()
    asking.answer(0, "abc")
    assert asking.result == ("ab", True)


def test_a_shard_that_refuses_the_inquiry_ends_the_call():
    asking = Asking()
    asking.call()
    asking.answer(0, uri="fox.error.x", message="because")
    assert asking.error == ("fox.error.x", "because")
    asking.answer(1, "a")
    assert len(asking.answers) == 1
    assert asking.gateway.inquiries.idle


def test_an_answer_that_cannot_be_made_is_an_error():
    def refuse(items, more):
        raise InvalidArgument("not so")

    asking = Asking(shards=1)
    asking.made = refuse
    asking.call()
    asking.answer(0, "a")
    assert asking.error == ("wamp.error.invalid_argument", "not so")


def test_a_call_fails_at_once_if_a_shard_is_down():
    asking = Asking()
    asking.harness.kill("shard-1")
    asking.call()
    assert asking.error[0] == "wamp.error.unavailable"
    assert asking.asked(0) == []


@pytest.mark.parametrize("more", [True, False])
def test_a_call_fails_if_a_shard_that_may_have_more_goes_down(more):
    asking = Asking()
    asking.call()
    asking.answer(0, "a", go_on_at=b"x" if more else b"")
    asking.harness.kill("shard-0")
    asking.harness.turns()
    if more:
        assert asking.error[0] == "wamp.error.unavailable"
    else:
        asking.answer(1, "b")
        assert asking.result == ("ab", False)
    assert asking.gateway.inquiries.idle


def test_a_session_that_has_ended_is_not_answered_and_no_further_page_asked_for():
    asking = Asking()
    asking.call()
    asking.gateway.requests.session_ended(asking.session, "gone")
    asking.answer(0, "a", go_on_at=b"x")
    assert asking.asked(0) == []
    asking.answer(1, "b")
    assert (asking.answers, asking.gateway.inquiries.idle) == ([], True)


def test_a_session_has_two_inquiries_under_way_and_the_others_wait_in_order():
    asking = Asking(shards=1)
    other = asking.harness.session()
    for request in range(1, 6):
        call(asking, asking.session, request)
    call(asking, other, 1)
    first, second, others = asking.asked(0)
    say(asking, first)
    say(asking, others)
    (third,) = asking.asked(0)
    say(asking, second)
    say(asking, third)
    fourth, fifth = asking.asked(0)
    say(asking, fifth)
    say(asking, fourth)
    assert [answer.request for answer in asking.answers] == [1, 2, 3, 5, 4]
    assert asking.gateway.inquiries.idle


def test_the_setting_says_how_many_inquiries_of_a_session_are_under_way():
    asking = Asking(shards=1, max_inquiries=3)
    for request in range(1, 6):
        call(asking, asking.session, request)
    assert len(asking.asked(0)) == 3


def test_nothing_is_asked_for_a_session_that_has_ended():
    asking = Asking(shards=1)
    for request in range(1, 6):
        call(asking, asking.session, request)
    asking.gateway.requests.session_ended(asking.session, "gone")
    for inquired in asking.asked(0):
        say(asking, inquired)
    assert asking.asked(0) == []
    assert asking.gateway.inquiries.idle


def test_those_that_wait_fail_with_their_shard():
    asking = Asking(shards=1)
    for request in range(1, 6):
        call(asking, asking.session, request)
    asking.harness.kill("shard-0")
    asking.harness.turns()
    assert [answer.uri for answer in asking.answers] == ["wamp.error.unavailable"] * 5
    assert asking.gateway.inquiries.idle


def test_many_calls_that_need_no_shard_are_answered_at_once():
    asking = Asking(shards=1)
    asking.gateway.calls.local_procedures[PROCEDURE] = lambda session, request, encoding, *_: (
        asking.gateway.inquiries.ask(
            InquiryQuestion(
                session, request, encoding, kind="", body=b"", limit=1, answer=asking.make
            ),
            (),
        )
    )
    for request in range(1, 2001):
        call(asking, asking.session, request)
    assert len(asking.answers) == 2000
    assert asking.gateway.inquiries.idle


def test_large_pages_are_taken_in_several_turns():
    asking = Asking(shards=1)
    sessions = [asking.harness.session() for _ in range(50)]
    for session in sessions:
        session.result = asking.answers.append
        call(asking, session, 1)
    link = asking.harness["shard-0"].link
    for inquired in asking.asked(0):
        link.send(InquiryPage(inquired.token, [(b"a", b"1" * 131_072)]))
    asking.harness.turn()
    assert 0 < len(asking.answers) < 20
    asking.harness.pass_time(1, step=0.01)
    assert len(asking.answers) == 50


def call(asking, session, request):
    asking.gateway.requests.call(session, request, PROCEDURE, 0, 0, payloads.JSON, b"[]", b"", None)


def say(asking, inquired):
    asking.harness.say("shard-0", InquiryPage(inquired.token, [(b"a", b"0")]))


@pytest.mark.parametrize(
    ("size", "most"),
    [(0, WAITING_BYTES // QUESTION_BYTES + 1), (100_000, WAITING_BYTES // 100_000 + 1)],
)
def test_a_client_is_not_read_while_very_many_of_its_calls_wait(size, most):
    asking = Asking(shards=1, max_inquiries=1)
    other = asking.harness.session()
    asking.call("x" * size)
    called = 0
    while not asking.session.connection.paused:
        asking.call("x" * size)
        called += 1
        assert called <= most
    assert called > most // 2
    assert not other.connection.paused
    while asking.session.connection.paused:
        asking.answer(0)
    mine = asking.gateway.inquiries._of_sessions[asking.session]
    assert WAITING_BYTES - QUESTION_BYTES - size - 100 < mine.weight <= WAITING_BYTES
    assert len(asking.answers) < 3


@pytest.mark.parametrize("ends", ["session", "shard"])
def test_a_client_is_read_on_when_its_calls_wait_no_more(ends):
    asking = Asking(shards=1, max_inquiries=1)
    while not asking.session.connection.paused:
        asking.call("x" * 100_000)
    if ends == "session":
        asking.gateway.requests.session_ended(asking.session, "gone")
    else:
        asking.harness.kill("shard-0")
    assert not asking.session.connection.paused
    if ends == "session":
        asking.answer(0)
    assert not asking.session.connection.paused
    assert asking.gateway.inquiries.idle


def test_all_calls_of_a_client_are_answered_that_makes_very_many_at_once():
    world = World(1, gateways=1, shards=2)
    world.run_until(lambda: world.linked)
    client = WampClient(world, 0)
    world.run_until(lambda: client.session)
    with client.wire.together():
        requests = [client.call("wamp.registration.list") for _ in range(8000)]
    inquiries, most = world.gateway(0).inquiries, 0
    while len(client.of(50)) < len(requests):
        world.run(0.05)
        [mine] = inquiries._of_sessions.values() or [None]
        most = max(most, len(mine.waiting) if mine is not None else 0)
        assert world.now < 1000
    assert [message[1] for message in client.of(50)] == requests
    # What a turn's budget pays for of what was read already comes on top.
    assert 100 < most < 3000
