"""Scenarios of conditions, expiry and weak keys, while processes die.

Owns: what happens in each, and what must be true of the keys. Each takes a seed, and raises
AssertionError with the trace.
"""

from functools import partial
from random import Random
from typing import Any, final

from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import random_fault, recover, relink
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

PUBLISHED, ERROR, EVENT = 17, 8, 36
FAILED = "fox.error.condition_failed"
COUNTER = "counter"


def _world(seed: int) -> World:
    rng = Random(f"world {seed}")
    return World(
        seed,
        gateways=rng.choice((2, 3)),
        shards=rng.choice((1, 3)),
        max_delay=rng.choice((0.005, 0.02)),
        unstored=rng.choice(((), (), ("realm2",))),
    )


@final
class CountingClient:
    """A client that changes one key by compare-and-set, from the id that the client believes in.

    done: (former id, new id) of each acknowledged change.
    """

    def __init__(self, world: World, gateway: int, times: int) -> None:
        self.world = world
        self.done: list[tuple[int, int]] = []
        self._left = times
        self._known = 0
        self._asked: dict[int, int] = {}
        self.client = WampClient(world, gateway, on_message=self._message)

    @property
    def waits(self) -> bool:
        """Whether the client, whose gateway is alive, still waits for an answer."""
        return bool(self._asked) and not self.client.closed

    def go(self) -> None:
        """Try a change, unless the client waits for an answer."""
        if self.client.session and not self.client.closed and not self._asked and self._left:
            options: dict[str, Any] = {"acknowledge": True, "retain": True, "when_id": self._known}
            self._asked[self.client.publish(COUNTER, {"n": self._left}, **options)] = self._known

    def _message(self, message: list[Any]) -> None:
        if message[0] == PUBLISHED:
            self.done.append((self._asked.pop(message[1]), message[2]))
            self._known = message[2]
            self._left -= 1
        elif message[0] == ERROR and message[4] == FAILED:
            del self._asked[message[2]]
            self._known = message[6]["publication"]
        elif message[0] == ERROR:
            raise AssertionError(self.world.report(f"a counter got {message}"))
        else:
            return
        self.world.at(self.world.now + 0.002, self.go)


def compare_and_set(seed: int) -> None:
    """Only one of the sessions that saw the same value succeeds, and all get the true answer."""
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    counters = [CountingClient(world, rng.randrange(world.gateways), 15) for _ in range(4)]
    world.run_until(lambda: all(one.client.session for one in counters))
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((0, 1, 2, 4)))]
    run.interleave([[one.go] for one in counters], 0.01)
    run.perform(faults, 0.2)
    relink(world)
    world.run(10)
    for one in counters:
        world.check(not one.waits, "a counter waits for an answer for ever")
    done = [step for one in counters for step in one.done]
    for place, ids in (("from", [was for was, _ in done]), ("to", [new for _, new in done])):
        twice = {id_ for id_ in ids if ids.count(id_) > 1}
        world.check(not twice, f"several succeeded {place} {twice}: {done}", (COUNTER,))
    backwards = [step for step in done if step[1] <= step[0]]
    world.check(not backwards, f"ids went backwards: {backwards}")
    if not any(one.client.closed for one in counters):
        unheard = {was for was, _ in done} - {new for _, new in done} - {0}
        world.check(not unheard, f"no counter was told that it made {unheard}", (COUNTER,))
    _check_counter(world, counters, done)
    become_quiet(world)


def _check_counter(
    world: World, counters: list[CountingClient], done: list[tuple[int, int]]
) -> None:
    """Check that the key has the last acknowledged value, or one that was not acknowledged."""
    reader = WampClient(world, 0)
    world.run_until(lambda: bool(reader.session))
    reader.subscribe(COUNTER, get_retained=True)
    world.run(0.5)
    shown = [message[2] for message in reader.of(EVENT)]
    last = max((new for _, new in done), default=0)
    untold = any(one.client.closed for one in counters)
    holds = shown == [last] or (untold and (not last or shown[-1] >= last)) or not (shown or last)
    world.check(holds, f"the key has {shown}, the last success {last}", (COUNTER,))
    reader.drop()


def keys_expire(seed: int) -> None:
    """Keys exist until their lifetime is over, and not much longer, whatever dies."""
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    writer = WampClient(world, 0)
    world.run_until(lambda: bool(writer.session))
    ends: dict[str, float] = {}
    began = world.now
    for number in range(20):
        topic, seconds = f"key.{number}", rng.choice((0.3, 2.0, 12.0, 30.0))
        writer.publish(topic, number, acknowledge=True, retain=seconds)
        ends[topic] = world.now + seconds
    world.run_until(lambda: len(writer.of(PUBLISHED)) == len(ends))
    late = world.now - began + 0.3
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((0, 1, 2)))]
    run.perform(faults, 1.0)
    recover(world)
    for wait in (0.0, 4.0, 20.0):
        world.run(wait)
        _check_expired(run, ends, late)
    become_quiet(world)


def _check_expired(run: Run, ends: dict[str, float], late: float) -> None:
    """Check which keys a new subscriber is shown.

    late: seconds by which a key may expire late: its lifetime begins when the shard handles the
    publish.
    """
    world = run.world
    reader = WampClient(world, run.rng.choice(world.running_gateways))
    world.run_until(lambda: bool(reader.session))
    asked = world.now
    request = reader.subscribe("key.", match="prefix", get_retained=True)
    world.run_until(lambda: bool(reader.answer(33, request)))
    world.run(0.2)
    shown = {f"key.{message[4][0]}" for message in reader.of(EVENT)}
    for topic, end in ends.items():
        if topic in shown:
            world.check(asked < end + late, f"{topic} is there {asked - end} s late", (topic,))
        else:
            world.check(world.now > end - 0.01, f"{topic} has gone {end - world.now} s early")
    reader.drop()


def weak_keys(seed: int) -> None:
    """Weak keys exist exactly as long as their sessions, however these end, and whatever dies."""
    run = Run(_world(seed))
    world, rng = run.world, run.rng
    clients = [WampClient(world, rng.randrange(world.gateways)) for _ in range(8)]
    world.run_until(lambda: all(client.session for client in clients))
    gone: list[WampClient] = []
    parts: list[list[Action]] = [
        [partial(_own, client, number, rng), partial(_perhaps_go, client, rng, gone)]
        for number, client in enumerate(clients)
    ]
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((0, 1, 2, 4)))]
    run.interleave([*parts, faults], rng.choice((0.005, 0.05)))
    recover(world)
    world.run(world.terms.peer_timeout)
    become_quiet(world)
    for gateway in range(world.gateways):
        reader = WampClient(world, gateway)
        world.run_until(lambda one=reader: bool(one.session))  # type: ignore[misc]
        reader.subscribe("own.", match="prefix", get_retained=True)
        world.run(0.5)
        shown = sorted(message[4][0] for message in reader.of(EVENT))
        living = [
            number
            for number, client in enumerate(clients)
            if not client.closed and client not in gone
        ]
        world.check(shown == living, f"there are keys of {shown}, and sessions {living}", ("own.",))
        reader.drop()
    for client in clients:
        if not client.closed and client not in gone:
            client.drop()
    become_quiet(world)
    for shard in world.shard_cores:
        world.check(shard.retained_keys.owners.idle, f"{shard.name} knows of owners")
        world.check(not shard.retained_keys.keys_held, f"{shard.name} has keys")


def _own(client: WampClient, number: int, rng: Random) -> None:
    """Publish one weak key that stays, and perhaps two others, which are erased again."""
    for name in "abc"[: rng.choice((1, 3))]:
        client.publish(f"own.{number}.{name}", number, retain=True, weak=True, acknowledge=True)
    for name in "bc":
        client.publish(f"own.{number}.{name}", retain=True, acknowledge=True)


def _perhaps_go(client: WampClient, rng: Random, gone: list[WampClient]) -> None:
    """End the session with a goodbye, or without one, or not at all."""
    end = rng.choice((client.leave, client.drop, None, None))
    if end is not None and not client.closed:
        end()
        gone.append(client)
