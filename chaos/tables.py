"""Sellers: clients that publish the rows of a table, of which an aggregate has the totals.

Owns: publishing rows, and the comparison of the totals with the recomputation. Never: accidents.
"""

import asyncio
from collections import Counter
from random import Random
from typing import Any

from chaos.door import Door
from chaos.peers import CALL, PUBLISH, Answer, Lost, Wamp
from fox_shard.tables.schema import TableSet
from fox_shard.testing.recomputation import differences

SCHEMA: dict[str, Any] = {
    "sale": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "shop": {"type": ["string", "null"]},
            "price": {"type": "string"},
        },
        "primary_key": ["id"],
        "propagate": {
            "total": [
                {"key": ["shop"], "fields": {"sum": "price", "low": "price", "high": "price"}}
            ]
        },
    },
    "total": {
        "type": "aggregate",
        "properties": {
            **{name: {"type": "string"} for name in ("shop", "sum", "low", "high")},
            "rows": {"type": "integer"},
        },
        "primary_key": ["shop"],
        "sum": ["sum"],
        "min": ["low"],
        "max": ["high"],
        "count": ["rows"],
        "propagate": {"all": [{"key": ["rows"], "fields": {"sum": "sum"}}]},
    },
    "all": {
        "type": "aggregate",
        "properties": {"rows": {"type": "integer"}, "sum": {"type": "string"}},
        "primary_key": ["rows"],
        "sum": ["sum"],
    },
}

ROWS, SHOPS = 200, 12

WINDOW = 8
"""Publishes of one seller that may be unanswered."""

PACE = 0.01
"""Average number of seconds between two publishes of a seller."""

PATIENCE = 40.0
"""Seconds within which the remaining publishes must be answered, and the totals must be right."""


class Seller:
    """One seller, which reconnects whenever its gateway dies. ends: of its publishes, by kind."""

    def __init__(self, door: Door, rng: Random) -> None:
        self._door = door
        self._rng = rng
        self._stopping = False
        self.ends: Counter[str] = Counter()
        self.complaints: list[str] = []

    async def run(self) -> None:
        """Publish until `stop`, and until all publishes have been answered or lost."""
        while not self._stopping:
            peer, until = await self._door.move(Wamp, "", self._rng)
            while not (self._stopping or peer.lost.done() or self._door.now() > until):
                if peer.under_way < WINDOW:
                    self._sell(peer)
                await asyncio.sleep(self._rng.expovariate(1 / PACE))
            end = self._door.now() + PATIENCE
            while peer.under_way and not peer.lost.done():
                if self._door.now() > end:
                    self.complaints.append(f"{peer.under_way} rows were not answered")
                    break
                await asyncio.sleep(PACE)
            await self._door.leave(peer)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True

    def _sell(self, peer: Wamp) -> None:
        rng = self._rng
        row: dict[str, Any] = {"id": f"r{rng.randrange(ROWS)}"}
        options: dict[str, Any] = {"acknowledge": True, "retain": rng.choice((True, True, 1, 5))}
        args: list[object] = []
        if rng.random() < 0.9:
            row["shop"] = rng.choice((None, *(f"s{number}" for number in range(SHOPS))))
            row["price"] = f"{rng.randrange(10_000) / 100:.2f}"
            args = [row]
        answer = peer.request(PUBLISH, options, f"sale.{row['id']}", args)
        answer.add_done_callback(self._answered)

    def _answered(self, answer: Answer) -> None:
        error = answer.exception()
        if error is None:
            self.ends["acknowledged"] += 1
        elif isinstance(error, Lost):
            self.ends["lost"] += 1
        else:
            self.ends["refused"] += 1
            self.complaints.append(f"a row was refused: {error}")


async def define(door: Door) -> None:
    """Set the schema."""
    peer = await door.enter(Wamp, "")
    await peer.request(CALL, {}, "fox.schema.set", [SCHEMA])
    await door.leave(peer)


async def judge_totals(door: Door, gateway: str) -> list[str]:
    """Return a sentence for each total that is wrong, though nobody has sold anything for long."""
    schema = TableSet.parse(SCHEMA)
    peer = await door.enter(Wamp, "", gateway)
    end = door.now() + PATIENCE
    while True:
        keys: dict[str, Any] = {}
        for table in schema.tables.values():
            keys |= {table.row_topic(row): row for row in await _rows(peer, table.name)}
        wrong = differences(schema, keys)
        if not wrong or door.now() > end:
            await door.leave(peer)
            return wrong
        await asyncio.sleep(0.2)


async def _rows(peer: Wamp, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table, which has few enough for one page."""
    message = await peer.request(CALL, {}, "fox.table.rows", [table])
    assert not message[4]["more"]
    return list(message[3][0])
