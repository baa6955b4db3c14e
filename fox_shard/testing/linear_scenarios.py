"""A scenario of linearizability: concurrent changes of one key must look as if made in sequence.

Owns: what happens, and the check that all answers agree with one order of all changes. The scenario
takes a seed, and raises AssertionError with the trace.

Publication ids give that order, so no search for one is necessary (unlike in the algorithm of Wing
and Gong). A witness, which has a state stream, sees each change with its id, and the answer to each
client must agree with these changes.
"""

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import DOWN, lose, relink
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Run
from fox_shard.testing.world import World

PUBLISHED, ERROR, EVENT = 17, 8, 36
FAILED = "fox.error.condition_failed"
KEY = "one.key"
COLOURS = ("red", "green", "blue")


@dataclass(slots=True)
class Attempt:
    """One publish on the key.

    number: identifies the value; 0: the publish erases the key. condition: its options `when` or
    `when_id`. answer: the publication id, or, if the condition failed, minus the key's id; None: no
    answer so far.
    """

    number: int
    condition: dict[str, Any]
    watch: bool
    began: float
    ended: float | None = None
    answer: int | None = None

    @property
    def colour(self) -> str:
        """The colour in the value, by which conditions select."""
        return COLOURS[self.number % 3]


@final
class Publisher:
    """A client that makes random attempts on the key, without waiting for their answers."""

    def __init__(self, world: World, gateway: int, rng: Random, times: int) -> None:
        self.world = world
        self.attempts: list[Attempt] = []
        self._rng = rng
        self._left = times
        self._known = 0
        self._by_request: dict[int, Attempt] = {}
        self.client = WampClient(world, gateway, on_message=self._message)

    @property
    def done(self) -> bool:
        """Whether all publishes that do not wait for their condition are made and answered."""
        waits = any(not attempt.watch for attempt in self._by_request.values())
        return self.client.closed or not (self._left or waits)

    @property
    def watching(self) -> bool:
        """Whether attempts of the client wait for their condition."""
        return bool(self._by_request) and not self.client.closed

    def go(self, numbers: list[int]) -> None:
        """Make the next attempt, and schedule another. numbers: has the last number of a value."""
        if self.client.closed or not self._left:
            return
        self._left -= 1
        numbers[0] += 1
        rng = self._rng
        condition: dict[str, Any] = rng.choice(
            (
                {},
                {"when_id": self._known},
                {"when": None},
                {"when": {"colour": rng.choice(COLOURS)}},
            )
        )
        number = 0 if rng.random() < 0.3 else numbers[0]
        attempt = Attempt(number, condition, bool(condition) and rng.random() < 0.3, self.world.now)
        self._publish(attempt)
        self.world.at(self.world.now + rng.random() * 0.01, partial(self.go, numbers))

    def put(self, numbers: list[int]) -> None:
        """Publish a new value unconditionally."""
        numbers[0] += 1
        self._publish(Attempt(numbers[0], {}, watch=False, began=self.world.now))

    def erase(self) -> None:
        """Erase the key unconditionally, which may let a waiting publish through."""
        self._publish(Attempt(0, {}, watch=False, began=self.world.now))

    def _publish(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        options: dict[str, Any] = {"acknowledge": True, "retain": True, **attempt.condition}
        if attempt.watch:
            options["watch"] = True
        args = [{"n": attempt.number, "colour": attempt.colour}] if attempt.number else []
        self._by_request[self.client.publish(KEY, *args, **options)] = attempt

    def _message(self, message: list[Any]) -> None:
        if message[0] == PUBLISHED:
            attempt = self._by_request.pop(message[1])
            attempt.answer = self._known = message[2]
        elif message[0] == ERROR:
            self.world.check(message[4] == FAILED, f"a publisher got {message}")
            attempt = self._by_request.pop(message[2])
            self._known = message[6]["publication"]
            attempt.answer = -self._known
        else:
            return
        attempt.ended = self.world.now


def one_key(seed: int) -> None:
    """Concurrent changes of one key, and their answers, fit one order, whatever dies."""
    rng = Random(f"world {seed}")
    world = World(seed, gateways=3, shards=rng.choice((1, 3)), max_delay=rng.choice((0.005, 0.02)))
    run = Run(world)
    rng = run.rng
    # The witness's gateway is not killed, so that the witness sees every change.
    witness = WampClient(world, 0)
    publishers = [Publisher(world, rng.randrange(3), rng, 8) for _ in range(4)]
    world.run_until(lambda: all(c.session for c in (witness, *(one.client for one in publishers))))
    request = witness.subscribe(KEY, retained=True)
    world.run_until(lambda: bool(witness.answer(33, request)))
    numbers = [0]
    kind = rng.choice(("shard", "gateway"))
    for _ in range(rng.choice((0, 1, 2, 4))):
        when = world.now + rng.random() * rng.choice((0.05, 0.3))
        world.at(when, partial(_random_fault, world, rng, kind))
    run.interleave([[partial(one.go, numbers)] for one in publishers], 0.01)
    world.run(0.5)
    relink(world)
    world.run_until(lambda: all(one.done for one in publishers), 30)
    _let_all_through(world, publishers, numbers)
    become_quiet(world)
    changes = [
        (event[2], event[4][0]["n"] if len(event) > 4 and event[4] else 0)
        for event in witness.of(EVENT)
    ]
    attempts = [attempt for one in publishers for attempt in one.attempts]
    _check_order(world, changes, attempts)
    _check_conditions(world, changes, attempts)
    _check_failures(world, changes, attempts)


def _random_fault(world: World, rng: Random, kind: str) -> None:
    """Kill a process of that kind, or lose batches.

    All faults of a run have the same kind: if a shard and a publisher's gateway died together, the
    witness might miss a change.
    """
    name = rng.choice(
        [name for name in world.names if name.startswith(kind) and name != "gateway-0"]
    )
    if rng.random() < 0.3:
        lose(world, rng)
    elif name in world.nodes:
        world.kill(name)
        world.at(world.now + rng.choice(DOWN), lambda: world.start(name))


def _let_all_through(world: World, publishers: list[Publisher], numbers: list[int]) -> None:
    """Change the key until all waiting publishes with `when: null` are let through.

    Those that wait for an id or a colour may have to wait for ever.
    """
    waiting = [
        attempt
        for one in publishers
        for attempt in one.attempts
        if attempt.watch and attempt.answer is None
    ]
    for _ in range(2 * len(waiting) + 1):
        alive = next((one for one in publishers if not one.client.closed), None)
        if alive is None:
            return
        # Erasing counts as a change only if the key exists, so a value is published first.
        alive.put(numbers)
        alive.erase()
        world.run(0.5)
    for one in publishers:
        left = [
            attempt
            for attempt in one.attempts
            if attempt.answer is None and attempt.condition == {"when": None}
        ]
        if not one.client.closed:
            world.check(not left, f"these waited for there being no key, in vain: {left}", (KEY,))


def _check_order(world: World, changes: list[tuple[int, int]], attempts: list[Attempt]) -> None:
    """Check that the witness saw each change once, and that ids grow with time."""
    ids = [id_ for id_, _ in changes]
    world.check(ids == sorted(set(ids)), f"the witness saw {ids}", (KEY,))
    seen = dict(changes)
    successes = [
        attempt for attempt in attempts if attempt.answer is not None and attempt.answer > 0
    ]
    for attempt in successes:
        number = seen.get(attempt.answer or 0, 0)
        world.check(
            number == attempt.number, f"the witness saw {changes}, told was {attempt}", (KEY,)
        )
    successes.sort(key=lambda attempt: attempt.answer or 0)
    for place, attempt in enumerate(successes):
        late = [
            one
            for one in successes[place + 1 :]
            if one.ended is not None and one.ended < attempt.began
        ]
        world.check(not late, f"{late} had ended when {attempt} began, and has a higher id", (KEY,))


def _check_conditions(
    world: World, changes: list[tuple[int, int]], attempts: list[Attempt]
) -> None:
    """Check that each acknowledged change met its condition with the value before."""
    for attempt in attempts:
        if attempt.answer is not None and attempt.answer > 0:
            before = (0, 0)
            for change in changes:
                if change[0] < attempt.answer:
                    before = change
            holds = _holds(attempt, *before)
            world.check(holds, f"{attempt} was let through by {before}: {changes}", (KEY,))


def _check_failures(world: World, changes: list[tuple[int, int]], attempts: list[Attempt]) -> None:
    """Check that each refusal named a value of that time that does not meet the condition."""
    ended = {
        attempt.answer: attempt.ended
        for attempt in attempts
        if attempt.answer is not None and attempt.ended
    }
    for attempt in attempts:
        if attempt.answer is None or attempt.answer > 0 or attempt.ended is None:
            continue
        present = -attempt.answer
        what = f"{attempt} failed, among {changes}"
        if present:
            number = dict(changes).get(present, 0)
            world.check(number, f"{what}: there was no such value", (KEY,))
            world.check(not _holds(attempt, present, number), f"{what}: it did meet it", (KEY,))
            later = [id_ for id_, _ in changes if id_ > present]
        else:
            world.check(not _holds(attempt, 0, 0), f"{what}: no key met it", (KEY,))
            later = []
        over = [id_ for id_ in later[:1] if ended.get(id_, attempt.began) < attempt.began]
        world.check(not over, f"{what}: that had been over before it began", (KEY,))


def _holds(attempt: Attempt, id_: int, number: int) -> bool:
    """Whether the condition holds for a value of the key. id_, number: its own; 0, 0: no key."""
    if "when_id" in attempt.condition:
        return bool(attempt.condition["when_id"] == (id_ if number else 0))
    if "when" not in attempt.condition:
        return True
    wanted = attempt.condition["when"]
    if wanted is None or not number:
        return wanted is None and not number
    return bool(wanted["colour"] == COLOURS[number % 3])
