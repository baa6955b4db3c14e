"""The core of a client: requests find their answers, and nothing is sent twice."""

import msgspec
import pytest
from client_cores import CoreEnd

from fox_shard.client.effects import (
    Answered,
    Failed,
    Hangup,
    Interrupted,
    Invoked,
    Joined,
    Lost,
    Over,
    Progressed,
    Send,
)
from fox_shard.client.failures import ConnectionLost, Refused
from fox_shard.client.login import Ticket

WAITS = {"acknowledge": True}


def test_a_session_begins_with_hello_and_welcome():
    end = CoreEnd()
    ((kind, realm, details),) = end.take_sent()
    assert (kind, realm) == (1, "realm1")
    assert details["roles"]["caller"]["features"]["call_canceling"]
    assert end.told == [Joined(7, {})]
    assert end.core.session == 7


def test_a_challenge_is_answered_by_the_login():
    end = CoreEnd(Ticket("ann", "secret"), joins=False)
    end.do("opened")
    end.says(4, "ticket", {})
    hello, answer = end.take_sent()
    assert hello[2]["authid"] == "ann"
    assert answer == [5, "secret", {}]
    end.says(2, 9, {})
    assert end.core.session == 9


def test_what_is_asked_without_a_session_fails_at_once():
    """It would have no answer, and would come before HELLO on the next connection."""
    end = CoreEnd()
    end.lose()
    end.take_sent(), end.take_told()
    end.do("publish", 1, "com.a", [1], {}, WAITS)
    end.do("publish", 2, "com.a", [1], {}, {})
    end.do("call", 3, "com.p", [], {}, {})
    assert not end.take_sent()
    one, other = end.take_told()
    assert (one.ticket, other.ticket) == (1, 3)
    assert isinstance(one.error, ConnectionLost)
    end.join(8)
    end.says(17, 1, 640)
    end.says(50, 2, {}, [7])
    assert end.take_told() == [Joined(8, {})]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([3, {"message": "not today"}, "wamp.error.not_authorized"], "not today"),
        ([3, {}, "wamp.error.no_such_realm"], "wamp.error.no_such_realm"),
        ([4, "wampcra", {}], "something else than WELCOME"),
        ([2, "seven", {}], "something else than WELCOME"),
    ],
)
def test_a_session_that_does_not_begin_is_hung_up(answer, why):
    end = CoreEnd(joins=False)
    end.do("opened")
    end.says(*answer)
    hangup, lost = end.told
    assert why in hangup.why
    assert lost == Lost(hangup.why)
    assert not end.core.session


@pytest.mark.parametrize("data", [b"\xc1", msgspec.msgpack.encode({"a": 1}), b"", b"\x92\x32"])
def test_bytes_that_are_no_message_end_the_session(data):
    end = CoreEnd()
    end.take_told()
    end.perform(end.core.received(data, 0.0))
    assert isinstance(end.told[0], Hangup)


def test_an_acknowledged_publish_is_answered_with_its_id():
    end = CoreEnd()
    end.take_sent()
    end.do("publish", 1, "com.a", [1], {"b": 2}, WAITS)
    assert end.take_sent() == [[16, 1, WAITS, "com.a", [1], {"b": 2}]]
    end.take_told()
    end.says(17, 1, 640)
    assert end.told == [Answered(1, [640])]


def test_a_publish_without_acknowledgement_is_sent_and_forgotten():
    end = CoreEnd()
    (sent,) = end.core.publish(1, "com.a", [], None, {})
    assert isinstance(sent, Send)
    assert sent.ticket == 0
    assert msgspec.msgpack.decode(sent.data) == [16, 1, {}, "com.a"]
    end.take_told()
    end.lose()
    assert end.take_told() == [Lost("The line is cut.")]


def test_what_cannot_be_encoded_is_not_sent():
    end = CoreEnd()
    with pytest.raises(TypeError):
        end.core.publish(1, "com.a", [object()], None, WAITS)
    end.lose()
    assert not [effect for effect in end.told if isinstance(effect, Failed)]


def test_a_call_has_progressive_results_and_a_result():
    end = CoreEnd()
    end.do("call", 1, "com.p", [], {"a": 1}, {"receive_progress": True})
    assert end.take_sent(48) == [[48, 1, {"receive_progress": True}, "com.p", [], {"a": 1}]]
    end.take_told()
    end.says(50, 1, {"progress": True}, ["part"])
    end.says(50, 1, {}, [], {"whole": True})
    progressed, answered = end.told
    assert isinstance(progressed, Progressed)
    assert (progressed.ticket, progressed.args, progressed.kwargs) == (1, ["part"], {})
    assert answered == Answered(1, [[], {"whole": True}])


def test_an_error_has_its_uri_and_arguments():
    end = CoreEnd()
    end.do("call", 1, "com.p", [], None, {})
    end.take_told()
    end.says(8, 48, 1, {}, "com.example.stale", ["It is over."], {"holder": 7})
    (failed,) = end.told
    error = failed.error
    assert isinstance(error, Refused)
    assert (error.uri, error.arguments, error.kwargs) == (
        "com.example.stale",
        ["It is over."],
        {"holder": 7},
    )
    assert str(error) == "com.example.stale: It is over."
    assert error.sentence == "It is over."


def test_a_call_that_nobody_waits_for_is_canceled_once_and_its_answer_ignored():
    end = CoreEnd()
    end.do("call", 1, "com.p", [], None, {})
    end.take_sent()
    end.do("abandon", 1)
    end.do("abandon", 1)
    assert end.take_sent() == [[49, 1, {"mode": "killnowait"}]]
    end.take_told()
    end.says(8, 48, 1, {}, "wamp.error.canceled")
    end.says(50, 1, {}, [1])
    assert end.take_told() == []
    end.lose()
    assert end.take_told() == [Lost("The line is cut.")]


def test_a_lock_that_nobody_waits_for_any_more_is_released_when_it_comes():
    end = CoreEnd()
    end.do("publish", 1, "com.lock", [1], None, {**WAITS, "watch": True, "when": None})
    end.take_sent()
    end.do("abandon", 1, erase=True)
    end.take_told()
    assert end.take_sent() == []
    end.says(17, 1, 640)
    assert end.take_sent() == [
        [16, 2, {"retain": True, "acknowledge": True, "when_id": 640}, "com.lock"]
    ]
    end.says(8, 16, 2, {}, "fox.error.condition_failed", ["It is gone."])
    assert end.take_told() == []


def test_whatever_is_under_way_when_the_line_is_cut_fails_and_is_not_sent_again():
    end = CoreEnd()
    end.do("publish", 1, "com.a", [1], None, WAITS)
    end.do("call", 2, "com.p", [], None, {})
    end.take_told()
    end.lose()
    lost, *failed = end.take_told()
    assert isinstance(lost, Lost)
    assert [(one.ticket, type(one.error)) for one in failed] == [
        (1, ConnectionLost),
        (2, ConnectionLost),
    ]
    end.take_sent()
    end.join(8)
    assert [message[0] for message in end.take_sent()] == [1]
    end.do("publish", 3, "com.a", [2], None, WAITS)
    end.says(17, 1, 704)
    assert end.told[-1] == Answered(3, [704])


def test_the_loss_of_a_connection_is_told_once():
    end = CoreEnd()
    end.take_told()
    end.lose("first")
    end.lose("second")
    assert end.take_told() == [Lost("first")]


# Invocations


def callee():
    end = CoreEnd()
    end.do("register", 1, "com.p", {})
    end.confirm(33)
    end.take_told()
    return end


def test_an_invocation_is_answered_with_parts_and_a_result():
    end = callee()
    end.says(68, 1, 33, {"caller": 5}, [1])
    assert end.take_told() == [Invoked(1, 1, {"caller": 5}, [1], {})]
    end.do("yields", 1, ["part"], None, progress=True)
    end.do("yields", 1, ["end"], None, progress=False)
    end.do("yields", 1, ["late"], None, progress=False)
    end.do("refuses", 1, "wamp.error.runtime_error", [], None)
    assert end.take_sent() == [[70, 1, {"progress": True}, ["part"]], [70, 1, {}, ["end"]]]


def test_an_invocation_is_answered_with_an_error():
    end = callee()
    end.says(68, 1, 33, {})
    end.do("refuses", 1, "com.example.no", ["Not now."], {"a": 1})
    assert end.take_sent() == [[8, 68, 1, {}, "com.example.no", ["Not now."], {"a": 1}]]


def test_an_interrupted_invocation_is_told_as_long_as_it_is_not_answered():
    end = callee()
    end.says(68, 1, 33, {})
    end.take_told()
    end.says(69, 1, {"mode": "kill"})
    assert end.take_told() == [Interrupted(1)]
    end.do("refuses", 1, "wamp.error.canceled", [], None)
    end.says(69, 1, {"mode": "kill"})
    assert end.take_told() == []


def test_invocations_end_with_their_session_and_are_not_answered_in_the_next_one():
    end = callee()
    end.says(68, 1, 33, {})
    end.take_told()
    end.lose()
    assert end.take_told() == [Lost("The line is cut."), Interrupted(1)]
    end.join(8)
    end.take_sent()
    end.do("yields", 1, ["late"], None, progress=False)
    assert end.take_sent() == []


def test_an_invocation_of_what_was_just_unregistered_is_refused():
    end = callee()
    end.do("unregister", 1)
    assert end.take_sent() == [[66, 2, 33]]
    end.says(68, 1, 33, {})
    ((_, _, request, _, uri, _),) = end.take_sent()
    assert (request, uri) == (1, "wamp.error.no_such_procedure")


def test_a_registration_that_somebody_has_taken_over_is_over_for_good():
    end = callee()
    end.says(67, 0, {"registration": 33, "reason": "wamp.close.forced"})
    (over,) = end.take_told()
    assert isinstance(over, Over)
    assert over.error.uri == "wamp.close.forced"
    end.lose()
    end.join(8)
    assert not end.take_sent(64)


def test_a_result_that_cannot_be_sent_leaves_the_invocation_to_be_answered():
    end = callee()
    end.says(68, 1, 33, {})
    for value, error in ((object(), TypeError), (1 << 70, OverflowError)):
        with pytest.raises(error):
            end.core.yields(1, [value], None, progress=False)
    end.core.longest = 100
    with pytest.raises(ValueError, match="at most 100 bytes"):
        end.core.yields(1, ["x" * 100], None, progress=False)
    end.do("refuses", 1, "wamp.error.runtime_error", ["TypeError"], None)
    assert end.take_sent() == [[8, 68, 1, {}, "wamp.error.runtime_error", ["TypeError"]]]


# The end


def test_a_router_that_says_goodbye_is_answered_and_the_line_is_hung_up():
    end = CoreEnd()
    end.take_told()
    end.take_sent()
    end.says(6, {"message": "killed"}, "wamp.close.killed")
    assert end.take_sent() == [[6, {}, "wamp.close.goodbye_and_out"]]
    hangup, lost = end.take_told()
    assert hangup == Hangup("The router has ended the session: killed.")
    assert lost == Lost(hangup.why)


def test_a_client_that_leaves_says_goodbye_and_hangs_up_at_the_answer():
    end = CoreEnd()
    end.take_told()
    end.take_sent()
    end.do("leave", "It is late.")
    assert end.take_sent() == [[6, {}, "wamp.close.close_realm"]]
    assert end.take_told() == []
    end.says(6, {}, "wamp.close.goodbye_and_out")
    assert end.take_sent() == []
    assert end.take_told() == [Hangup("It is late."), Lost("It is late.")]
