"""Remote procedure calls between autobahn-python sessions (WAMP #remote-procedure-calls)."""

import asyncio
from contextlib import closing

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, CallResult, RegisterOptions
from raw_wamp import (
    CALL,
    CANCEL,
    ERROR,
    INTERRUPT,
    INVOCATION,
    REGISTER,
    REGISTERED,
    RESULT,
    RawWamp,
    at_gateway,
)
from wamp_peers import KINDS

EVERYTHING = [None, True, 0, -1, 2**53, 1.5, "ä€𝄞", [], {}, [[1], {"a": {"b": None}}]]


async def error_of(call):
    """Return the error that the call ends with."""
    with pytest.raises(ApplicationError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize(("transport", "serializer"), KINDS)
@pytest.mark.parametrize("other", [("websocket", "json"), ("rawsocket", "cbor")])
async def test_a_call_and_its_result_arrive_as_they_were_sent(wamp, transport, serializer, other):
    callee = await wamp.join(*other, gateway=0)
    caller = await wamp.join(transport, serializer, gateway=1)
    seen = []

    def procedure(*args, **kwargs):
        seen.append((list(args), kwargs))
        return CallResult(*args, **kwargs)

    await callee.register(procedure, "calls.echo")
    result = await caller.call("calls.echo", *EVERYTHING, k="v", n={"x": [1]})
    assert seen == [(EVERYTHING, {"k": "v", "n": {"x": [1]}})]
    assert list(result.results) == EVERYTHING
    assert result.kwresults == {"k": "v", "n": {"x": [1]}}
    assert await caller.call("calls.echo") is None
    assert await caller.call("calls.echo", b"\x00\xff") == b"\x00\xff"


async def test_a_session_may_call_itself(wamp):
    session = await wamp.join()
    await session.register(lambda a, b: a + b, "calls.add")
    assert await session.call("calls.add", 2, 3) == 5


async def test_an_error_keeps_its_uri_args_and_kwargs(wamp):
    callee, caller = await wamp.two()

    def procedure():
        raise ApplicationError("com.example.broken", "why", 42, where="here")

    await callee.register(procedure, "calls.broken")
    error = await error_of(caller.call("calls.broken"))
    assert error.error == "com.example.broken"
    assert error.args == ("why", 42)
    assert error.kwargs["where"] == "here"


@pytest.mark.parametrize(
    ("procedure", "uri"),
    [
        ("calls.nobody.here", "wamp.error.no_such_procedure"),
        ("wamp.nothing.like.this", "wamp.error.no_such_procedure"),
    ],
)
async def test_a_call_of_an_unknown_procedure_is_answered(wamp, procedure, uri):
    caller = await wamp.join()
    assert (await error_of(caller.call(procedure))).error == uri


async def test_progressive_results_come_in_order_before_the_result(wamp):
    """WAMP #rpc-progressive-call-results."""
    callee, caller = await wamp.two("rawsocket", "msgpack")

    async def procedure(count, details=None):
        for number in range(count):
            details.progress(number)
            await asyncio.sleep(0)
        return "done"

    await callee.register(procedure, "calls.progress", RegisterOptions(details_arg="details"))
    progress = []
    options = CallOptions(on_progress=progress.append)
    assert await caller.call("calls.progress", 100, options=options) == "done"
    assert progress == list(range(100))


async def test_a_callee_is_not_asked_for_progress_that_the_caller_does_not_want(wamp):
    callee, caller = await wamp.two()

    def procedure(details=None):
        return details.progress is None

    await callee.register(procedure, "calls.noprogress", RegisterOptions(details_arg="details"))
    assert await caller.call("calls.noprogress") is True


class Slow:
    """A procedure that never returns; `began` and `canceled` are events that it sets."""

    def __init__(self):
        self.began, self.canceled = asyncio.Event(), asyncio.Event()

    async def __call__(self):
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.canceled.set()
            raise ApplicationError("wamp.error.canceled", "as you wish") from None


@pytest.mark.parametrize(
    ("mode", "interrupted"), [("kill", True), ("killnowait", True), ("skip", False)]
)
async def test_a_canceled_call_ends_with_an_error(wamp, cluster, mode, interrupted):
    """WAMP #rpc-call-canceling."""
    callee = await wamp.join()
    slow = Slow()
    await callee.register(slow, f"calls.cancel.{mode}")
    with closing(RawWamp(cluster.rawsocket)) as caller:
        caller.send(CALL, 1, {}, f"calls.cancel.{mode}")
        await slow.began.wait()
        caller.send(CANCEL, 1, {"mode": mode})
        reply = await asyncio.to_thread(caller.receive)
    assert reply[:3] == [ERROR, CALL, 1]
    assert reply[4] == "wamp.error.canceled"
    if interrupted:
        await slow.canceled.wait()
    assert await callee.call("wamp.session.count") >= 1
    assert slow.canceled.is_set() is interrupted


async def test_a_call_may_be_canceled_by_its_future(wamp):
    callee, caller = await wamp.two()
    slow = Slow()
    await callee.register(slow, "calls.cancel.future")
    call = caller.call("calls.cancel.future")
    await slow.began.wait()
    call.cancel()
    await slow.canceled.wait()
    assert await caller.call("wamp.session.count") >= 2


async def test_a_call_times_out(wamp, cluster):
    """WAMP #rpc-call-timeouts; the timeout is in milliseconds.

    The callee is a raw client: autobahn-python does not begin a call that is over when it reads it.
    """
    caller = await wamp.join(gateway=1)
    with closing(at_gateway(cluster, 0)) as callee:
        callee.do(REGISTER, {}, "calls.timeout", answer=REGISTERED)
        error = await error_of(caller.call("calls.timeout", options=CallOptions(timeout=50)))
        assert error.error == "wamp.error.timeout"
        invocation, interrupt = callee.receive(), callee.receive()
        assert (invocation[0], interrupt[:2]) == (INVOCATION, [INTERRUPT, invocation[1]])


async def test_calls_of_a_callee_that_leaves_are_answered(wamp):
    callee, caller = await wamp.two()
    slow = Slow()
    await callee.register(slow, "calls.leaves")
    call = caller.call("calls.leaves")
    await slow.began.wait()
    await callee.bye()
    assert (await error_of(call)).error == "wamp.error.canceled"
    assert (await error_of(caller.call("calls.leaves"))).error == "wamp.error.no_such_procedure"


@pytest.mark.parametrize(
    ("match", "pattern", "matching", "other"),
    [
        ("prefix", "calls.p1", ["calls.p1", "calls.p1.x.y", "calls.p1x"], "calls.p2"),
        ("wildcard", "calls.w1..go", ["calls.w1.a.go", "calls.w1.b.go"], "calls.w1.a.stay"),
    ],
)
async def test_a_pattern_registration_takes_calls_that_match(wamp, match, pattern, matching, other):
    """WAMP #pattern-based-registration."""
    callee, caller = await wamp.two()

    def procedure(details=None):
        return details.procedure

    options = RegisterOptions(match=match, details_arg="details")
    await callee.register(procedure, pattern, options)
    for uri in matching:
        assert await caller.call(uri) == uri
    assert (await error_of(caller.call(other))).error == "wamp.error.no_such_procedure"


async def test_an_exact_registration_precedes_patterns_and_a_longer_prefix_a_shorter(wamp):
    callee, caller = await wamp.two()
    for answer, uri, match in [
        ("exact", "calls.precedence.a.b", "exact"),
        ("longer", "calls.precedence.a", "prefix"),
        ("shorter", "calls.precedence", "prefix"),
        ("wildcard", "calls..a.c", "wildcard"),
    ]:
        await callee.register(lambda answer=answer: answer, uri, RegisterOptions(match=match))
    assert await caller.call("calls.precedence.a.b") == "exact"
    assert await caller.call("calls.precedence.a.c") == "longer"
    assert await caller.call("calls.precedence.b") == "shorter"
    assert await caller.call("calls.other.a.c") == "wildcard"


@pytest.mark.parametrize(
    ("invoke", "expected"),
    [
        ("first", ["0"] * 6),
        ("last", ["2"] * 6),
        ("roundrobin", ["0", "1", "2"] * 2),
        ("random", None),
    ],
)
async def test_callees_share_a_registration(wamp, invoke, expected):
    """WAMP #rpc-shared-registration."""
    caller = await wamp.join()
    options = RegisterOptions(invoke=invoke)
    for number in range(3):
        callee = await wamp.join(gateway=number % 2)
        await callee.register(lambda name=str(number): name, f"calls.shared.{invoke}", options)
    answers = [await caller.call(f"calls.shared.{invoke}") for _ in range(6)]
    if expected is not None:
        assert answers == expected
    else:
        assert set(answers) <= {"0", "1", "2"}


async def test_a_second_registration_is_refused_unless_it_is_forced(wamp):
    """WAMP #rpc-shared-registration; `force_reregister` revokes the existing registration."""
    first, second = await wamp.two()
    await first.register(lambda: "first", "calls.single")
    with pytest.raises(ApplicationError) as caught:
        await second.register(lambda: "second", "calls.single")
    assert caught.value.error == "wamp.error.procedure_already_exists"
    await second.register(lambda: "second", "calls.single", RegisterOptions(force_reregister=True))
    assert await first.call("calls.single") == "second"


async def test_an_unregistered_procedure_is_not_found(wamp):
    callee, caller = await wamp.two()
    registration = await callee.register(lambda: 1, "calls.unregister")
    assert await caller.call("calls.unregister") == 1
    await registration.unregister()
    error = await error_of(caller.call("calls.unregister"))
    assert error.error == "wamp.error.no_such_procedure"


async def test_a_caller_is_disclosed_if_it_asks_for_that(wamp, cluster):
    """WAMP #rpc-caller-identification. A raw client asks for it, because autobahn-python cannot."""
    callee = await wamp.join()

    def procedure(details=None):
        return [details.caller, details.caller_authrole]

    await callee.register(procedure, "calls.disclosed", RegisterOptions(details_arg="details"))
    with closing(RawWamp(cluster.rawsocket)) as caller:
        for options, expected in [
            ({}, [None, None]),
            ({"disclose_me": True}, [caller.session, "anonymous"]),
        ]:
            caller.request += 1
            caller.send(CALL, caller.request, options, "calls.disclosed")
            reply = await asyncio.to_thread(caller.receive)
            assert reply == [RESULT, caller.request, {}, [expected]]


async def test_a_concurrency_limit_queues_what_exceeds_it(wamp):
    callee, caller = await wamp.two()
    running, most, free, full = 0, 0, asyncio.Event(), asyncio.Event()

    async def procedure(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            full.set()
        await free.wait()
        running -= 1
        return number

    await callee.register(procedure, "calls.limited", RegisterOptions(concurrency=2))
    calls = [caller.call("calls.limited", number) for number in range(10)]
    await full.wait()
    free.set()
    assert await asyncio.gather(*calls) == list(range(10))
    assert most == 2


async def test_each_of_many_calls_at_once_gets_its_own_result(wamp):
    callee, caller = await wamp.two("rawsocket", "msgpack")

    async def procedure(number):
        await asyncio.sleep(0)
        return number * number

    await callee.register(procedure, "calls.square")
    results = await asyncio.gather(*(caller.call("calls.square", n) for n in range(1000)))
    assert results == [n * n for n in range(1000)]
