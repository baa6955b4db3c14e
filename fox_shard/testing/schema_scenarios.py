"""Scenarios of schemas that several clients set at the same time, while processes die.

Owns: what happens in each, and what must be true of the answers and of the shards. Each takes a
seed, and raises AssertionError with the trace.
"""

import json
from functools import partial
from random import Random
from typing import Any, Final, final

from fox_shard.backplane.frames import ActiveTables, DefineTables
from fox_shard.errors import Unavailable
from fox_shard.tables.schema import TableSet
from fox_shard.testing.clients import WampClient
from fox_shard.testing.faults import kill, random_fault, recover
from fox_shard.testing.quiet import become_quiet
from fox_shard.testing.run import Action, Run
from fox_shard.testing.world import World

REALM: Final = "realm1"
ENOUGH: Final = 20
"""Schemas that take effect while nothing fails, before a scenario goes on."""


def _schema(name: str) -> dict[str, Any]:
    table = {"type": "object", "properties": {"id": {"type": "string"}}, "primary_key": ["id"]}
    return {"row": {**table, "title": name}}


def _text(name: str) -> str:
    return TableSet.parse(_schema(name)).text


@final
class Setter:
    """A client that sets a schema, and another one as soon as there is an answer."""

    def __init__(self, run: Run, name: str) -> None:
        self._world = run.world
        self._rng = run.rng
        self._name = name
        self._count = 0
        self._request = 0
        self._client: WampClient | None = None
        self.stopped = False
        #: The versions of the schemas that have taken effect, by the schema's name.
        self.versions: dict[str, int] = {}
        #: The names of the schemas whose place others have taken.
        self.superseded: list[str] = []
        self.go_on()

    def go_on(self) -> None:
        """Connect if there is no connection, and look again in a moment."""
        if self._client is None or self._client.closed:
            gateway = self._rng.randrange(self._world.gateways)
            if f"gateway-{gateway}" in self._world.nodes:
                self._request = 0
                self._client = WampClient(self._world, gateway, on_message=self._received)
        if not self.stopped:
            self._world.at(self._world.now + 0.5, self.go_on)

    @property
    def waits(self) -> bool:
        """Whether a call has no answer."""
        return bool(self._request) and self._client is not None and not self._client.closed

    def _received(self, message: list[Any]) -> None:
        match message:
            case [2, *_]:
                self._set()
            case [50, request, _, [version]] if request == self._request:
                self.versions[self._last] = version
                self._set()
            case [8, 48, request, _, uri, [sentence], *_] if request == self._request:
                if uri == Unavailable.uri and "takes its place" in sentence:
                    self.superseded.append(self._last)
                self._set()
            case _:
                pass

    @property
    def _last(self) -> str:
        return f"{self._name} {self._count}"

    def _set(self) -> None:
        self._request = 0
        if not self.stopped and self._client is not None:
            self._count += 1
            self._request = self._client.call("fox.schema.set", _schema(self._last))


def _begin(seed: int, clients: int) -> tuple[Run, list[Setter], Random]:
    rng = Random(f"world {seed}")
    world = World(
        seed,
        gateways=rng.choice((1, 2)),
        shards=rng.choice((1, 2, 4)),
        max_delay=rng.choice((0.001, 0.005, 0.02)),
        schemas={REALM: json.dumps(_schema("file"))} if rng.random() < 0.5 else {},
    )
    run = Run(world)
    run.smooth = False
    become_quiet(world)
    return run, [Setter(run, f"{number}") for number in range(clients)], rng


def two_set_schemas_in_a_loop(seed: int) -> None:
    """Each call succeeds: of two clients, one's schema is under way and the other's waits."""
    run, setters, _ = _begin(seed, 2)
    _succeed(run, setters)
    _check(run, setters)
    for setter in setters:
        run.world.check(not setter.superseded, f"schemas were superseded: {setter.superseded}")


def several_set_schemas_while_processes_die(seed: int) -> None:
    """Schemas go on to take effect after all faults, and each does so completely or not at all."""
    run, setters, rng = _begin(seed, 2 + seed % 3)
    world = run.world
    _succeed(run, setters)
    faults: list[Action] = [partial(random_fault, run) for _ in range(rng.choice((1, 3)))]
    faults += [partial(kill, world, "coordinator", rng) for _ in range(rng.choice((0, 1, 2)))]
    run.perform(faults, rng.choice((0.05, 0.5)))
    world.run(world.terms.peer_timeout + 4)
    _succeed(run, setters)
    _check(run, setters)


def _succeed(run: Run, setters: list[Setter]) -> None:
    """Wait until each of two clients, and some of several, have set some schemas more."""

    def versions() -> list[int]:
        return [len(setter.versions) for setter in setters]

    before = versions()

    def enough() -> bool:
        more = [now - then for now, then in zip(versions(), before, strict=True)]
        return (min(more) if len(more) == 2 else sum(more)) >= ENOUGH

    run.world.run_until(enough, 60)


def _check(run: Run, setters: list[Setter]) -> None:
    world = run.world
    for setter in setters:
        setter.stopped = True
    world.run_until(lambda: not any(setter.waits for setter in setters), 20)
    recover(world)
    become_quiet(world)
    schemas = {
        (shard.definitions.version_of(REALM), shard.definitions.of(REALM).text)
        for shard in world.shard_cores
    }
    world.check(len(schemas) == 1, "the shards work by different schemas")
    ((last, text),) = schemas
    known = {version: name for one in setters for name, version in one.versions.items()}
    world.check(
        len(known) == sum(len(setter.versions) for setter in setters),
        "two schemas have one version",
    )
    world.check(max(known) <= last, f"version {max(known)} is lost, the last one is {last}")
    for setter in setters:
        order = list(setter.versions.values())
        world.check(order == sorted(order), f"the versions of a client go back: {order}")
    if last in known:
        world.check(text == _text(known[last]), f"version {last} is another schema")
    told = {
        frame.text
        for _, _, batch in world.trace.entries
        if not isinstance(batch, str)
        for frame in batch.frames
        if isinstance(frame, ActiveTables | DefineTables)
    }
    for setter in setters:
        wrong = [name for name in setter.superseded if _text(name) in told]
        world.check(not wrong, f"schemas were refused and took effect: {wrong}")
