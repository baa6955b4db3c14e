"""Scenarios of testaments: sessions end by themselves, or with their gateway, while others die.

Owns: the testators, the faults, what watchers must have got. Each scenario takes a seed, and raises
AssertionError with the trace.
"""

from functools import partial
from random import Random
from typing import Any, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.fault_scenarios import fault_world
from fox_shard.testing.faults import RECOVERY, kill_a_shard, lose, recover, sever
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

ADD, FLUSH = "wamp.session.add_testament", "wamp.session.flush_testaments"
TOPICS = ("a.x", "b.y", "c", "d.z", "e")
SCOPES = ("detached", "destroyed")

Testament = tuple[str, int]
"""A testator's name, and the number of its testament."""


@final
class Testator:
    """A client that adds and flushes testaments.

    asked: request → (scope, number) of each testament, or (scope, 0) of a flush. left: the client
    has ended its session.
    """

    def __init__(self, world: World, gateway: int, name: str) -> None:
        self.name = name
        self.gateway = gateway
        self.client = WampClient(world, gateway)
        self.asked: dict[int, tuple[str, int]] = {}
        self.left = False

    def add(self, topic: str, scope: str) -> None:
        """Add the next testament."""
        number = len(self.asked) + 1
        args = [topic, [[self.name, number]], {}]
        request = self.client.request(48, {}, ADD, args, {"scope": scope})
        self.asked[request] = (scope, number)

    def flush(self, scope: str) -> None:
        """Flush all testaments of a scope."""
        self.asked[self.client.request(48, {}, FLUSH, [], {"scope": scope})] = (scope, 0)

    def leave(self, *, graceful: bool) -> None:
        """End the session."""
        self.left = True
        if graceful:
            self.client.leave()
        else:
            self.client.drop()

    @property
    def refused(self) -> list[Any]:
        """The calls that were answered with an error, of which there must be none."""
        return self.client.of(8)

    @property
    def waits(self) -> bool:
        """Whether a call of the session, which goes on, has no answer."""
        return not (self.left or self.client.closed) and len(self.client.of(50)) < len(self.asked)

    def expected(self) -> tuple[list[int], list[int]]:
        """Return the numbers that must be published, in order, and those that may be.

        What was not answered before the session ended may have had its effect.
        """
        must: dict[str, list[int]] = {scope: [] for scope in SCOPES}
        may: list[int] = []
        for request, (scope, number) in self.asked.items():
            answered = self.client.answer(50, request) is not None
            if not number:
                if not answered:
                    may.extend(must[scope])
                must[scope] = []
            elif answered:
                must[scope].append(number)
            else:
                may.append(number)
        return [*must["detached"], *must["destroyed"]], may


def _acts(one: Testator, rng: Random) -> list[Action]:
    acts: list[Action] = []
    for _ in range(rng.choice((2, 5, 9))):
        scope = rng.choice(SCOPES)
        if rng.random() < 0.15:
            acts.append(partial(one.flush, scope))
        else:
            acts.append(partial(one.add, rng.choice(TOPICS), scope))
    return acts


def _begin(seed: int) -> tuple[Run, list[WampClient], list[Testator]]:
    run = Run(fault_world(seed))
    world = run.world
    watchers = [WampClient(world, 0), WampClient(world, 0)]
    testators = [
        Testator(world, run.rng.choice((0, 1)), name) for name in ("one", "two", "three", "four")
    ]
    world.run_until(lambda: all(one.client.session for one in testators))
    requests = [(one, one.subscribe("", match="prefix")) for one in watchers]
    world.run_until(lambda: all(one.answer(33, request) for one, request in requests))
    return run, watchers, testators


def _check(run: Run, watchers: list[WampClient], one: Testator, *, in_order: bool) -> None:
    """Check what the watchers have got of a testator whose session has ended."""
    world = run.world
    world.check(not one.refused, f"{one.name} was refused: {one.refused}")
    must, may = one.expected()
    for watcher in watchers:
        got = [event[1] for event in watcher.events if event[0] == one.name]
        once = len(set(got)) == len(got)
        complete = set(must) <= set(got) <= {*must, *may}
        world.check(once and complete, f"of {one.name} came {got}, not {must} (and perhaps {may})")
        if in_order:
            sure = [number for number in got if number in must]
            world.check(sure == must, f"of {one.name} came {got}, not in the order of {must}")


def testaments(seed: int) -> None:
    """Testaments are published once and in order when a session ends, with whatever links break."""
    run, watchers, testators = _begin(seed)
    world, rng = run.world, run.rng
    parts = [_acts(one, rng) for one in testators]
    faults = rng.choice((0, 0, 1, 2))
    parts.append(
        [partial(rng.choice((sever, lose, kill_a_shard)), world, rng) for _ in range(faults)]
    )
    run.interleave(parts, rng.choice((0.002, 0.02)))
    if rng.random() < 0.5:
        recover(world)
        world.check(not any(one.waits for one in testators), "a call was not answered")
    for one in testators:
        one.leave(graceful=rng.random() < 0.5)
    recover(world)
    for one in testators:
        _check(run, watchers, one, in_order=not faults)
    run.leave(watchers)


def testaments_of_a_gateway(seed: int) -> None:
    """The testaments of a killed gateway's sessions are published once."""
    run, watchers, testators = _begin(seed)
    world, rng = run.world, run.rng
    run.interleave([_acts(one, rng) for one in testators], rng.choice((0.002, 0.02)))
    if rng.random() < 0.5:
        world.run(rng.choice((0.01, 0.5)))
    if rng.random() < 0.3:
        # A restarted shard knows the testaments from its store, and from the gateways' replays.
        kill_a_shard(world, rng)
        recover(world)
    early = rng.choice(testators)
    early.leave(graceful=rng.random() < 0.5)
    world.run(rng.choice((0.0, 0.001, 0.01, 0.5)))
    world.kill("gateway-1")
    back = rng.choice((0.01, 1.0, 8.0))
    world.at(world.now + back, lambda: world.start("gateway-1"))
    world.run(back + world.terms.peer_timeout + RECOVERY)
    become_quiet(world)
    for one in testators:
        if one.gateway == 0 and one is not early:
            one.leave(graceful=rng.random() < 0.5)
    become_quiet(world)
    for one in testators:
        _check(run, watchers, one, in_order=one.gateway == 0)
    run.leave(watchers)
