"""Questions about rows, as a gateway asks the shards.

Owns: their form. Never: the procedures' arguments (see `gateway.procedures.table_rows`), rows.
"""

from typing import Final

from msgspec import Struct, msgpack

ROWS: Final = "table rows"
"""The kind of an `Inquiry` whose body is a `RowsQuery`."""


STATES: Final = "table states"
"""The kind of an `Inquiry` about all tables, without a body. The keys of the answer are their
names, the values `TableState`."""


class TableState(Struct, array_like=True, gc=False):
    """A table, on one shard.

    rows: how many there are. stage: of an aggregate, see `shard.tables.builds`; -1: it is none.
    contributions: how many rows of other tables its groups consist of. scanned: whether the rows of
    this shard have contributed. heard: how many shards have said so of theirs.
    """

    rows: int
    stage: int = -1
    contributions: int = 0
    scanned: bool = True
    heard: int = 0


class RowsQuery(Struct, array_like=True, gc=False):
    """Which rows are wanted, in the order of their topics.

    table: its name. topic: of the only row that is wanted; "": all rows. after: the topic beyond
    which rows are wanted. filter: an object in msgpack, b"": none. Each item of the answer is a
    row's topic, and its `Event`.
    """

    table: str
    topic: str = ""
    after: str = ""
    filter: bytes = b""


encode: Final = msgpack.Encoder().encode
decode_state: Final = msgpack.Decoder(TableState).decode
decode: Final = msgpack.Decoder(RowsQuery).decode
