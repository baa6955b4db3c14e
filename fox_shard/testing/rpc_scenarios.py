"""Scenarios of calls in a smooth world.

Owns: what happens in each. Never: what must always be true (see `rpc_checks`). Each takes a seed,
and raises AssertionError with the trace.
"""

from collections import Counter
from functools import partial
from random import Random

from fox_shard.testing.cast import Cast, Deed
from fox_shard.testing.records import Called, Offer, Plan
from fox_shard.testing.rpc_checks import (
    CANCELED,
    NO_SUCH_PROCEDURE,
    QUEUE_FULL,
    TIMEOUT,
    check_invocation_order,
    check_queue_order,
)
from fox_shard.testing.wamp_participant import Wamp
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
    """What one caller calls reaches one callee in order, over procedures, patterns and shards."""
    cast = Cast(_world(seed))
    rng = cast.rng
    callees = [cast.wamp(), cast.wamp()]
    callers = [cast.wamp(), cast.wamp()]
    cast.settle()
    for number, callee in enumerate(callees):
        for procedure in ("add", "sub", "mul"):
            callee.register(f"c{number}.{procedure}")
        callee.register(f"c{number}.pre", "prefix")
        callee.register(f"c{number}..wild", "wildcard")
        callee.register(f"*.c{number}.#")
    cast.settle()
    names = ["add", "sub", "mul", "prefix", "pre.x", "1.wild", "2.wild", "3.wild"]
    parts: list[list[Deed]] = []
    for caller in callers:
        part: list[Deed] = []
        for _ in range(25):
            number = rng.randrange(2)
            name = f"c{number}.{rng.choice(names)}"
            if rng.random() < 0.2:
                name = f"{rng.choice('xyz')}.c{number}.{rng.choice('uvw')}"
            steps = rng.choice((0, 0, 1, 3))
            plan = Plan(rng.choice(("yield", "yield", "error")), steps, rng.choice((0.0, 0.01)))
            part.append(partial(caller.call, name, plan, progress=rng.random() < 0.8))
        parts.append(part)
    cast.interleave(parts, rng.choice((0.0, 0.0005, 0.004)))
    cast.end()
    check_invocation_order(cast.world, callees, callers)
    _all_were_asked(cast, callers, callees)
    cast.leave()


def _all_were_asked(cast: Cast, callers: list[Wamp], callees: list[Wamp]) -> None:
    asked = Counter((one.caller, one.number) for callee in callees for one in callee.invoked)
    called = Counter((one.caller, one.number) for caller in callers for one in caller.calls)
    if asked != called:
        difference = (asked - called) + (called - asked)
        raise AssertionError(cast.world.report(f"not asked once: {difference}"))


def policies(seed: int) -> None:
    """Who is asked follows from the policy (WAMP #rpc-shared-registration)."""
    cast = Cast(_world(seed))
    rng = cast.rng
    callees = [cast.wamp() for _ in range(3)]
    caller = cast.wamp()
    cast.settle()
    for policy in ("first", "last", "roundrobin", "random"):
        for callee in callees:
            callee.register(f"shared.{policy}", invoke=policy)
            cast.settle()
        callees[0].register(f"shared.{policy}", invoke="single")
    callees[0].register("shared.single")
    cast.settle()
    callees[1].register("shared.single")
    cast.settle()
    refused = [offer.refused for callee in callees for offer in callee.offers if offer.refused]
    different = "wamp.error.procedure_exists_with_different_invocation_policy"
    expected = [different] * 4 + ["wamp.error.procedure_already_exists"]
    cast.world.check(refused == expected, f"refused {refused}")
    kinds = ["first", "last", "roundrobin", "random", "single"] * 6
    rng.shuffle(kinds)
    cast.play([partial(caller.call, f"shared.{kind}") for kind in kinds])
    cast.end()
    asked = [Counter(one.procedure for one in callee.invoked) for callee in callees]
    for kind, times in (
        ("first", [6, 0, 0]),
        ("last", [0, 0, 6]),
        ("roundrobin", [2, 2, 2]),
        ("single", [6, 0, 0]),
    ):
        counts = [count[f"shared.{kind}"] for count in asked]
        cast.world.check(counts == times, f"{kind}: {counts}, not {times}")
    cast.world.check(sum(count["shared.random"] for count in asked) == 6, f"{asked}")
    cast.leave()


def queues(seed: int) -> None:
    """Concurrency is never exceeded, the queue is first in first out and bounded."""
    rng = Random(f"queues {seed}")
    limit = rng.choice((3, 8, 1000))
    cast = Cast(_world(seed, limit))
    several = rng.random() < 0.5
    callees = [cast.wamp() for _ in range(3 if several else 1)]
    callers = [cast.wamp() for _ in range(3)]
    cast.settle()
    for callee in callees:
        concurrency = rng.choice((1, 2, 5))
        callee.register("busy", invoke="roundrobin", concurrency=concurrency)
        callee.register("pattern", "prefix", invoke="first", concurrency=concurrency)
    cast.settle()
    parts: list[list[Deed]] = []
    for caller in callers:
        part: list[Deed] = []
        for _ in range(15):
            plan = Plan(rng.choice(("yield", "error")), 0, rng.choice((0.0, 0.01, 0.05)))
            part.append(partial(caller.call, rng.choice(("busy", "pattern.x")), plan))
        parts.append(part)
    cast.interleave(parts, rng.choice((0.0, 0.002, 0.01)))
    cast.end(expected=[QUEUE_FULL] if limit < 1000 else [])
    if not several:
        check_queue_order(cast.world, callees)
    cast.leave()


def full_queue(seed: int) -> None:
    """Beyond capacity and queue a call is refused at once; what waits is answered later."""
    limit = 5
    cast = Cast(_world(seed, limit))
    callee, caller = cast.wamp(), cast.wamp()
    cast.settle()
    procedure, match = cast.rng.choice((("slow", "exact"), ("sl", "prefix")))
    callee.register(procedure, match, concurrency=2)
    cast.settle()
    calls = [caller.call("slow", NEVER) for _ in range(limit + 2 + 3)]
    cast.world.run(1)
    ends = [called.final for called in calls]
    expected = [None] * (limit + 2) + [("error", QUEUE_FULL)] * 3
    cast.world.check(ends == expected, f"ended {ends}")
    while any(not one.done for one in callee.invoked):
        for one in callee.invoked:
            callee.finish(one)
        cast.world.run(0.2)
    cast.end(expected=[QUEUE_FULL])
    asked = [one.number for one in callee.invoked]
    cast.world.check(asked == list(range(1, limit + 3)), f"asked for {asked}")
    cast.leave()


def cancels(seed: int) -> None:
    """Canceled calls, in every mode and at every time, and calls that take too long."""
    cast = Cast(_world(seed))
    rng = cast.rng
    callees = [cast.wamp(), cast.wamp()]
    callers = [cast.wamp(), cast.wamp()]
    cast.settle()
    for callee in callees:
        concurrency = rng.choice((0, 1, 3))
        callee.register("exact", invoke="roundrobin", concurrency=concurrency)
        callee.register("some", "prefix", invoke="roundrobin", concurrency=concurrency)
    cast.settle()
    parts: list[list[Deed]] = [
        [partial(_call_and_cancel, cast, caller) for _ in range(12)] for caller in callers
    ]
    cast.interleave(parts, rng.choice((0.0, 0.004, 0.02)))
    # What was canceled with `skip` goes on at the callee, and occupies it.
    cast.finish()
    cast.end()
    for caller in callers:
        for called in caller.calls:
            _check_cancel(cast, called)
    cast.leave()


def _call_and_cancel(cast: Cast, caller: Wamp) -> None:
    rng, world = cast.rng, cast.world
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


def _check_cancel(cast: Cast, called: Called) -> None:
    if called.cancel in ("skip", "killnowait") and called.answered is not None:
        # There and back, perhaps over another shard.
        late = called.answered - called.canceled
        if late > 6 * cast.world.timing.max_delay:
            what = f"canceled with {called.cancel}, answered {late:.3f} s later: {called}"
            raise AssertionError(cast.world.report(what, (f'["{called.caller}",{called.number},',)))
    if called.timeout and called.final == ("error", TIMEOUT) and called.answered is not None:
        late = called.answered - called.at - called.timeout / 1000
        if not 0 <= late <= 6 * cast.world.timing.max_delay:
            raise AssertionError(cast.world.report(f"timeout {late:.3f} s late: {called}"))


def departures(seed: int) -> None:
    """Callees and callers unregister, leave and vanish with calls under way."""
    cast = Cast(_world(seed))
    rng = cast.rng
    callees = [cast.wamp() for _ in range(4)]
    callers = [cast.wamp() for _ in range(3)]
    cast.settle()
    offers: list[tuple[Wamp, Offer]] = []
    for callee in callees:
        for name, match in (("one", "exact"), ("two.", "prefix"), ("three.#", "exact")):
            if rng.random() < 0.7:
                limit = rng.choice((0, 1, 2))
                offer = callee.register(name, match, invoke="roundrobin", concurrency=limit)
                offers.append((callee, offer))
    cast.settle()
    parts: list[list[Deed]] = []
    for caller in callers:
        part: list[Deed] = [partial(_call_any, cast, caller) for _ in range(12)]
        if rng.random() < 0.4:
            part.append(partial(caller.leave, graceful=rng.random() < 0.5))
        parts.append(part)
    ends: list[Deed] = [partial(_unregister, callee, offer) for callee, offer in offers]
    parts += [[end] for end in ends if rng.random() < 0.4]
    parts.append([partial(_reregister, cast, callees[0])])
    # In the end all callees have left: nobody is there to answer, and yet all is answered.
    parts.append([partial(callee.leave, graceful=rng.random() < 0.5) for callee in callees[1:]])
    cast.interleave(parts, rng.choice((0.002, 0.01)))
    cast.world.run(rng.random() * 0.2)
    callees[0].leave(graceful=rng.random() < 0.5)
    cast.end(expected=[CANCELED, NO_SUCH_PROCEDURE])
    cast.leave()


def _call_any(cast: Cast, caller: Wamp) -> None:
    if caller.here:
        name = cast.rng.choice(("one", "two.x", "two.y", "three.a.b"))
        end = cast.rng.choice(("never", "yield", "error"))
        caller.call(name, Plan(end, cast.rng.choice((0, 2)), 0.01), progress=True)


def _unregister(callee: Wamp, offer: Offer) -> None:
    if callee.here and offer.confirmed and not offer.ended:
        callee.unregister(offer)


def _reregister(cast: Cast, callee: Wamp) -> None:
    """Take the procedure over; what is running at the others may still be answered."""
    if callee.here:
        callee.register("one", invoke=cast.rng.choice(("single", "last")), force=True)
