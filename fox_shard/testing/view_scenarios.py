"""Scenarios of views: subscribers that are shown the keys first, and then their changes.

Owns: what happens in each, and what must be true of the views. Each takes a seed, and raises
AssertionError with the trace.

Writers change keys of their own, one change at a time; each change has a number. A viewer, which
subscribes at any time, must be shown each key as it was, and then every later change, once and in
order, although the replay takes many pages.
"""

from functools import partial
from random import Random
from typing import Any, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import random_fault, relink
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

PUBLISHED, SUBSCRIBED, UNSUBSCRIBED, EVENT = 17, 33, 35, 36
KEYS_PER_WRITER = 12
PADDING = "x" * 15_000
"""Part of each value, so that a page of a replay has few keys."""

EVEN = {"even": True}


@final
class Writer:
    """A client that makes changes of its keys, each after the one before was acknowledged.

    changes: topic -> [(publication id, number)]. The number 0 means that the key was erased, the id
    0 that the change was not acknowledged, and so may have happened or not.
    """

    def __init__(self, world: World, gateway: int, name: str, rng: Random, times: int) -> None:
        self.world = world
        self.changes: dict[str, list[tuple[int, int]]] = {}
        self._rng = rng
        self._left = times
        self._number = 0
        self._topics = [f"view.{name}.{number:02}" for number in range(KEYS_PER_WRITER)]
        self._asked: tuple[int, str, int] | None = None
        self.client = WampClient(world, gateway, on_message=self._message)

    @property
    def done(self) -> bool:
        """Whether the writer will make no more changes."""
        return self.client.closed or not (self._left or self._asked)

    def go(self) -> None:
        """Make the next change."""
        if self.client.closed or not self._left:
            return
        self._left -= 1
        self._number += 1
        topic = self._rng.choice(self._topics)
        number = 0 if self._rng.random() < 0.2 else self._number
        even = number % 2 == 0
        args = [{"n": number, "even": even, "padding": PADDING}] if number else []
        request = self.client.publish(topic, *args, acknowledge=True, retain=True)
        self._asked = request, topic, number

    def _message(self, message: list[Any]) -> None:
        if message[0] == PUBLISHED and self._asked and message[1] == self._asked[0]:
            _, topic, number = self._asked
            self._asked = None
            self.changes.setdefault(topic, []).append((message[2], number))
            self.world.at(self.world.now + self._rng.random() * 0.004, self.go)

    def end(self) -> None:
        """Note the unacknowledged change, if the writer's gateway was killed."""
        if self._asked is not None:
            _, topic, number = self._asked
            self.changes.setdefault(topic, []).append((0, number))


@final
class Viewer:
    """A client that subscribes with the given options and records its events.

    got: topic -> [(publication id, number, details)]. state: subscribed to a state stream.
    filtered: subscribed with a filter.
    """

    def __init__(self, world: World, gateway: int, options: dict[str, Any]) -> None:
        self.options = options
        self.state = options.get("retained", False)
        self.filtered = "filter" in options
        self.got: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}
        self.snapshot_over = False
        self.client = WampClient(world, gateway, on_message=self._message)

    def subscribe(self) -> None:
        """Subscribe to all keys."""
        if not self.client.closed:
            self.client.subscribe("view.", match="prefix", **self.options)

    def _message(self, message: list[Any]) -> None:
        if message[0] == EVENT:
            args = message[4] if len(message) > 4 else []
            number = args[0]["n"] if args else 0
            self.got.setdefault(message[3]["topic"], []).append((message[2], number, message[3]))
        elif message[0] == UNSUBSCRIBED:
            self.snapshot_over = True

    @property
    def view(self) -> dict[str, int]:
        """The keys that exist according to the events: topic -> number."""
        last = {topic: got[-1] for topic, got in self.got.items()}
        return {topic: number for topic, (_, number, _) in last.items() if number}


def views(seed: int) -> None:
    """Replays and changes fit together without gaps or repetitions, whatever dies."""
    rng = Random(f"world {seed}")
    world = World(
        seed,
        gateways=2,
        shards=rng.choice((1, 3)),
        max_delay=rng.choice((0.002, 0.01)),
        unstored=rng.choice(((), (), ("realm1",))),
    )
    run = Run(world)
    rng = run.rng
    writers = [
        Writer(world, rng.randrange(2), name, rng, rng.choice((20, 60))) for name in ("a", "b")
    ]
    viewers = [Viewer(world, rng.randrange(2), options) for options in _some_options(rng)]
    clients = [one.client for one in writers] + [one.client for one in viewers]
    world.run_until(lambda: all(client.session for client in clients))
    parts: list[list[Action]] = [[one.go] for one in writers]
    run.interleave(parts, 0.01)
    for viewer in viewers:
        world.at(world.now + rng.random() * 0.2, viewer.subscribe)
    stored = world.realms[0].store != "memory"
    for _ in range(rng.choice((0, 0, 1, 2)) if stored else 0):
        world.at(world.now + rng.random() * 0.3, partial(random_fault, run))
    world.run(0.5)
    relink(world)
    world.run_until(lambda: all(one.done for one in writers), 60)
    world.run(3)
    for writer in writers:
        writer.end()
    changes = {topic: made for writer in writers for topic, made in writer.changes.items()}
    for viewer in viewers:
        if not viewer.client.closed:
            _check(world, viewer, changes)
    _check_views(world, viewers)
    become_quiet(world)


def _some_options(rng: Random) -> list[dict[str, Any]]:
    possible: list[dict[str, Any]] = [
        {"get_retained": True},
        {"retained": True},
        {"retained": True, "filter": EVEN},
        {"get_retained": True, "filter": {"even": {"$in": [True]}, "n": {"$gt": 0}}},
        {"get_retained": True, "snapshot": True},
        {"retained": True, "snapshot": True, "filter": EVEN},
        {"filter": EVEN},
    ]
    return rng.sample(possible, 4)


def _check(world: World, viewer: Viewer, changes: dict[str, list[tuple[int, int]]]) -> None:
    """Check that the viewer got all changes of each topic since it was shown the key."""
    snapshot = viewer.options.get("snapshot", False)
    world.check(viewer.snapshot_over is snapshot, f"{viewer.options}: no end of the snapshot")
    for topic, everything in viewer.got.items():
        got = _without_idle_removals(everything) if viewer.state else everything
        if not got:
            continue
        ids = [id_ for id_, _, _ in got]
        world.check(ids == sorted(set(ids)), f"{viewer.options} got {topic} as {ids}", (topic,))
        late = [details for _, _, details in got[1:] if details.get("retained")]
        world.check(not late, f"{viewer.options} was shown {topic} behind its events", (topic,))
        first = got[0]
        told = [one for one in changes.get(topic, []) if one[0] > first[0]]
        if first[2].get("retained") is None:
            told.insert(0, first[:2])
        expected = [] if snapshot else _expected(viewer, first, told)
        shown = [one[:2] for one in got if not one[2].get("retained")]
        if not snapshot and changes.get(topic, [(1, 0)])[-1][0] == 0:
            # The last change was not acknowledged, so it may have happened or not.
            shown = shown[: len(expected)]
        what = f"{viewer.options} got {topic}: {got[0][:2]}, {shown}; {told}"
        world.check(shown == expected, what, (topic,))


def _without_idle_removals(
    got: list[tuple[int, int, dict[str, Any]]],
) -> list[tuple[int, int, dict[str, Any]]]:
    """Return the events without removals of keys that were not there.

    A restarted shard sends such removals, because it does not know what subscribers were shown.
    """
    kept: list[tuple[int, int, dict[str, Any]]] = []
    there = False
    for one in got:
        if one[1] or there:
            kept.append(one)
        there = one[1] > 0
    return kept


def _expected(
    viewer: Viewer, first: tuple[int, int, dict[str, Any]], told: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    expected = []
    there = bool(first[2].get("retained"))
    for id_, number in told:
        if not id_:
            continue
        fits = number > 0 and (not viewer.filtered or number % 2 == 0)
        if fits or (not viewer.state and not viewer.filtered):
            expected.append((id_, number))
        elif viewer.state and there:
            expected.append((id_, 0))
        there = fits
    return expected


def _check_views(world: World, viewers: list[Viewer]) -> None:
    """Check that the views of state streams are the same as those of new subscribers."""
    newcomers = [
        Viewer(world, gateway, {"retained": True, "snapshot": True, **more})
        for gateway in (0, 1)
        for more in ({}, {"filter": EVEN})
    ]
    world.run_until(lambda: all(one.client.session for one in newcomers))
    for newcomer in newcomers:
        newcomer.subscribe()
    world.run_until(lambda: all(one.snapshot_over for one in newcomers))
    views = [newcomer.view for newcomer in newcomers]
    world.check(views[:2] == views[2:], f"newcomers were shown {views}")
    for viewer in viewers:
        if viewer.state and not viewer.options.get("snapshot") and not viewer.client.closed:
            right = views[viewer.filtered]
            wrong = {k for k in {*right, *viewer.view} if right.get(k) != viewer.view.get(k)}
            world.check(
                not wrong, f"{viewer.options} believes {viewer.view}, there is {right}", wrong
            )
    for one in newcomers:
        one.client.drop()


def views_of_presence(seed: int) -> None:
    """State streams are right in the end about keys that vanish by themselves, whatever dies."""
    rng = Random(f"world {seed}")
    world = World(seed, gateways=3, shards=rng.choice((1, 3)), max_delay=rng.choice((0.002, 0.01)))
    run = Run(world)
    rng = run.rng
    viewers = [Viewer(world, gateway, {"retained": True}) for gateway in (0, 1)]
    publishers = [WampClient(world, rng.randrange(3)) for _ in range(8)]
    clients = [*publishers, *(one.client for one in viewers)]
    world.run_until(lambda: all(client.session for client in clients))
    for number, publisher in enumerate(publishers):
        for _ in range(rng.choice((1, 3))):
            world.at(world.now + rng.random() * 0.4, partial(_publish, publisher, number, rng))
        if rng.random() < 0.6:
            world.at(world.now + rng.random() * 0.4, publisher.drop)
    for viewer in viewers:
        world.at(world.now + rng.random() * 0.1, viewer.subscribe)
    for _ in range(rng.choice((0, 1, 2, 4))):
        world.at(world.now + rng.random() * 0.4, partial(random_fault, run))
    world.run(0.5)
    relink(world)
    world.run(world.terms.peer_timeout + 2)
    _check_views(world, viewers)
    become_quiet(world)


def _publish(publisher: WampClient, number: int, rng: Random) -> None:
    """Publish or erase a key, which may be weak, expire or have a will."""
    if publisher.closed:
        return
    options: dict[str, Any] = rng.choice(
        (
            {"retain": True, "weak": True},
            {"retain": 0.2},
            {"retain": True, "will": {"n": 1000, "even": True}},
            {"retain": True},
        )
    )
    topic = f"view.{rng.choice((number, 0))}.{rng.randrange(2)}"
    args = [{"n": number + 1, "even": True}] if rng.random() < 0.8 else []
    publisher.publish(topic, *args, acknowledge=True, **options)
