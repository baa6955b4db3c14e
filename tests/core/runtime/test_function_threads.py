"""Python functions in threads beside the event loop."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from fox_shard.gateway.consulting.functions import AT_ONCE, FunctionCall, FunctionCalls
from fox_shard.gateway.consulting.outcomes import Advice, NoAdvice
from fox_shard.runtime.function_threads import FunctionThreads
from fox_shard.worker.functions import MissingFunction, find


async def _outcomes(functions, *names, seconds=60.0):
    """Call functions at once, and return the outcomes in the order of the names."""
    calls = FunctionCalls()
    gateway = SimpleNamespace(
        name="gateway-0", now=0.0, consultations=SimpleNamespace(functions=calls)
    )
    threads = FunctionThreads(gateway, functions, lambda: threads.begin())
    waits = [asyncio.get_running_loop().create_future() for _ in names]
    for name, wait in zip(names, waits, strict=True):
        calls.add(FunctionCall(name, [2], {"by": 3}, seconds, wait.set_result))
    threads.begin()
    return await asyncio.gather(*waits)


def outcomes(functions, *names, **how):
    return asyncio.run(_outcomes(functions, *names, **how))


def multiply(number, *, by):
    return number * by


async def multiply_later(number, *, by):
    await asyncio.sleep(0)
    return number * by


async def never(number, *, by):
    await asyncio.Event().wait()


def leave(number, *, by):
    raise SystemExit(3)


async def leave_later(number, *, by):
    await asyncio.sleep(0)
    raise SystemExit(3)


def interrupt(number, *, by):
    raise KeyboardInterrupt


def fail(number, *, by):
    raise LookupError("nobody")


def test_functions_sync_and_async_are_called():
    found = outcomes({"a:sync": multiply, "a:async": multiply_later}, "a:sync", "a:async")
    assert found == [Advice(6), Advice(6)]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fail, "LookupError: nobody"),
        (leave, "SystemExit: 3"),
        (leave_later, "SystemExit: 3"),
        (interrupt, "KeyboardInterrupt: "),
    ],
)
def test_a_function_that_fails_gives_no_advice(function, message):
    functions = {"a:b": function, "a:next": multiply, "a:later": multiply_later}
    # More often than there are threads: none may be lost.
    found = outcomes(functions, *["a:b"] * (AT_ONCE + 1), "a:next", "a:later")
    failed = NoAdvice("error", message, "wamp.error.runtime_error")
    assert found == [failed] * (AT_ONCE + 1) + [Advice(6)] * 2


def test_an_async_function_is_canceled_when_its_time_is_over():
    found = outcomes({"a:b": never}, *["a:b"] * (AT_ONCE + 1), seconds=0.01)
    assert {one.why for one in found} == {"timeout"}


def test_a_function_that_nobody_loaded_is_missing():
    (found,) = outcomes({}, "a:b")
    assert found.why == "no_callee"


def test_more_functions_than_threads_are_all_called():
    names = ["a:b"] * (3 * AT_ONCE)
    seen = set()

    def where(number, *, by):
        seen.add(threading.current_thread().name)

    assert outcomes({"a:b": where}, *names) == [Advice(None)] * len(names)
    assert threading.current_thread().name not in seen


def test_what_cannot_be_found_is_said_in_words(tmp_path):
    (tmp_path / "some_rules.py").write_text("class Rules:\n    decide = staticmethod(len)\n")
    assert find("some_rules:Rules.decide", tmp_path, "authenticator") is len
    with pytest.raises(MissingFunction, match="The authenticator some_rules:no cannot be loaded"):
        find("some_rules:no", tmp_path, "authenticator")
