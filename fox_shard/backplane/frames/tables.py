"""Frames: the definitions of tables.

Owns: the frames by which definitions reach shards and gateways. Never: behaviour; rows of tables.

The coordinator gives a realm's schema to all shards, first not active. When all have stored it, the
coordinator tells them that it is active. So a shard that works by a new definition sends nothing to
another one that does not know it. All these frames are state, which is replayed in each new pair.
"""

from typing import TypeAlias

from msgspec import Struct


class DefineTables(Struct, array_like=True, tag=80, gc=False):
    """A realm's schema: coordinator to each shard. Answered by `TablesDefined`.

    version: counts up with each schema of the realm. text: the schema (see `tables.schema`).
    active: all shards have it; otherwise it is only to be stored.
    """

    realm: str
    version: int
    text: str
    active: bool


class TablesDefined(Struct, array_like=True, tag=81, gc=False):
    """A shard has stored a schema: shard to coordinator. active: its gateways have it, too."""

    realm: str
    version: int
    active: bool


class ActiveTables(Struct, array_like=True, tag=82, gc=False):
    """The schema by which the shard works: shard to gateways and coordinator. Not answered."""

    realm: str
    version: int
    text: str


TableFrame: TypeAlias = DefineTables | TablesDefined | ActiveTables
"""A frame about definitions of tables."""
