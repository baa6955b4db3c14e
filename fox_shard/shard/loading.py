"""Loading: how a shard gets its state from the rows of its store when it starts.

Owns: which object loads which row. Never: the store.
"""

from collections.abc import Callable, Iterable

from fox_shard.backplane.node import Notice
from fox_shard.shard import rows
from fox_shard.shard.clock import PublicationClock
from fox_shard.shard.keys.retained import RetainedKeys
from fox_shard.shard.keys.unannounced import UnannouncedChanges
from fox_shard.shard.links.inbox import Inbox
from fox_shard.shard.links.outbox import ShardOutbox
from fox_shard.shard.links.outcomes import Outcomes
from fox_shard.shard.links.peer import Kind, Peer
from fox_shard.shard.publishing.stored import StoredPublishes
from fox_shard.shard.reducers.reducers import Reducers
from fox_shard.shard.sessions.wills import Wills
from fox_shard.shard.tables.definitions import Definitions
from fox_shard.shard.tables.tables import Tables
from fox_shard.store.journal import TRIAL


def load(
    stored: Iterable[tuple[bytes, bytes]],
    clock: PublicationClock,
    retained_keys: RetainedKeys,
    unannounced: UnannouncedChanges,
    stored_publishes: StoredPublishes,
    reducers: Reducers,
    outcomes: Outcomes,
    wills: Wills,
    peers: dict[str, Peer],
    inbox: Inbox,
    outbox: ShardOutbox,
    definitions: Definitions,
    tables: Tables,
    notices: list[Notice],
) -> list[tuple[str, int]]:
    """Load all rows, and return the peers that they name, each with its incarnation.

    stored: (key, value) in the order of keys. peers: has all other shards, by name; they are not
    returned. notices: gets what is to be told. For peers other than gateways, the second item may
    be the identity instead of the incarnation. Raises ValueError (such as `msgspec.DecodeError`)
    for a row that this version cannot read.
    """
    gateways: dict[str, int] = {}
    histories = retained_keys.histories

    def load_will(key: bytes, row: rows.WillRow) -> None:
        wills.load(key, row)
        gateways[row.gateway] = row.incarnation

    def load_peer(name: str, row: rows.PeerRow) -> None:
        peer = peers.get(name)
        if peer is not None and peer.kind is Kind.SHARD:
            inbox.load(peer, row)
        else:
            outcomes.load_peer(name, row)

    # The rows of each kind come in the order of their keys.
    loaders: dict[bytes, Callable[[bytes, bytes], None]] = {
        rows.KEY: lambda _, value: retained_keys.load(rows.decode_event(value)),
        rows.UNANNOUNCED: lambda key, value: unannounced.load(
            rows.key_ref_of(key), rows.decode_unannounced(value)
        ),
        rows.RECORDED: lambda _, value: histories.load_event(rows.decode_event(value)),
        rows.LOG_MARKS: lambda key, value: histories.load_log_marks(key, rows.decode_marks(value)),
        rows.TOPIC_MARKS: lambda key, value: histories.load_topic_marks(
            key, rows.decode_marks(value)
        ),
        rows.RESHARDED: lambda _, value: histories.load_resharded(rows.decode_resharded(value)),
        rows.WAITER: lambda _, value: stored_publishes.conditional.load(rows.decode_waiter(value)),
        rows.GRANT: lambda _, value: stored_publishes.grants.load(rows.decode_grant(value)),
        rows.WILL: lambda key, value: load_will(key, rows.decode_will(value)),
        rows.PEER: lambda key, value: load_peer(rows.peer_of(key), rows.decode_peer(value)),
        rows.OUTBOX: lambda key, value: outbox.load_frame(
            rows.peer_of(key), rows.number_of(key), rows.decode_outbox_frame(value), len(value)
        ),
        rows.LAST: lambda key, value: outbox.load_last(rows.peer_of(key), rows.decode_last(value)),
        rows.OUTCOMES: lambda key, value: outcomes.load_outcomes(
            rows.peer_of(key), key, rows.decode_outcomes(value)
        ),
        rows.REDUCER: lambda key, value: reducers.load_reducer(key, rows.decode_reducer(value)),
        rows.QUEUED: lambda _, value: reducers.queues.load(rows.decode_queued(value)),
        rows.DEFINITION: lambda key, value: definitions.load(
            *rows.realm_and_rest(key), rows.decode_definition(value)
        ),
        rows.BUILD: lambda key, value: tables.builds.load(key, rows.decode_build(value)),
        rows.CONTRIBUTION: tables.builds.load_contribution,
        rows.UNWRITTEN: lambda key, _: tables.builds.load_unwritten(key),
        rows.CEILING: lambda _, value: clock.load(rows.decode_ceiling(value)),
        TRIAL[:1]: lambda _, value: None,
    }
    for key, value in stored:
        loader = loaders.get(key[:1])
        if loader is None:
            raise ValueError(f"there are no rows of kind {key[:1]!r} in this version")
        loader(key, value)
    outbox.loaded()
    fresh = not clock.ceiling
    if fresh:
        # There is no stored ceiling at which the clock could begin.
        clock.begin()
    histories.begin(fresh=fresh)
    notices += reducers.loaded()
    tables.begin()
    of_keys = {**stored_publishes.grants.gateways, **retained_keys.owners.gateways}
    return list({**of_keys, **gateways, **outcomes.names}.items())
