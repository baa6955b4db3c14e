"""Scenarios of an application that has the server in its process, with programs beside it.

Owns: what happens in each, and what must be true. Each takes a seed, and raises AssertionError with
the trace.

The process is killed and starts again, as a whole. What the application does in it begins anew each
time; what was acknowledged to it, or to others, must be there.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from random import Random

from fox_shard.testing.application import Application
from fox_shard.testing.client_lock_scenarios import (
    LONG,
    NOTICED,
    Hold,
    Worker,
    check_overlaps,
    check_tokens,
)
from fox_shard.testing.client_scenarios import (
    RULES,
    Caller,
    Follower,
    Host,
    Server,
    Talker,
    Watcher,
    check_calls,
    check_follower,
    check_procedures,
    check_talker,
    check_watchers,
    client_world,
    end,
    faults_for,
    join,
    read_history,
    settle,
)
from fox_shard.testing.faults import kill
from fox_shard.testing.one_process import in_one_process
from fox_shard.testing.programs import Program
from fox_shard.testing.run import Action, Run


def _begin(seed: int) -> Run:
    with in_one_process():
        return Run(client_world(seed, history=RULES))


def _faults(run: Run, programs: Sequence[Program]) -> list[Action]:
    """Return what happens: the whole process dies more often than elsewhere."""
    rng, world = run.rng, run.world
    faults = faults_for(run, programs)
    faults += [partial(kill, world, "gateway-0", rng) for _ in range(rng.choice((0, 1, 2)))]
    return faults


def _if_alive(application: Application, action: Action) -> None:
    if application.alive:
        action()


def _settle(run: Run, application: Application, programs: Sequence[Program]) -> None:
    settle(run, programs)
    there = application.alive and application.realm.session
    run.world.check(there, "the application has no session")


def _end(run: Run, programs: Sequence[Program]) -> None:
    end(run, programs)
    run.world.kill("gateway-0")


def an_application_publishes_and_follows(seed: int) -> None:
    """What the application publishes is not lost, and it misses nothing in any of its lives."""
    run = _begin(seed)
    world, rng = run.world, run.rng
    followers: list[Follower] = []
    watchers: list[Watcher] = []

    def each_life() -> None:
        followers.append(Follower(application))
        watchers.append(Watcher(application))

    application = Application(world, "app", each_life)
    world.run_until(lambda: application.alive)
    own = Talker(application)
    programs = [Program(world, name) for name in ("t0", "t1", "f", "k")]
    talkers = [Talker(program) for program in programs[:2]]
    follower, watcher = Follower(programs[2]), Watcher(programs[3])
    join(run, programs)
    parts: list[list[Action]] = [[one.publish for _ in range(20)] for one in talkers]
    parts.append([partial(_if_alive, application, own.publish) for _ in range(20)])
    run.interleave([*parts, _faults(run, programs)], rng.choice((0.004, 0.05, 0.4)))
    _settle(run, application, programs)
    history = read_history(world)
    for talker in (own, *talkers):
        check_talker(talker, history)
    for one in followers[:-1]:
        twice = {id_ for id_, times in Counter(one.seen).items() if times > 1}
        world.check(not twice, f"the application has seen {twice} twice in one life")
    for one in (followers[-1], follower):
        check_follower(one, history)
    check_watchers(world, [watchers[-1], watcher])
    _end(run, programs)


def an_application_calls_and_is_called(seed: int) -> None:
    """Each call ends, with one answer, and the application's procedures come back with it."""
    run = _begin(seed)
    world, rng = run.world, run.rng
    lives: list[Server] = []
    application = Application(world, "app", lambda: lives.append(Server(application)))
    world.run_until(lambda: application.alive)
    own = Caller(application)
    programs = [Program(world, name) for name in ("s0", "c0")]
    server, caller = Server(programs[0]), Caller(programs[1])
    join(run, programs)
    procedures = ["shared", "own.app", "own.s0"]
    parts: list[list[Action]] = [
        [partial(caller.call, rng.choice(procedures)) for _ in range(25)],
        [
            partial(_if_alive, application, partial(own.call, rng.choice(procedures)))
            for _ in range(25)
        ],
    ]
    run.interleave([*parts, _faults(run, programs)], rng.choice((0.004, 0.05, 0.4)))
    _settle(run, application, programs)
    check_calls(caller, [server, *lives])
    for one in (caller, own):
        check_procedures(one, procedures)
    _end(run, programs)


def an_application_holds_locks(seed: int) -> None:
    """One body runs at a time, in the application or elsewhere, and locks die with it."""
    run = _begin(seed)
    world, rng = run.world, run.rng
    holds: list[Hold] = []
    chance = Random(f"locks {seed}")

    def each_life() -> None:
        Worker(application, chance.choice((3, 6)), holds).begin()

    application = Application(world, "app", each_life)
    world.run_until(lambda: application.alive)
    programs = [Program(world, f"p{number}") for number in range(3)]
    workers = [Worker(program, rng.choice((3, 6)), holds) for program in programs]
    join(run, programs)
    for worker in workers:
        worker.begin()
    run.perform(_faults(run, programs), rng.choice((0.2, 1.0, 4.0)))
    _settle(run, application, programs)
    hosts: list[Host] = [application, *programs]
    world.run_until(lambda: not any(one.running for one in hosts), LONG)
    check_tokens(world, holds)
    check_overlaps(world, holds, NOTICED)
    own = [hold for hold in holds if hold.program is application]
    others = [hold for hold in holds if hold.program is not application]
    for hold in own:
        beside = [one for one in others if one.lock == hold.lock and _is_late(hold, one)]
        world.check(not beside, f"the application's {hold} went on beside {beside}")
    _end(run, programs)


def _is_late(hold: Hold, other: Hold) -> bool:
    return other.token > hold.token and other.since < hold.until
