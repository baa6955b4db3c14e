"""Loading: the rows of the store become the state of a shard that starts.

Owns: which noun gets which row. Never: the store.
"""

from collections.abc import Iterable

from fox_shard.shard import rows
from fox_shard.shard.broker import Broker
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.ledger import Ledger
from fox_shard.shard.wills import Wills
from fox_shard.store.journal import TRIAL


def load(
    stored: Iterable[tuple[bytes, bytes]],
    clock: PublicationClock,
    broker: Broker,
    ledger: Ledger,
    wills: Wills,
) -> list[tuple[str, int]]:
    """Returns the peers that the store names, each with its incarnation (or identity).

    Raises ValueError (`msgspec.DecodeError` is one) for a row that is none of this version's.
    """
    gateways: dict[str, int] = {}
    for key, value in stored:
        kind = key[:1]
        if kind == rows.KEY:
            event = rows.decode_event(value)
            broker.load(event.publish.realm, event)
        elif kind == rows.WILL:
            will = rows.decode_will(value)
            wills.load(will)
            gateways[will.gateway] = will.incarnation
        elif kind == rows.PEER:
            ledger.load_peer(key[1:].decode(), rows.decode_peer(value))
        elif kind == rows.OUTCOMES:
            name = key[1 : key.index(b"\0")].decode()
            ledger.load_outcomes(name, key, rows.decode_outcomes(value))
        elif kind == rows.CEILING:
            clock.load(rows.decode_ceiling(value))
        elif key != TRIAL:
            raise ValueError(f"there are no rows of kind {kind!r} in this version")
    return list({**broker.owners.gateways, **gateways, **ledger.names}.items())
