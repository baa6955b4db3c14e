"""Damaged rows, described for operators.

Owns: descriptions of rows. Never: how damage is found (see `store.checksums`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fox_shard.coordinator import rows as coordinator_rows
from fox_shard.shard import rows as shard_rows
from fox_shard.store.refusals import remedy
from fox_shard.store.store import DamagedRow, StoreError

OnDamage = Callable[[str], None]
"""Called with a description of each key or file that is left out."""


@contextmanager
def naming_rows() -> Iterator[None]:
    """Turn a DamagedRow into a StoreError that says what is lost and what to do."""
    try:
        yield
    except DamagedRow as error:
        sentence = f"{error.path} is damaged: the checksum of {described(error.path, error.key)}"
        raise StoreError(f"{sentence} does not match: {remedy(error.path)}.") from error


def described(path: Path, key: bytes) -> str:
    """Describe a row of that file."""
    return of_shard_row(key) if path.name.startswith("shard-") else of_coordinator_row(key)


def of_shard_row(key: bytes) -> str:
    """Describe a row of a shard, as far as its key can be read."""
    kind = key[:1]
    try:
        if kind in _KEY_REFS:
            realm, topic = shard_rows.key_ref_of(key)
            return f"{_KEY_REFS[kind]} {topic} of realm {realm}"
        if kind == shard_rows.RECORDED:
            realm, number = shard_rows.realm_and_rest(key)
            return f"the recorded event {int.from_bytes(number, 'big')} of realm {realm}"
        if kind == shard_rows.LOG_MARKS:
            return f"the marks of a history of realm {shard_rows.realm_and_rest(key)[0]}"
        if kind == shard_rows.DEFINITION:
            return f"the definitions of tables of realm {shard_rows.realm_and_rest(key)[0]}"
        if kind in _PEERS:
            return f"{_PEERS[kind]} {shard_rows.peer_of(key)}"
    except UnicodeDecodeError:
        return _unreadable(key)
    if kind in _NUMBERS:
        return f"{_NUMBERS[kind]} {int.from_bytes(key[1:9], 'big')}"
    return _SINGLE.get(key) or _unreadable(key)


def of_coordinator_row(key: bytes) -> str:
    """Describe a row of the coordinator, as far as its key can be read."""
    try:
        match key[:1]:
            case coordinator_rows.SESSION:
                number = coordinator_rows.number_of(key)
                return f"session {number} at {coordinator_rows.name_of(key)}"
            case coordinator_rows.GATEWAY | coordinator_rows.OUTBOX | coordinator_rows.LAST:
                return f"a note about the link with {coordinator_rows.name_of(key)}"
            case coordinator_rows.SCHEMA:
                return f"the definitions of tables of realm {coordinator_rows.name_of(key)}"
            case coordinator_rows.GENERATION:
                return "the generation"
    except UnicodeDecodeError:
        return _unreadable(key)
    return _unreadable(key)


def _unreadable(key: bytes) -> str:
    return f"the row {key[:80]!r}"


_KEY_REFS: Final = {
    shard_rows.KEY: "the key",
    shard_rows.UNANNOUNCED: "a change of the key",
    shard_rows.TOPIC_MARKS: "the marks of the history of topic",
}
_PEERS: Final = {
    shard_rows.PEER: "a note about the link with",
    shard_rows.OUTCOMES: "the outcomes of frames of",
}
_NUMBERS: Final = {
    shard_rows.WILL: "the will of session",
    shard_rows.WAITER: "the waiting publish",
    shard_rows.GRANT: "the granted publish",
}
_SINGLE: Final = {
    shard_rows.CEILING: "the publication clock",
    shard_rows.RESHARDED: "the publication clock's beginning",
}
