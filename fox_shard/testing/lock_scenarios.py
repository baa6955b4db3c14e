"""Scenarios of locks: publishes that wait for a key, while processes die and clients leave.

Owns: what happens in each, and what must be true of the locks. Each takes a seed, and raises
AssertionError with the trace.

A lock is a key that is published with `when: null`, `weak` and `watch`; its publication id is the
fencing token. The session that gets PUBLISHED holds the lock until it erases the key or ends.
"""

from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, final

from fox_shard.shard import rows
from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import fail_disk, kill_a_shard, random_fault, relink
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

PUBLISHED, ERROR = 17, 8
UNAVAILABLE = "fox.error.unavailable_store"
FAILED = "fox.error.condition_failed"
LOCKS = ("lock.a", "lock.b")

LONG = 60.0
"""Seconds within which all clients must have held the lock as often as they want."""


@final
class Hold:
    """A period in which a client held a lock.

    since: when PUBLISHED came. until: when the client released the lock; None: not yet.
    """

    def __init__(self, lock: str, token: int, since: float) -> None:
        self.lock = lock
        self.token = token
        self.since = since
        self.until: float | None = None


@final
class Locker:
    """A client that takes a lock, holds it a while, and releases it, several times.

    left: how often the client will still ask for a lock. gone: it has left by itself.
    """

    def __init__(
        self, world: World, gateway: int, rng: Random, times: int, *, remembers: bool
    ) -> None:
        """times: how often to take a lock. remembers: locks survive the death of their shard."""
        self.world = world
        self._gateway = f"gateway-{gateway}"
        self.remembers = remembers
        self.rng = rng
        self.left = times
        self.holds: list[Hold] = []
        self.answers: dict[int, int] = {}
        self._asked: dict[int, tuple[str, float]] = {}
        self._releasing: dict[int, Hold] = {}
        self.client = WampClient(world, gateway, on_message=self._message)
        self.gone = False

    @property
    def waits(self) -> bool:
        """Whether the client, which is still connected, waits for an answer."""
        return bool(self._asked or self._releasing) and not (self.client.closed or self.gone)

    @property
    def done(self) -> bool:
        """Whether the client will do nothing more."""
        return self.client.closed or self.gone or not (self.left or self.waits)

    def go(self) -> None:
        """Ask for a lock, unless an answer is awaited."""
        if self.done or self._asked or not self.client.session:
            return
        self.left -= 1
        lock, seconds = self.rng.choice(LOCKS), self.rng.choice((0.0, 0.0, 0.2))
        options: dict[str, Any] = {"when": None, "weak": True, "watch": True}
        options["retain"] = seconds or True
        request = self.client.publish(lock, self.left, acknowledge=True, **options)
        self._asked[request] = lock, seconds

    def leave(self) -> None:
        """End the session, with or without a goodbye, and so release all locks."""
        if self.done:
            return
        self.gone = True
        self._let_go()
        if self.rng.random() < 0.5:
            self.client.drop()
        else:
            self.client.leave()

    def _let_go(self) -> None:
        for hold in self.holds:
            if hold.until is None:
                hold.until = self.world.now

    def _message(self, message: list[Any]) -> None:
        if self.gone or message[0] not in (PUBLISHED, ERROR):
            return
        request = message[1] if message[0] == PUBLISHED else message[2]
        self.answers[request] = self.answers.get(request, 0) + 1
        if request in self._asked:
            self._lock_answered(*self._asked.pop(request), message)
        elif request in self._releasing:
            self._release_answered(self._releasing.pop(request), message)

    def _lock_answered(self, lock: str, seconds: float, message: list[Any]) -> None:
        if message[0] == ERROR:
            self._refused(message)
            self.left += 1
            self.world.at(self.world.now + 0.5, self.go)
            return
        hold = Hold(lock, message[2], self.world.now)
        self.holds.append(hold)
        if seconds:
            # The key may have expired before PUBLISHED came: only the order of tokens is checked.
            hold.until = 0.0
            self.world.at(self.world.now + seconds, self.go)
            return
        self.world.at(self.world.now + self.rng.random() * 0.02, partial(self._release, hold))

    def _release(self, hold: Hold) -> None:
        if self.gone or self.client.closed:
            return
        # Another client may get the lock as soon as this is sent.
        hold.until = hold.until or self.world.now
        options = {"acknowledge": True, "retain": True, "when_id": hold.token}
        self._releasing[self.client.publish(hold.lock, **options)] = hold

    def _release_answered(self, hold: Hold, message: list[Any]) -> None:
        forgotten = message[0] == ERROR and message[4] == FAILED and not self.remembers
        if message[0] == ERROR and not forgotten:
            self._refused(message)
            # The lock is still held, and no other client can have got it meanwhile.
            self.world.at(self.world.now + 0.5, partial(self._release, hold))
        else:
            self.world.at(self.world.now + self.rng.random() * 0.01, self.go)

    def _refused(self, message: list[Any]) -> None:
        self.world.check(message[4] == UNAVAILABLE, f"a locker got {message}")

    def end(self) -> None:
        """Note the end of all locks if the client's gateway was killed, or ended the session.

        A session that has ended may have lost its locks while its gateway stood still, before the
        client knew. Of such holds only the order of tokens is checked.
        """
        if self.client.closed:
            for hold in self.holds:
                closed = self.client.closed_at
                hold.until = closed if hold.until is None else min(hold.until, closed)
        paused = self.world.pauses.get(self._gateway)
        if paused and (self.client.closed or self.gone):
            for hold in self.holds:
                if hold.until is None or hold.until > paused[0]:
                    hold.until = 0.0


def _world(seed: int, unstored: tuple[str, ...] = ()) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 3)),
        max_delay=rng.choice((0.005, 0.02)),
        unstored=unstored,
    )


def lock_run(seed: int) -> Run:
    """Begin a run in which locks survive the death of their shards."""
    return Run(_world(seed))


def locks(seed: int) -> None:
    """A lock has one holder at a time, and every waiter gets its turn once, whatever dies."""
    run = lock_run(seed)
    faults: list[Action] = [partial(random_fault, run) for _ in range(run.rng.choice((0, 1, 2)))]
    kill_one = partial(kill_a_shard, run.world, run.rng)
    faults += [kill_one for _ in range(run.rng.choice((0, 1, 3)))]
    take_turns(run, faults)


def locks_in_memory(seed: int) -> None:
    """A shard that dies forgets who holds a lock; the waiters get their turns all the same."""
    run = Run(_world(seed, ("realm1",)))
    faults: list[Action] = [partial(random_fault, run) for _ in range(run.rng.choice((0, 1, 2, 4)))]
    take_turns(run, faults, remembers=False)


def locks_on_a_failing_disk(seed: int) -> None:
    """Locks work while disks fail for a while: waiters keep waiting, new ones are refused."""
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    shards = [name for name in world.disks if name.startswith("shard")]

    def fail() -> None:
        fail_disk(world, rng.choice(shards), rng.choice((0.01, 0.1, 2.5)))

    faults: list[Action] = [fail for _ in range(rng.choice((1, 2)))]
    take_turns(run, faults)


def take_turns(
    run: Run, faults: list[Action], *, remembers: bool = True, patience: float = 0.0
) -> None:
    """Have clients take locks during faults, and check the locks.

    remembers: see `Locker`. patience: seconds that the faults may last.
    """
    world, rng = run.world, run.rng
    lockers = [
        Locker(world, rng.randrange(world.gateways), rng, rng.choice((1, 3)), remembers=remembers)
        for _ in range(6)
    ]
    world.run_until(lambda: all(one.client.session for one in lockers))
    leavers = [one for one in lockers if rng.random() < 0.3]
    parts: list[list[Action]] = [[one.go] for one in lockers]
    parts += [[one.leave] for one in leavers]
    for fault in faults:
        world.at(world.now + rng.random() * rng.choice((0.05, 0.5)), fault)
    run.interleave(parts, rng.choice((0.005, 0.05)))
    world.run(patience)
    relink(world)
    world.run_until(lambda: all(one.done for one in lockers), LONG)
    become_quiet(world)
    for one in lockers:
        one.end()
        twice = {request: count for request, count in one.answers.items() if count > 1}
        world.check(not twice, f"requests were answered more than once: {twice}")
    for lock in LOCKS if remembers else ():
        _check_holds(world, [hold for one in lockers for hold in one.holds if hold.lock == lock])
    for one in lockers:
        if not (one.client.closed or one.gone):
            one.client.drop()
    become_quiet(world)
    _check_that_nothing_waits(world)


def _check_holds(world: World, holds: list[Hold]) -> None:
    """Check that each holder had let go before the next one, by token, got the lock."""
    holds.sort(key=lambda hold: hold.token)
    for one, other in pairwise(holds):
        spans = [(hold.token, hold.since, hold.until) for hold in (one, other)]
        world.check(one.token < other.token, f"two hold the same: {spans}", (one.lock,))
        apart = one.until is not None and one.until <= other.since
        world.check(apart, f"two held {one.lock} at a time: {spans}", (one.lock,))


def _check_that_nothing_waits(world: World) -> None:
    for shard in world.shard_cores:
        world.check(not shard.retained_keys.keys_held, f"{shard.name} has keys", LOCKS)
        world.check(shard.retained_keys.owners.idle, f"{shard.name} knows of owners")
        world.check(not shard.health()["waiting_publishes"], f"somebody waits at {shard.name}")
        left = [key for key in world.disks[shard.name].rows if key[:1] == rows.WAITER]
        world.check(not left, f"{shard.name} has stored waiters: {left}")
