"""Scenarios of the history, while processes die and disks fail.

Owns: what happens in each, and what must be true of the history. Each takes a seed, and raises
AssertionError with the trace.

Each publisher publishes numbers on topics of its own. Readers read the history all the time, and
every event that they have seen must be there at the end.
"""

from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, final

from fox_shard.config import History as Rule
from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import fail_disk, kill, kill_a_shard, random_fault, relink
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World
from fox_shard.topics.ids import SHARDS

CALL, ERROR, PUBLISHED, SUBSCRIBED, EVENT, RESULT = 48, 8, 17, 33, 36, 50
GET_EVENTS = "wamp.subscription.get_events"
STORE = "fox.error.unavailable_store"
DOWN = "wamp.error.unavailable"

RULES = (Rule(topic="ruled.#"),)

PAGE = 7
"""Number of events that a reader requests at a time."""


@final
class Publisher:
    """A client that publishes 1, 2, 3, … on a topic of a rule or with `trace`.

    Most publishes are acknowledged. answers: publication id by number.
    """

    def __init__(self, world: World, gateway: int, name: str, rng: Random) -> None:
        self.world = world
        self.name = name
        self.rng = rng
        # Number -> topic, and whether the publish is acknowledged.
        self.sent: dict[int, tuple[str, bool]] = {}
        self.answers: dict[int, int] = {}
        self.refused: set[int] = set()
        self._asked: dict[int, int] = {}
        self.client = WampClient(world, gateway, on_message=self._message)

    @property
    def waits(self) -> bool:
        """Whether the client, whose gateway is alive, still waits for an answer."""
        return bool(self._asked) and not self.client.closed

    def publish(self) -> None:
        """Publish the next number."""
        if self.client.closed or not self.client.session:
            return
        number = len(self.sent) + 1
        ruled, acknowledge = self.rng.random() < 0.5, self.rng.random() < 0.8
        topic = f"{'ruled' if ruled else 'traced'}.{self.name}.{self.rng.choice('xy')}"
        self.sent[number] = (topic, acknowledge)
        options: dict[str, Any] = {} if ruled else {"trace": True}
        if self.rng.random() < 0.2:
            options["retain"] = True
        if acknowledge:
            options["acknowledge"] = True
        request = self.client.publish(topic, self.name, number, **options)
        if acknowledge:
            self._asked[request] = number

    def _message(self, message: list[Any]) -> None:
        if message[0] == PUBLISHED:
            number = self._asked.pop(message[1])
            self.answers[number] = message[2]
        elif message[0] == ERROR:
            self.world.check(message[4] == STORE, f"{self.name} got {message}")
            self.refused.add(self._asked.pop(message[2]))


@final
class Reader:
    """A client that reads the whole history again and again.

    whole: the ids of the last complete reading. readings: number of complete readings. stopped: no
    reading begins any more.
    """

    def __init__(self, world: World, gateway: int) -> None:
        self.world = world
        # Publication id -> topic, publisher and number, of all events that were ever seen.
        self.seen: dict[int, tuple[str, str, int]] = {}
        # The ids of the reading in progress.
        self._pages: list[int] = []
        self.whole: list[int] | None = None
        self.readings = 0
        self.stopped = False
        self._subscription = 0
        self._request = 0
        self.client = WampClient(world, gateway, on_message=self._message)

    def begin(self) -> None:
        """Subscribe to everything; the first reading begins when the answer has come."""
        self.client.subscribe("#")

    def _message(self, message: list[Any]) -> None:
        match message:
            case [2, *_]:
                self.begin()
            case [33, _, subscription]:
                self._subscription = subscription
                self._ask()
            case [50, request, _, [events], _] if request == self._request:
                self._page(events)
            case [8, 48, request, _, uri, *_] if request == self._request:
                self.world.check(uri == DOWN, f"a reader got {message}")
                self._again()

    def _page(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            publisher, number = event["args"]
            seen = (event["details"]["topic"], publisher, number)
            known = self.seen.setdefault(event["publication"], seen)
            self.world.check(known == seen, f"{event['publication']} was {known}, is {seen}")
            self._pages.append(event["publication"])
        if len(events) < PAGE:
            self.whole, self.readings = self._pages, self.readings + 1
            self._again()
        else:
            self._ask()

    def _again(self) -> None:
        self._pages = []
        if self.stopped:
            return
        self.world.at(self.world.now + 0.02, self._ask)

    def _ask(self) -> None:
        if self.client.closed:
            return
        named: dict[str, Any] = {"limit": PAGE}
        if self._pages:
            named["after_publication"] = self._pages[-1]
        self._request = self.client.request(CALL, {}, GET_EVENTS, [self._subscription], named)


def _world(seed: int) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 3)),
        max_delay=rng.choice((0.005, 0.02)),
        history=RULES,
    )


def history_survives(seed: int) -> None:
    """Acknowledged events are recorded once, in order, whatever dies."""
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((0, 1, 3)))]
    faults += [partial(kill_a_shard, world, rng) for _ in range(rng.choice((0, 1, 2)))]
    if rng.random() < 0.2:
        faults += [partial(kill, world, name, rng) for name in world.names]
    publishers, readers = _publish(run, faults)
    _check(run, publishers, readers)


def history_on_a_failing_disk(seed: int) -> None:
    """Refused events are not recorded, and events that were seen stay, while disks fail."""
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    shards = [name for name in world.disks if name.startswith("shard")]

    def fail() -> None:
        fail_disk(world, rng.choice(shards), rng.choice((0.01, 0.1, 1.5)))

    publishers, readers = _publish(run, [fail for _ in range(rng.choice((1, 2)))])
    history = _check(run, publishers, readers)
    for one in publishers:
        found = one.refused & {number for _, name, number in history.values() if name == one.name}
        world.check(not found, f"{one.name} was refused, and yet recorded: {found}")


def _publish(run: Run, faults: list[Action]) -> tuple[list[Publisher], list[Reader]]:
    world, rng = run.world, run.rng
    publishers = [
        Publisher(world, rng.randrange(world.gateways), f"p{number}", rng) for number in range(4)
    ]
    readers = [Reader(world, gateway) for gateway in range(world.gateways)]
    clients = [*(one.client for one in publishers), *(one.client for one in readers)]
    world.run_until(lambda: all(client.session for client in clients))
    parts: list[list[Action]] = [[one.publish for _ in range(20)] for one in publishers]
    run.interleave([*parts, faults], rng.choice((0.001, 0.004)))
    relink(world)
    world.run_until(lambda: not any(one.waits for one in publishers))
    for reader in readers:
        reader.stopped = True
    become_quiet(world)
    return publishers, readers


Found = dict[int, tuple[str, str, int]]
"""Publication id -> topic, publisher and number, in the order of the history."""


def _check(run: Run, publishers: list[Publisher], readers: list[Reader]) -> Found:
    """Check the history, which must be the same at all gateways and complete; return it."""
    world = run.world
    found: list[Found] = []
    for gateway in range(world.gateways):
        fresh = Reader(world, gateway)
        fresh.stopped = True  # after the first reading
        world.run_until(lambda one=fresh: one.readings)  # type: ignore[misc]
        whole = fresh.whole or []
        world.check(whole == sorted(set(whole)), f"the history came as {whole}")
        found.append({id_: fresh.seen[id_] for id_ in whole})
        fresh.client.drop()
    history = found[0]
    world.check(all(one == history for one in found), "gateways do not show the same history")
    for reader in readers:
        missing = {id_: one for id_, one in reader.seen.items() if history.get(id_) != one}
        world.check(not missing, f"what was seen is not there: {missing}")
        reader.client.drop()
    for one in publishers:
        _check_publisher(world, one, history)
        one.client.drop()
    become_quiet(world)
    return history


def _check_publisher(world: World, one: Publisher, history: Found) -> None:
    about = (f'["{one.name}",', "killed", "starts", "disk")
    mine = {
        id_: (topic, number) for id_, (topic, name, number) in history.items() if name == one.name
    }
    numbers = [number for _, number in mine.values()]
    world.check(len(numbers) == len(set(numbers)), f"{one.name} is recorded twice: {mine}", about)
    for number, id_ in one.answers.items():
        right = mine.get(id_) == (one.sent[number][0], number)
        world.check(right, f"{one.name}'s {number} is not there as {id_}: {mine}", about)
    for topic in sorted({topic for topic, _ in mine.values()}):
        order = [number for of, number in mine.values() if of == topic]
        sorted_ = all(a < b for a, b in pairwise(order))
        world.check(sorted_, f"{one.name}'s order on {topic} is {order}", about)


@final
class Follower:
    """A client that follows everything from the beginning of the history, over reconnections.

    The client continues after a list of the last id of each shard, or, if `loose`, after one id.
    seen: ids of all events. topics: by id.
    """

    def __init__(self, world: World, gateway: int, *, loose: bool) -> None:
        self.world = world
        self.loose = loose
        self.seen: list[int] = []
        self.topics: dict[int, str] = {}
        # The number of connections; messages of an earlier one are ignored.
        self._connection = 0
        self.client = self._join(gateway)

    def _join(self, gateway: int) -> WampClient:
        self._connection += 1
        return WampClient(self.world, gateway, on_message=partial(self._message, self._connection))

    def _message(self, connection: int, message: list[Any]) -> None:
        if connection != self._connection:
            return
        if message[0] == 2:
            self.client.subscribe("#", after=self._position())
        elif message[0] == EVENT:
            self.seen.append(message[2])
            self.topics[message[2]] = message[3]["topic"]
        elif message[0] == ERROR:
            raise AssertionError(self.world.report(f"a follower got {message}"))

    def _position(self) -> int | list[int]:
        if self.loose or not self.seen:
            return self.seen[-1] if self.seen else 0
        last: dict[int, int] = {}
        for id_ in self.seen:
            last[id_ % SHARDS] = max(id_, last.get(id_ % SHARDS, 0))
        return list(last.values())

    def come_back(self, gateway: int) -> None:
        """Leave without a goodbye, if still connected, and continue at that gateway."""
        self.client.drop()
        self.client = self._join(gateway)


def history_is_followed(seed: int) -> None:
    """Followers miss no event between history and live events, nor between connections.

    No event comes twice, except to followers that continue after a single id.
    """
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    world.run(3)  # a single id reaches back two seconds, which must not precede the beginning
    followers = [Follower(world, rng.randrange(2), loose=rng.random() < 0.3) for _ in range(3)]
    actions: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((0, 0, 1, 2)))]
    for follower in followers:
        for _ in range(rng.choice((0, 1, 2))):
            actions.append(partial(_come_back, world, follower, rng))
    publishers, readers = _publish(run, actions)
    relink(world)
    for follower in followers:
        if follower.client.closed:
            follower.come_back(0)
    world.run(3)
    history = _check(run, publishers, readers)
    for follower in followers:
        seen = [id_ for id_ in follower.seen if id_ in history]
        missing = set(history) - set(seen)
        world.check(not missing, f"a follower has not seen {missing}, but {seen}")
        again = len(seen) - len(set(seen))
        world.check(follower.loose or not again, f"a follower has seen {again} twice: {seen}")
        follower.client.drop()
    late = Follower(world, 0, loose=False)
    world.run(3)
    world.check(late.seen == list(history), f"a late follower saw {late.seen}, not {history}")
    late.client.drop()
    become_quiet(world)


def _come_back(world: World, follower: Follower, rng: Random) -> None:
    running = world.running_gateways
    if running and follower.client.session:
        follower.come_back(rng.choice(running))
