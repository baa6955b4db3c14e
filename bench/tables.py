"""The cost of tables: rows that contribute to an aggregate on another shard; many rows at rest.

Owns: these measurements of our broker with its store on disk. Never: other brokers, which have no
tables.
"""

import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import msgspec

from bench import wamp_load
from bench.keys import CLIENTS, IN_FLIGHT, Start, Writer, Writes, retained, write
from bench.measure import memory_kib
from bench.servers import FoxShard
from fox_shard.backplane.placement import Placement

GROUPS = 1000
ROWS_EACH = 1000
"""Groups of the aggregate, and rows of each client."""

BATCH = 2000
"""Rows in flight of each client that fills the table."""

SCHEMA: dict[str, Any] = {
    "sale": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "shop": {"type": "string"},
            "n": {"type": "integer", "minimum": 0},
            "note": {"type": "string", "maxLength": 100},
        },
        "required": ["id", "shop", "n"],
        "primary_key": ["id"],
        "propagate": {"total": [{"key": ["shop"], "fields": {"n": "n"}}]},
    },
    "total": {
        "type": "aggregate",
        "properties": {
            "shop": {"type": "string"},
            "n": {"type": "integer"},
            "rows": {"type": "integer"},
        },
        "primary_key": ["shop"],
        "sum": ["n"],
        "count": ["rows"],
    },
}

CALL, RESULT = 48, 50


class Caller:
    """A WAMP session that calls procedures."""

    def __init__(self, server: FoxShard) -> None:
        self._session = wamp_load.Session(server.wamp, wamp_load.JSON)
        self._request = 0

    def call(self, procedure: str, *args: object) -> list[Any]:
        """Call a procedure, and return its arguments."""
        self._request += 1
        answer = self._session.ask([CALL, self._request, {}, procedure, [*args]], RESULT)
        return list(answer[3])

    def await_complete(self, rows: int) -> None:
        """Wait until the aggregate is made of that many rows."""
        while True:
            (tables,) = self.call("fox.table.list")
            total = next(one for one in tables if one["table"] == "total")
            if total["complete"] and total["contributions"] == rows:
                return
            time.sleep(0.05)


def _names(placement: Placement, template: str, shard: int | None, many: int) -> list[str]:
    """Return names whose topics the shard owns; None: any shard. template: has a gap."""
    names = (f"{number:07}" for number in count())
    owned = (
        name
        for name in names
        if shard is None or placement.shard_of("realm1", template.format(name)) == shard
    )
    return list(islice(owned, many))


def _writer(server: FoxShard, client: int, ids: list[str], shops: list[str], window: int) -> Writer:
    def packet(n: int, packet_id: int) -> bytes:
        # When the ids begin again, each row has another group and another number.
        id_, again = ids[n % len(ids)], n // len(ids)
        shop = shops[(n * 7919 + again) % len(shops)]
        row = {"id": id_, "shop": shop, "n": n % 10_000 + again, "note": "x" * 8}
        return retained(f"sale/{id_}", packet_id, msgspec.json.encode(row))

    return Writer(server.mqtt, f"bench-row-{client}", window, packet)


def upserts(server: FoxShard, shards: int, seconds: float, groups: int) -> Writes:
    """Measure clients whose rows contribute to groups of another shard; 1 group: of any shard."""
    placement = Placement(shards)
    writers = []
    for client in range(CLIENTS):
        mine = client % shards
        others = (mine + 1) % shards if groups > 1 else None
        ids = _names(placement, "sale.{}", mine, (client // shards + 1) * ROWS_EACH)[-ROWS_EACH:]
        shops = _names(placement, "total.{}", others, groups)
        writers.append(_writer(server, client, ids, shops, IN_FLIGHT))
    return write(server, writers, seconds)


def start(server: FoxShard, shards: int, rows: int) -> Start:
    """Publish so many rows, stop the broker, and measure its next start."""
    empty = memory_kib(server.pids)
    _publish_all(server, shards, rows)
    Caller(server).await_complete(rows)
    server.halt()
    began = time.perf_counter()
    server.begin()
    Caller(server).await_complete(rows)
    seconds = time.perf_counter() - began
    return Start(rows, seconds, 1024 * (memory_kib(server.pids) - empty) / rows)


def _publish_all(server: FoxShard, shards: int, rows: int) -> None:
    """Publish the rows from a client for each shard."""
    placement = Placement(shards)
    ids: list[list[str]] = [[] for _ in range(shards)]
    for number in range(rows):
        id_ = f"{number:07}"
        ids[placement.shard_of("realm1", f"sale.{id_}")].append(id_)
    shops = [f"{number:07}" for number in range(GROUPS)]
    writers = [_writer(server, CLIENTS + n, mine, shops, 0) for n, mine in enumerate(ids)]
    for first in range(0, max(map(len, ids)), BATCH):
        wanted = []
        for writer, mine in zip(writers, ids, strict=True):
            many = len(mine[first : first + BATCH])
            writer.fill(many)
            wanted.append(writer.acknowledged + many)
        for writer, acknowledged in zip(writers, wanted, strict=True):
            while writer.acknowledged < acknowledged:
                writer.read()


def _define(server: FoxShard) -> None:
    """Set the schema, once all processes are linked."""
    while True:
        try:
            Caller(server).call("fox.schema.set", SCHEMA)
        except ConnectionError as error:
            if "wamp.error.unavailable" not in str(error):
                raise
            time.sleep(0.1)
        else:
            return


def report(server: FoxShard, shards: int, seconds: float, rows: int) -> Iterator[str]:
    """Run all measurements, and yield the lines to print. rows: of `start`; 0: not measured."""
    _define(server)
    if rows:
        began = start(server, shards, rows)
        yield (
            f"start with {began.keys:,} rows: {began.seconds:.1f} s until it serves, "
            f"{began.bytes_each:.0f} bytes of memory a row"
        )
    many = upserts(server, shards, seconds, GROUPS)
    yield f"into {GROUPS:,} groups of the other shard: {many.rate:,.0f}/s, {many.cpu:.1f} µs each"
    hot = upserts(server, shards, seconds, 1)
    yield f"into one group: {hot.rate:,.0f}/s, {hot.cpu:.1f} µs each"
