"""A scenario of one key that many change at a time: is it as if one had done so after the other?

Owns: what happens, and the check that what everybody was told fits one order of all changes. It
takes a seed, and raises AssertionError with the trace.

Publication ids name that order, so there is nothing to search for (as Wing and Gong do): a witness
who follows the state sees each change with its id, and what each client was told must fit in.
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
class Deal:
    """One publish on the key. number: its value's, 0: it erases. condition: of its options.

    told: the id that it became, or minus the id that the key had instead; None: nothing (yet).
    """

    number: int
    condition: dict[str, Any]
    watch: bool
    began: float
    ended: float | None = None
    told: int | None = None

    @property
    def colour(self) -> str:
        """Of the value."""
        return COLOURS[self.number % 3]


@final
class Dealer:
    """A client that publishes on the key, one thing at a time or several."""

    def __init__(self, world: World, gateway: int, rng: Random, times: int) -> None:
        self.world = world
        self.deals: list[Deal] = []
        self._rng = rng
        self._left = times
        self._known = 0
        self._by_request: dict[int, Deal] = {}
        self.client = WampClient(world, gateway, on_message=self._message)

    @property
    def done(self) -> bool:
        """Everything that will be answered has been."""
        waits = any(not deal.watch for deal in self._by_request.values())
        return self.client.closed or not (self._left or waits)

    @property
    def watching(self) -> bool:
        """Does it wait for a turn?"""
        return bool(self._by_request) and not self.client.closed

    def go(self, numbers: list[int]) -> None:
        """Publish something. numbers: the last one taken."""
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
        deal = Deal(number, condition, bool(condition) and rng.random() < 0.3, self.world.now)
        self._publish(deal)
        self.world.at(self.world.now + rng.random() * 0.01, partial(self.go, numbers))

    def put(self, numbers: list[int]) -> None:
        """Whatever there is."""
        numbers[0] += 1
        self._publish(Deal(numbers[0], {}, watch=False, began=self.world.now))

    def erase(self) -> None:
        """Whatever there is, so that somebody gets a turn."""
        self._publish(Deal(0, {}, watch=False, began=self.world.now))

    def _publish(self, deal: Deal) -> None:
        self.deals.append(deal)
        options: dict[str, Any] = {"acknowledge": True, "retain": True, **deal.condition}
        if deal.watch:
            options["watch"] = True
        args = [{"n": deal.number, "colour": deal.colour}] if deal.number else []
        self._by_request[self.client.publish(KEY, *args, **options)] = deal

    def _message(self, message: list[Any]) -> None:
        if message[0] == PUBLISHED:
            deal = self._by_request.pop(message[1])
            deal.told = self._known = message[2]
        elif message[0] == ERROR:
            self.world.check(message[4] == FAILED, f"a dealer got {message}")
            deal = self._by_request.pop(message[2])
            self._known = message[6]["publication"]
            deal.told = -self._known
        else:
            return
        deal.ended = self.world.now


def one_key(seed: int) -> None:
    """All that is done to one key, by many at a time, fits one order; whatever dies."""
    rng = Random(f"world {seed}")
    world = World(seed, gateways=3, shards=rng.choice((1, 3)), max_delay=rng.choice((0.005, 0.02)))
    run = Run(world)
    rng = run.rng
    # Its gateway is spared, so that it sees everything.
    witness = WampClient(world, 0)
    dealers = [Dealer(world, rng.randrange(3), rng, 8) for _ in range(4)]
    world.run_until(lambda: all(c.session for c in (witness, *(one.client for one in dealers))))
    request = witness.subscribe(KEY, retained=True)
    world.run_until(lambda: bool(witness.answer(33, request)))
    numbers = [0]
    kind = rng.choice(("shard", "gateway"))
    for _ in range(rng.choice((0, 1, 2, 4))):
        when = world.now + rng.random() * rng.choice((0.05, 0.3))
        world.at(when, partial(_a_fault, world, rng, kind))
    run.interleave([[partial(one.go, numbers)] for one in dealers], 0.01)
    world.run(0.5)
    relink(world)
    world.run_until(lambda: all(one.done for one in dealers), 30)
    _let_all_through(world, dealers, numbers)
    become_quiet(world)
    changes = [
        (event[2], event[4][0]["n"] if len(event) > 4 and event[4] else 0)
        for event in witness.of(EVENT)
    ]
    deals = [deal for one in dealers for deal in one.deals]
    _check_order(world, changes, deals)
    _check_conditions(world, changes, deals)
    _check_failures(world, changes, deals)


def _a_fault(world: World, rng: Random, kind: str) -> None:
    """kind: of the processes that die.

    Where a shard and a publisher's gateway die together, the witness may miss a change in between.
    """
    name = rng.choice(
        [name for name in world.names if name.startswith(kind) and name != "gateway-0"]
    )
    if rng.random() < 0.3:
        lose(world, rng)
    elif name in world.nodes:
        world.kill(name)
        world.at(world.now + rng.choice(DOWN), lambda: world.start(name))


def _let_all_through(world: World, dealers: list[Dealer], numbers: list[int]) -> None:
    """Those who wait for an id or a colour have to be content with what comes."""
    waiting = [deal for one in dealers for deal in one.deals if deal.watch and deal.told is None]
    for _ in range(2 * len(waiting) + 1):
        alive = next((one for one in dealers if not one.client.closed), None)
        if alive is None:
            return
        # What is erased without being there is no change.
        alive.put(numbers)
        alive.erase()
        world.run(0.5)
    for one in dealers:
        left = [
            deal for deal in one.deals if deal.told is None and deal.condition == {"when": None}
        ]
        if not one.client.closed:
            world.check(not left, f"these waited for there being no key, in vain: {left}", (KEY,))


def _check_order(world: World, changes: list[tuple[int, int]], deals: list[Deal]) -> None:
    """The witness saw each change once, in the order of ids, and time runs that way, too."""
    ids = [id_ for id_, _ in changes]
    world.check(ids == sorted(set(ids)), f"the witness saw {ids}", (KEY,))
    seen = dict(changes)
    told = [deal for deal in deals if deal.told is not None and deal.told > 0]
    for deal in told:
        number = seen.get(deal.told or 0, 0)
        world.check(number == deal.number, f"the witness saw {changes}, told was {deal}", (KEY,))
    told.sort(key=lambda deal: deal.told or 0)
    for place, deal in enumerate(told):
        late = [
            one for one in told[place + 1 :] if one.ended is not None and one.ended < deal.began
        ]
        world.check(not late, f"{late} had ended when {deal} began, and has a higher id", (KEY,))


def _check_conditions(world: World, changes: list[tuple[int, int]], deals: list[Deal]) -> None:
    """Each change that was told met its condition with what was before it."""
    for deal in deals:
        if deal.told is not None and deal.told > 0:
            before = (0, 0)
            for change in changes:
                if change[0] < deal.told:
                    before = change
            holds = _holds(deal, *before)
            world.check(holds, f"{deal} was let through by {before}: {changes}", (KEY,))


def _check_failures(world: World, changes: list[tuple[int, int]], deals: list[Deal]) -> None:
    """Who was refused was told of a value that was there meanwhile, and did not meet it."""
    ended = {deal.told: deal.ended for deal in deals if deal.told is not None and deal.ended}
    for deal in deals:
        if deal.told is None or deal.told > 0 or deal.ended is None:
            continue
        present = -deal.told
        what = f"{deal} failed, among {changes}"
        if present:
            number = dict(changes).get(present, 0)
            world.check(number, f"{what}: there was no such value", (KEY,))
            world.check(not _holds(deal, present, number), f"{what}: it did meet it", (KEY,))
            later = [id_ for id_, _ in changes if id_ > present]
        else:
            world.check(not _holds(deal, 0, 0), f"{what}: no key met it", (KEY,))
            later = []
        over = [id_ for id_ in later[:1] if ended.get(id_, deal.began) < deal.began]
        world.check(not over, f"{what}: that had been over before it began", (KEY,))


def _holds(deal: Deal, id_: int, number: int) -> bool:
    """id_, number: of the key's value; number 0: there is none."""
    if "when_id" in deal.condition:
        return bool(deal.condition["when_id"] == (id_ if number else 0))
    if "when" not in deal.condition:
        return True
    wanted = deal.condition["when"]
    if wanted is None or not number:
        return wanted is None and not number
    return bool(wanted["colour"] == COLOURS[number % 3])
