"""Checks of calls and invocations.

Owns: the server's promises about calls, as assertions. Never: clients' behaviour.
"""

from collections.abc import Sequence

from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.records import CallRecord
from fox_shard.testing.world import World

CANCELED = "wamp.error.canceled"
TIMEOUT = "wamp.error.timeout"
NO_SUCH_PROCEDURE = "wamp.error.no_such_procedure"
UNAVAILABLE = "wamp.error.unavailable"
QUEUE_FULL = "fox.error.queue_full"
FAILED = "app.error.failed"


def check_calls(
    world: World,
    clients: Sequence[RecordingWampClient],
    *,
    smooth: bool = True,
    expected: Sequence[str] = (),
) -> None:
    """Check that each call has one final answer, which is its own, after its ordered progress.

    expected: error URIs with which calls may end in addition to those that their plans, timeouts
    and cancellations explain. Raises AssertionError.
    """
    for one in clients:
        for called in one.calls:
            if one.connected or called.answers:
                problem = _problem(called, here=one.connected, smooth=smooth, expected=expected)
                if problem:
                    about = (f'["{one.name}",{called.number},', f"{one.session}")
                    what = f"call {called.number} of {one.name} {problem}: {called}"
                    raise AssertionError(world.report(what, about))


def _problem(called: CallRecord, *, here: bool, smooth: bool, expected: Sequence[str]) -> str:
    progress = [contents for kind, contents in called.answers if kind == "progress"]
    mine = [called.caller, called.number]
    if progress != [[*mine, step] for step in range(len(progress))]:
        return "has progress that is not its own or not in order"
    if called.final is None:
        return "was never answered" if here else ""
    return _problem_of_end(called, len(progress), smooth=smooth, expected=expected)


def _problem_of_end(
    called: CallRecord, progress: int, *, smooth: bool, expected: Sequence[str]
) -> str:
    assert called.final is not None
    kind, contents = called.final
    if kind == "result":
        steps = called.plan.steps if called.progress else 0
        if contents != [called.caller, called.number]:
            return "got another's result"
        if called.plan.end == "error" or progress != steps:
            return f"got {progress} of {steps} progressive results, and then a result"
        return ""
    allowed = {*expected, *([] if smooth else [UNAVAILABLE, CANCELED, NO_SUCH_PROCEDURE])}
    if called.plan.end == "error":
        allowed.add(FAILED)
    if called.cancel:
        allowed.add(CANCELED)
    if called.timeout:
        allowed.add(TIMEOUT)
    return "" if contents in allowed else f"ended with {contents}"


def check_invocation_order(
    world: World, callees: Sequence[RecordingWampClient], callers: Sequence[RecordingWampClient]
) -> None:
    """Check that one caller's calls reach one callee in order (WAMP #ordering-guarantees).

    The callees must not limit concurrency, because calls that wait may be overtaken. Calls that
    ended with `unavailable`, because a shard went down with them, are ignored.
    """
    calls = {(called.caller, called.number): called for one in callers for called in one.calls}
    for callee in callees:
        last: dict[str, int] = {}
        for invoked in callee.invoked:
            called = calls.get((invoked.caller, invoked.number))
            if called is None or called.final == ("error", UNAVAILABLE):
                continue
            if invoked.number <= last.get(invoked.caller, 0):
                what = (
                    f"{callee.name} was asked {invoked.caller}'s {invoked.number} "
                    f"behind {last[invoked.caller]}"
                )
                raise AssertionError(world.report(what, (f'["{invoked.caller}",',)))
            last[invoked.caller] = invoked.number


def check_concurrency(world: World, clients: Sequence[RecordingWampClient]) -> None:
    """Check that no callee had more invocations at once than its `concurrency` (semantics: calls).

    Repeated registrations of a procedure are ignored, because invocations of the first one may
    still arrive.
    """
    for callee in clients:
        for number, registration in enumerate(callee.registrations):
            if any(
                earlier.pattern == registration.pattern for earlier in callee.registrations[:number]
            ):
                continue
            if (
                registration.concurrency
                and registration.most_outstanding > registration.concurrency
            ):
                raise AssertionError(
                    world.report(f"too many at once: {registration}", (callee.name,))
                )


def check_queue_order(world: World, clients: Sequence[RecordingWampClient]) -> None:
    """Check that each caller's calls of a procedure with one callee come in order."""
    for callee in clients:
        last: dict[tuple[str, str], int] = {}
        for invoked in callee.invoked:
            key = (invoked.caller, invoked.procedure)
            if invoked.number <= last.get(key, 0):
                what = f"{callee.name} was asked {key}'s {invoked.number} behind {last[key]}"
                raise AssertionError(world.report(what, (f'["{invoked.caller}",',)))
            last[key] = invoked.number
