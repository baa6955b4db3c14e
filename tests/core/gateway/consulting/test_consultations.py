"""Questions of a gateway to procedures and functions: one outcome each, and never none."""

import pytest
from gateway_harness import REALM, GatewayHarness

from fox_shard.backplane.frames import Call, CallError, CallMoved, Cancel, Report, Result
from fox_shard.documents.payloads import JSON, MSGPACK
from fox_shard.gateway.consulting.outcomes import Advice, Function, NoAdvice, Procedure, adviser

DECIDE = Procedure(REALM, "com.example.decide")


class Consulting(GatewayHarness):
    """A gateway that consults, and the outcomes in `told`."""

    def __init__(self, shards=1, **settings):
        super().__init__(shards, **settings)
        self.told = []

    def consult(self, adviser=DECIDE, *args, timeout=5.0, told=None, **how):
        told = told or self.told.append
        return self.gateway.consultations.consult(adviser, [*args], {}, timeout, told, **how)

    def asked(self, shard=0):
        """Return the only call that the shard got."""
        (call,) = self.got(f"shard-{shard}", Call)
        return call

    @property
    def outcomes(self):
        """Why there is no advice, or the advice, of all consultations that are over."""
        return [one.value if isinstance(one, Advice) else one.why for one in self.told]


def test_a_setting_names_a_function_or_a_procedure():
    assert adviser("rules:decide", REALM) == Function("rules:decide")
    assert adviser("com.example.decide", REALM) == DECIDE


# Procedures


def test_a_procedure_is_called_and_its_first_argument_is_the_advice():
    harness = Consulting()
    harness.consult(DECIDE, "peter", {"a": 1})
    call = harness.asked()
    assert (call.realm, call.procedure, call.timeout) == (REALM, DECIDE.name, 5000)
    assert (call.caller.authid, call.caller.authrole) == ("fox.gateway", "fox.gateway")
    harness.say("shard-0", Result(call.session, call.request, False, JSON, b'[{"role":"dev"}]'))
    assert harness.outcomes == [{"role": "dev"}]
    assert len(harness.gateway.consultations) == 0


def test_a_result_without_arguments_is_none():
    harness = Consulting()
    harness.consult()
    call = harness.asked()
    harness.say("shard-0", Result(call.session, call.request, False, MSGPACK, b""))
    assert harness.outcomes == [None]


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("wamp.error.no_such_procedure", "no_callee"),
        ("wamp.error.unavailable", "down"),
        ("wamp.error.timeout", "timeout"),
        ("com.example.no_such_user", "error"),
    ],
)
def test_an_error_says_why_there_is_no_advice(uri, why):
    harness = Consulting()
    harness.consult()
    call = harness.asked()
    harness.say("shard-0", CallError(call.session, call.request, uri, JSON, b'["for a reason"]'))
    assert harness.told == [NoAdvice(why, f"{uri}: for a reason", uri)]


@pytest.mark.parametrize("args", [b"[1", b"[" + b"1," * 40_000 + b"1]"])
def test_what_cannot_be_read_or_is_too_long_is_no_advice(args):
    harness = Consulting()
    harness.consult()
    call = harness.asked()
    harness.say("shard-0", Result(call.session, call.request, False, JSON, args))
    assert harness.outcomes == ["unreadable"]


def test_an_error_that_cannot_be_read_is_an_error():
    harness = Consulting()
    harness.consult()
    call = harness.asked()
    harness.say("shard-0", CallError(call.session, call.request, "a.b", JSON, b"[1"))
    assert harness.told == [NoAdvice("error", "a.b", "a.b")]


def test_arguments_that_cannot_be_sent_are_an_error():
    harness = Consulting()
    harness.consult(DECIDE, object())
    assert harness.outcomes == ["error"]


def test_a_procedure_that_does_not_answer_is_canceled_when_its_time_is_over():
    harness = Consulting()
    harness.consult(timeout=2.0)
    call = harness.asked()
    harness.pass_time(1.9)
    assert harness.told == []
    harness.pass_time(0.2)
    assert harness.outcomes == ["timeout"]
    (cancel,) = harness.got("shard-0", Cancel)
    assert (cancel.session, cancel.request, cancel.mode) == (call.session, 1, "killnowait")
    harness.say("shard-0", Result(call.session, call.request, False, JSON, b"[1]"))
    assert harness.outcomes == ["timeout"]


def test_a_shard_that_is_down_or_goes_down_gives_no_advice():
    harness = Consulting()
    harness.consult()
    harness.asked()
    harness.kill("shard-0")
    harness.pass_time(20.0)
    assert harness.outcomes == ["down"]
    harness.consult()
    assert harness.outcomes == ["down", "down"]


def test_a_shard_that_starts_anew_has_lost_the_call():
    harness = Consulting()
    harness.consult(timeout=60.0)
    harness.asked()
    harness.kill("shard-0")
    harness.join("shard-0", incarnation=2)
    harness.pass_time(2.0)
    assert harness.outcomes == ["down"]


def test_a_call_may_move_to_the_home_of_a_pattern():
    harness = Consulting(shards=2)
    shard = harness.realm.shard_of(DECIDE.name)
    other = 1 - shard
    harness.consult()
    call = harness.asked(shard)
    incarnation = harness[f"shard-{other}"].link.incarnation
    harness.say(f"shard-{shard}", CallMoved(call.session, call.request, other, incarnation))
    harness.say(f"shard-{other}", Result(call.session, call.request, False, JSON, b"[7]"))
    assert harness.outcomes == [7]


def test_a_call_that_has_moved_is_canceled_there():
    harness = Consulting(shards=2)
    shard = harness.realm.shard_of(DECIDE.name)
    other = 1 - shard
    harness.consult(timeout=1.0)
    call = harness.asked(shard)
    incarnation = harness[f"shard-{other}"].link.incarnation
    harness.say(f"shard-{shard}", CallMoved(call.session, call.request, other, incarnation))
    harness.pass_time(1.5)
    assert harness.outcomes == ["timeout"]
    assert len(harness.got(f"shard-{other}", Cancel)) == 1


def test_a_call_that_moved_to_an_earlier_incarnation_is_lost():
    harness = Consulting(shards=2)
    shard = harness.realm.shard_of(DECIDE.name)
    harness.consult()
    call = harness.asked(shard)
    harness.say(f"shard-{shard}", CallMoved(call.session, call.request, 1 - shard, 999))
    assert harness.outcomes == ["down"]


def test_canceled_before_it_moves_a_call_is_canceled_at_its_new_shard():
    harness = Consulting(shards=2)
    shard = harness.realm.shard_of(DECIDE.name)
    other = 1 - shard
    harness.consult().cancel()
    call = harness.asked(shard)
    incarnation = harness[f"shard-{other}"].link.incarnation
    harness.say(f"shard-{shard}", CallMoved(call.session, call.request, other, incarnation))
    assert len(harness.got(f"shard-{other}", Cancel)) == 1
    assert harness.told == []


# Functions


def test_a_function_is_called_by_the_shell():
    harness = Consulting()
    harness.consult(Function("rules:decide"), 1)
    functions = harness.gateway.consultations.functions
    (call,) = functions.due()
    assert (call.name, call.args) == ("rules:decide", [1])
    functions.finished(call, Advice("yes"))
    assert harness.outcomes == ["yes"]


def test_a_function_that_hangs_times_out_and_keeps_its_thread():
    harness = Consulting()
    for _ in range(20):
        harness.consult(Function("rules:decide"), timeout=1.0)
    functions = harness.gateway.consultations.functions
    running = functions.due()
    assert len(running) == 16
    harness.pass_time(1.5)
    assert harness.outcomes == ["timeout"] * 20
    harness.consult(Function("rules:decide"))
    assert functions.due() == []
    functions.finished(running[0], Advice("late"))
    assert len(functions.due()) == 1
    assert harness.outcomes == ["timeout"] * 20


# Bounds and ends


def test_so_many_consultations_are_under_way_and_no_more():
    harness = Consulting(max_consultations=2)
    first = harness.consult()
    harness.consult()
    harness.consult()
    assert harness.outcomes == ["busy"]
    first.cancel()
    harness.consult()
    assert harness.outcomes == ["busy"]
    harness.gateway.send_report(harness.now)
    (report,) = harness.got("coordinator", Report)
    assert report.counters["refused.max_consultations"] == 1


def test_clients_that_log_in_leave_half_of_the_room_to_sessions():
    """Anybody may begin to log in; whoever has a session must not be refused because of that."""
    harness = Consulting(max_consultations=4)
    logins = [harness.consult(login=True) for _ in range(3)]
    assert harness.outcomes == ["busy"]
    for _ in range(3):
        harness.consult()
    assert harness.outcomes == ["busy", "busy"]
    logins[0].cancel()
    harness.consult(login=True)
    assert harness.outcomes == ["busy", "busy"]


def test_one_client_may_always_log_in():
    harness = Consulting(max_consultations=1)
    harness.consult(login=True)
    assert harness.outcomes == []


def test_functions_are_called_for_sessions_first_and_logins_leave_threads_to_them():
    harness = Consulting()
    for number in range(20):
        harness.consult(Function("logins:who"), number, login=True)
    functions = harness.gateway.consultations.functions
    running = functions.due()
    assert [call.args for call in running] == [[number] for number in range(12)]
    for _ in range(5):
        harness.consult(Function("rules:may"), "session")
    assert [call.args for call in functions.due()] == [["session"]] * 4
    functions.finished(running[0], Advice("yes"))
    assert [call.args for call in functions.due()] == [["session"]]
    functions.finished(running[1], Advice("yes"))
    assert [call.args for call in functions.due()] == [[12]]


def test_a_function_is_not_called_for_what_nobody_wants_any_more():
    harness = Consulting()
    wanted = [False, True]
    for number in range(2):
        harness.consult(Function("logins:who"), number, is_wanted=lambda: wanted.pop(0))
    assert [call.args for call in harness.gateway.consultations.functions.due()] == [[1]]
    assert len(harness.gateway.consultations) == 1
    assert harness.told == []


def test_nobody_is_told_of_a_canceled_consultation():
    harness = Consulting()
    consultation = harness.consult()
    call = harness.asked()
    consultation.cancel()
    consultation.cancel()
    assert len(harness.got("shard-0", Cancel)) == 1
    harness.say("shard-0", Result(call.session, call.request, False, JSON, b"[1]"))
    harness.pass_time(10.0)
    assert harness.told == []
    assert len(harness.gateway.consultations) == 0


def test_whoever_is_told_may_consult_again():
    harness = Consulting(max_consultations=1)
    outcomes = []

    def told(outcome):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            harness.consult(told=told)

    harness.consult(told=told)
    for _ in range(2):
        call = harness.asked()
        harness.say("shard-0", Result(call.session, call.request, False, JSON, b"[1]"))
    assert outcomes == [Advice(1), Advice(1)]
