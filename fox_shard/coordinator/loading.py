"""Loading: the rows of the coordinator's store, decoded and sorted by kind.

Owns: decoding rows. Never: the store itself, or what the coordinator does with the rows.
"""

from collections.abc import Iterable

from msgspec import Struct

from fox_shard.backplane.frames import Publish
from fox_shard.coordinator import rows
from fox_shard.coordinator.session_record import SessionRecord
from fox_shard.store.journal import TRIAL


class Stored(Struct):
    """The coordinator's state before the restart.

    gateways: by name. frames: per shard, the frames of its outbox with their reliable numbers.
    last: per shard, the last reliable number given. schemas: by realm. censuses: by realm and kind.
    members: rows with their keys. generation: -1 if the store is new.
    """

    sessions: list[SessionRecord] = []
    gateways: dict[str, rows.GatewayRow] = {}
    frames: dict[str, list[tuple[int, Publish]]] = {}
    last: dict[str, int] = {}
    schemas: dict[str, rows.SchemaRow] = {}
    censuses: dict[tuple[str, str], rows.CensusRow] = {}
    members: list[tuple[bytes, rows.MemberRow]] = []
    generation: int = -1


def read(stored: Iterable[tuple[bytes, bytes]]) -> Stored:  # noqa: C901 - a table
    """Decode all rows of a store.

    Raises ValueError, or its subclass `msgspec.DecodeError`, for a row that this version does not
    know.
    """
    found = Stored()
    for key, value in stored:
        kind = key[:1]
        if kind == rows.SESSION:
            found.sessions.append(rows.decode_session(value))
        elif kind == rows.GATEWAY:
            found.gateways[rows.name_of(key)] = rows.decode_gateway(value)
        elif kind == rows.OUTBOX:
            frame = (rows.number_of(key), rows.decode_frame(value))
            found.frames.setdefault(rows.name_of(key), []).append(frame)
        elif kind == rows.LAST:
            found.last[rows.name_of(key)] = rows.decode_number(value)
        elif kind == rows.SCHEMA:
            found.schemas[rows.name_of(key)] = rows.decode_schema(value)
        elif kind == rows.CENSUS:
            found.censuses[rows.census_of(key)] = rows.decode_census(value)
        elif kind == rows.MEMBER:
            found.members.append((key, rows.decode_member(value)))
        elif kind == rows.GENERATION:
            found.generation = rows.decode_number(value)
        elif key != TRIAL:
            raise ValueError(f"there are no rows of kind {kind!r} in this version")
    return found
