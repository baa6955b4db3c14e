"""Questions about rows, as a gateway asks the shards.

Owns: their form. Never: the procedures' arguments (see `gateway.procedures.table_rows`), rows.
"""

from typing import Final

from msgspec import Struct, msgpack

ROWS: Final = "table rows"
"""The kind of an `Inquiry` whose body is a `RowsQuery`."""


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
decode: Final = msgpack.Decoder(RowsQuery).decode
