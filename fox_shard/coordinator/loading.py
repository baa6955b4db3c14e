"""Loading: the rows of the store, sorted by what they are.

Owns: reading them. Never: the store, and what the coordinator makes of them.
"""

from collections.abc import Iterable

from msgspec import Struct

from fox_shard.backplane.frames import Publish
from fox_shard.coordinator import rows
from fox_shard.coordinator.sessions import SessionRecord
from fox_shard.store.journal import TRIAL


class Stored(Struct):
    """What was before the restart. frames: by shard, with their numbers; last: see `rows`.

    generation: -1: the store is new.
    """

    sessions: list[SessionRecord] = []
    gateways: dict[str, rows.GatewayRow] = {}
    frames: dict[str, list[tuple[int, Publish]]] = {}
    last: dict[str, int] = {}
    generation: int = -1


def read(stored: Iterable[tuple[bytes, bytes]]) -> Stored:
    """Raises ValueError (`msgspec.DecodeError` is one) for a row that is none of this version's."""
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
        elif kind == rows.GENERATION:
            found.generation = rows.decode_number(value)
        elif key != TRIAL:
            raise ValueError(f"there are no rows of kind {kind!r} in this version")
    return found
