"""Scenarios of calls in a smooth world.

Owns: what happens in each. Never: what must always be true (see `rpc_checks`). Each takes a seed,
and raises AssertionError with the trace.
"""

from collections import Counter
from functools import partial
from random import Random

from fox_shard.testing.recording_wamp_client import RecordingWampClient
from fox_shard.testing.records import CallRecord, Plan, RegistrationRecord
from fox_shard.testing.rpc_checks import (
    CANCELED,
    NO_SUCH_PROCEDURE,
    QUEUE_FULL,
    TIMEOUT,
    check_invocation_order,
    check_queue_order,
)
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

NEVER = Plan("never")


def _world(seed: int, queue_limit: int = 1000) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((2, 4, 5)),
        max_delay=rng.choice((0.005, 0.02, 0.05)),
        queue_limit=queue_limit,
    )


def calls_in_order(seed: int) -> None:
    """One caller's calls reach one callee in order, over procedures, patterns and shards."""
    run = Run(_world(seed))
    rng = run.rng
    callees = [run.wamp(), run.wamp()]
    callers = [run.wamp(), run.wamp()]
    run.settle()
    for number, callee in enumerate(callees):
        for procedure in ("add", "sub", "mul"):
            callee.register(f"c{number}.{procedure}")
        callee.register(f"c{number}.pre", "prefix")
        callee.register(f"c{number}..wild", "wildcard")
        callee.register(f"*.c{number}.#")
    run.settle()
    names = ["add", "sub", "mul", "prefix", "pre.x", "1.wild", "2.wild", "3.wild"]
    parts: list[list[Action]] = []
    for caller in callers:
        part: list[Action] = []
        for _ in range(25):
            number = rng.randrange(2)
            name = f"c{number}.{rng.choice(names)}"
            if rng.random() < 0.2:
                name = f"{rng.choice('xyz')}.c{number}.{rng.choice('uvw')}"
            steps = rng.choice((0, 0, 1, 3))
            plan = Plan(rng.choice(("yield", "yield", "error")), steps, rng.choice((0.0, 0.01)))
            part.append(partial(caller.call, name, plan, progress=rng.random() < 0.8))
        parts.append(part)
    run.interleave(parts, rng.choice((0.0, 0.0005, 0.004)))
    run.end()
    check_invocation_order(run.world, callees, callers)
    _all_were_asked(run, callers, callees)
    run.leave()


def _all_were_asked(
    run: Run, callers: list[RecordingWampClient], callees: list[RecordingWampClient]
) -> None:
    asked = Counter((one.caller, one.number) for callee in callees for one in callee.invoked)
    called = Counter((one.caller, one.number) for caller in callers for one in caller.calls)
    if asked != called:
        difference = (asked - called) + (called - asked)
        raise AssertionError(run.world.report(f"not asked once: {difference}"))


def policies(seed: int) -> None:
    """Invocations go to callees as the policy says (WAMP #rpc-shared-registration)."""
    run = Run(_world(seed))
    rng = run.rng
    callees = [run.wamp() for _ in range(3)]
    caller = run.wamp()
    run.settle()
    for policy in ("first", "last", "roundrobin", "random"):
        for callee in callees:
            callee.register(f"shared.{policy}", invoke=policy)
            run.settle()
        callees[0].register(f"shared.{policy}", invoke="single")
    callees[0].register("shared.single")
    run.settle()
    callees[1].register("shared.single")
    run.settle()
    refused = [
        registration.refused
        for callee in callees
        for registration in callee.registrations
        if registration.refused
    ]
    different = "wamp.error.procedure_exists_with_different_invocation_policy"
    expected = [different] * 4 + ["wamp.error.procedure_already_exists"]
    run.world.check(refused == expected, f"refused {refused}")
    kinds = ["first", "last", "roundrobin", "random", "single"] * 6
    rng.shuffle(kinds)
    run.perform([partial(caller.call, f"shared.{kind}") for kind in kinds])
    run.end()
    asked = [Counter(one.procedure for one in callee.invoked) for callee in callees]
    for kind, times in (
        ("first", [6, 0, 0]),
        ("last", [0, 0, 6]),
        ("roundrobin", [2, 2, 2]),
        ("single", [6, 0, 0]),
    ):
        counts = [count[f"shared.{kind}"] for count in asked]
        run.world.check(counts == times, f"{kind}: {counts}, not {times}")
    run.world.check(sum(count["shared.random"] for count in asked) == 6, f"{asked}")
    run.leave()


def queues(seed: int) -> None:
    """Concurrency is never exceeded, and the queue of calls is ordered and bounded."""
    rng = Random(f"queues {seed}")
    limit = rng.choice((3, 8, 1000))
    run = Run(_world(seed, limit))
    several = rng.random() < 0.5
    callees = [run.wamp() for _ in range(3 if several else 1)]
    callers = [run.wamp() for _ in range(3)]
    run.settle()
    for callee in callees:
        concurrency = rng.choice((1, 2, 5))
        callee.register("busy", invoke="roundrobin", concurrency=concurrency)
        callee.register("pattern", "prefix", invoke="first", concurrency=concurrency)
    run.settle()
    parts: list[list[Action]] = []
    for caller in callers:
        part: list[Action] = []
        for _ in range(15):
            plan = Plan(rng.choice(("yield", "error")), 0, rng.choice((0.0, 0.01, 0.05)))
            part.append(partial(caller.call, rng.choice(("busy", "pattern.x")), plan))
        parts.append(part)
    run.interleave(parts, rng.choice((0.0, 0.002, 0.01)))
    run.end(expected=[QUEUE_FULL] if limit < 1000 else [])
    if not several:
        check_queue_order(run.world, callees)
    run.leave()


def full_queue(seed: int) -> None:
    """A call that finds callees busy and the queue full is refused; waiting calls are answered."""
    limit = 5
    run = Run(_world(seed, limit))
    callee, caller = run.wamp(), run.wamp()
    run.settle()
    procedure, match = run.rng.choice((("slow", "exact"), ("sl", "prefix")))
    callee.register(procedure, match, concurrency=2)
    run.settle()
    calls = [caller.call("slow", NEVER) for _ in range(limit + 2 + 3)]
    run.world.run(1)
    ends = [called.final for called in calls]
    expected = [None] * (limit + 2) + [("error", QUEUE_FULL)] * 3
    run.world.check(ends == expected, f"ended {ends}")
    while any(not one.done for one in callee.invoked):
        for one in callee.invoked:
            callee.finish(one)
        run.world.run(0.2)
    run.end(expected=[QUEUE_FULL])
    asked = [one.number for one in callee.invoked]
    run.world.check(asked == list(range(1, limit + 3)), f"asked for {asked}")
    run.leave()


def cancels(seed: int) -> None:
    """Calls are canceled in every mode and at any time, or take too long."""
    run = Run(_world(seed))
    rng = run.rng
    callees = [run.wamp(), run.wamp()]
    callers = [run.wamp(), run.wamp()]
    run.settle()
    for callee in callees:
        concurrency = rng.choice((0, 1, 3))
        callee.register("exact", invoke="roundrobin", concurrency=concurrency)
        callee.register("some", "prefix", invoke="roundrobin", concurrency=concurrency)
    run.settle()
    parts: list[list[Action]] = [
        [partial(_call_and_cancel, run, caller) for _ in range(12)] for caller in callers
    ]
    run.interleave(parts, rng.choice((0.0, 0.004, 0.02)))
    # An invocation whose call was canceled with `skip` goes on, and occupies the callee.
    run.finish()
    run.end()
    for caller in callers:
        for called in caller.calls:
            _check_cancel(run, called)
    run.leave()


def _call_and_cancel(run: Run, caller: RecordingWampClient) -> None:
    rng, world = run.rng, run.world
    name = rng.choice(("exact", "something", "some.thing", "some.other"))
    plan = Plan(rng.choice(("never", "never", "yield")), rng.choice((0, 2)), 0.03)
    if rng.random() < 0.3:
        caller.call(name, plan, timeout=rng.choice((20, 100, 500)), progress=True)
        return
    called = caller.call(name, plan, progress=True)
    mode = rng.choice(("skip", "kill", "killnowait"))

    def cancel() -> None:
        if called.answered is None:
            caller.cancel(called, mode)

    world.at(world.now + rng.choice((0.0, 0.01, 0.1)), cancel)


def _check_cancel(run: Run, called: CallRecord) -> None:
    if called.cancel in ("skip", "killnowait") and called.answered is not None:
        # The answer takes a round trip, perhaps over another shard.
        late = called.answered - called.canceled
        if late > 6 * run.world.timing.max_delay:
            what = f"canceled with {called.cancel}, answered {late:.3f} s later: {called}"
            raise AssertionError(run.world.report(what, (f'["{called.caller}",{called.number},',)))
    if called.timeout and called.final == ("error", TIMEOUT) and called.answered is not None:
        # The time counts from the last progressive result, which left the shard a little earlier.
        last = called.at if called.progressed is None else called.progressed
        margin = 6 * run.world.timing.max_delay
        late = called.answered - last - called.timeout / 1000
        if not (0 if called.progressed is None else -margin) <= late <= margin:
            raise AssertionError(run.world.report(f"timeout {late:.3f} s late: {called}"))


def departures(seed: int) -> None:
    """Callees and callers unregister, leave or vanish while calls are in progress."""
    run = Run(_world(seed))
    rng = run.rng
    callees = [run.wamp() for _ in range(4)]
    callers = [run.wamp() for _ in range(3)]
    run.settle()
    registrations: list[tuple[RecordingWampClient, RegistrationRecord]] = []
    for callee in callees:
        for name, match in (("one", "exact"), ("two.", "prefix"), ("three.#", "exact")):
            if rng.random() < 0.7:
                limit = rng.choice((0, 1, 2))
                registration = callee.register(name, match, invoke="roundrobin", concurrency=limit)
                registrations.append((callee, registration))
    run.settle()
    parts: list[list[Action]] = []
    for caller in callers:
        part: list[Action] = [partial(_call_any, run, caller) for _ in range(12)]
        if rng.random() < 0.4:
            part.append(partial(caller.leave, graceful=rng.random() < 0.5))
        parts.append(part)
    ends: list[Action] = [
        partial(_unregister, callee, registration) for callee, registration in registrations
    ]
    parts += [[end] for end in ends if rng.random() < 0.4]
    parts.append([partial(_reregister, run, callees[0])])
    # In the end all callees have left, and yet all calls must be answered.
    parts.append([partial(callee.leave, graceful=rng.random() < 0.5) for callee in callees[1:]])
    run.interleave(parts, rng.choice((0.002, 0.01)))
    run.world.run(rng.random() * 0.2)
    callees[0].leave(graceful=rng.random() < 0.5)
    run.end(expected=[CANCELED, NO_SUCH_PROCEDURE])
    run.leave()


def _call_any(run: Run, caller: RecordingWampClient) -> None:
    if caller.connected:
        name = run.rng.choice(("one", "two.x", "two.y", "three.a.b"))
        end = run.rng.choice(("never", "yield", "error"))
        caller.call(name, Plan(end, run.rng.choice((0, 2)), 0.01), progress=True)


def _unregister(callee: RecordingWampClient, registration: RegistrationRecord) -> None:
    if callee.connected and registration.confirmed and not registration.ended:
        callee.unregister(registration)


def _reregister(run: Run, callee: RecordingWampClient) -> None:
    """Take the procedure over; invocations at the other callees may still be answered."""
    if callee.connected:
        callee.register("one", invoke=run.rng.choice(("single", "last")), force=True)
