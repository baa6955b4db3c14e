"""Loading: the rows of the store become the state of a shard that starts.

Owns: which noun gets which row. Never: the store.
"""

from collections.abc import Callable, Iterable

from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.retained import Retention
from fox_shard.shard.keys.unannounced import Untold
from fox_shard.shard.links.outcomes import Ledger
from fox_shard.shard.publishing.stored import Commits
from fox_shard.shard.sessions.wills import Wills
from fox_shard.store.journal import TRIAL


def load(
    stored: Iterable[tuple[bytes, bytes]],
    clock: PublicationClock,
    retention: Retention,
    untold: Untold,
    commits: Commits,
    ledger: Ledger,
    wills: Wills,
) -> list[tuple[str, int]]:
    """Returns the peers that the store names, each with its incarnation (or identity).

    Raises ValueError (`msgspec.DecodeError` is one) for a row that is none of this version's.
    """
    gateways: dict[str, int] = {}
    archive = retention.archive

    def load_will(row: rows.WillRow) -> None:
        wills.load(row)
        gateways[row.gateway] = row.incarnation

    # Those of each kind come in the order of their keys.
    loaders: dict[bytes, Callable[[bytes, bytes], None]] = {
        rows.KEY: lambda _, value: retention.load(rows.decode_event(value)),
        rows.UNTOLD: lambda key, value: untold.load(rows.place_of(key), rows.decode_untold(value)),
        rows.RECORDED: lambda _, value: archive.load_event(rows.decode_event(value)),
        rows.SHELF_MARKS: lambda key, value: archive.load_shelf_marks(
            key, rows.decode_marks(value)
        ),
        rows.TOPIC_MARKS: lambda key, value: archive.load_topic_marks(
            key, rows.decode_marks(value)
        ),
        rows.RESHARDED: lambda _, value: archive.load_resharded(rows.decode_resharded(value)),
        rows.WAITER: lambda _, value: commits.turns.load(rows.decode_waiter(value)),
        rows.GRANT: lambda _, value: commits.grants.load(rows.decode_grant(value)),
        rows.WILL: lambda _, value: load_will(rows.decode_will(value)),
        rows.PEER: lambda key, value: ledger.load_peer(rows.peer_of(key), rows.decode_peer(value)),
        rows.OUTCOMES: lambda key, value: ledger.load_outcomes(
            rows.peer_of(key), key, rows.decode_outcomes(value)
        ),
        rows.CEILING: lambda _, value: clock.load(rows.decode_ceiling(value)),
        TRIAL[:1]: lambda _, value: None,
    }
    for key, value in stored:
        loader = loaders.get(key[:1])
        if loader is None:
            raise ValueError(f"there are no rows of kind {key[:1]!r} in this version")
        loader(key, value)
    fresh = not clock.ceiling
    if fresh:
        # Else the clock begins above whatever was given before.
        clock.advance(clock.wall)
    archive.begin(fresh=fresh)
    of_keys = {**commits.grants.gateways, **retention.owners.gateways}
    return list({**of_keys, **gateways, **ledger.names}.items())
