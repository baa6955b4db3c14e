"""Data directories: filling them with rows, and reading the rows back."""

from contextlib import closing

from fox_shard.backplane.frames import RETAIN, Event, Publish
from fox_shard.backplane.placement import Placement
from fox_shard.documents.payloads import JSON
from fox_shard.shard import rows
from fox_shard.store.layout import Layout
from fox_shard.store.sqlite import SqliteStore


def event(realm, topic, number):
    """Return a retained event with the publication id 64 * number."""
    publish = Publish(realm, topic, 7, number, number, RETAIN, JSON, b"[%d]" % number)
    return Event(64 * number, publish)


def will(session, realm, topic):
    """Return the row (key, value) of a session's will."""
    publish = Publish(realm, topic, session, 1, 1, 0, JSON, b'["gone"]')
    return rows.will(session), rows.encode(rows.WillRow("gateway-0", 1, publish))


def key_rows(count, realms=("realm1", "com.example.ü")):
    """Return {key: value} of `count` retained keys."""
    found = {}
    for number in range(count):
        realm, topic = realms[number % len(realms)], f"sensors.{number}"
        found[rows.key(realm, topic)] = rows.encode(event(realm, topic, number))
    return found


def will_rows(count):
    """Return {key: value} of `count` wills."""
    return dict(will(session, "realm1", f"gone.{session}") for session in range(1, count + 1))


def history_rows(count, realm="realm1"):
    """Return {key: value} of `count` recorded events and of their topics' trim marks."""
    found = {}
    for number in range(1, count + 1):
        topic = f"log.{number % 50}"
        one = event(realm, topic, number)
        found[rows.recorded(realm, one.publication)] = rows.encode(one)
        found[rows.topic_marks(realm, topic)] = rows.encode([64])
    return found


def link_rows(shard):
    """Return {key: value} of rows that belong to one generation only."""
    return {
        rows.peer("gateway-0"): rows.encode(rows.PeerRow(shard + 1, 5)),
        rows.outcomes("gateway-0", 5): rows.encode([(5, 64)]),
        rows.CEILING: rows.encode(1000 + shard),
    }


def fill(folder, shards, found):
    """Create a data directory with these rows, each in its shard, and with rows of links."""
    layout = Layout.open(folder, shards)
    placement = Placement(shards)
    parts = [link_rows(shard) for shard in range(shards)]
    for key, value in found.items():
        parts[owner(key, value, placement)][key] = value
    for shard, part in enumerate(parts):
        write(layout, shard, part)
    return layout


def owner(key, value, placement):
    """Return the shard to which a row belongs."""
    if key[:1] in b"kt":
        realm, topic = key[1:].decode().split("\0")
    elif key[:1] == b"h":
        publish = rows.decode_event(value).publish
        realm, topic = publish.realm, publish.topic
    else:
        publish = rows.decode_will(value).publish
        realm, topic = publish.realm, publish.topic
    return placement.shard_of(realm, topic)


def write(layout, shard, changes):
    outcomes = []
    with closing(SqliteStore(*layout.shard(shard), lambda *outcome: outcomes.append(outcome))) as s:
        s.write(1, dict(changes))
    assert outcomes == [(1, "")]


def shard_rows(layout, shard):
    with closing(SqliteStore(*layout.shard(shard), lambda *_: None)) as store:
        return dict(store.scan())


def stored_rows(folder):
    """Return ({key: value}, ceilings) of all shards: keys, wills, recorded events, trim marks.

    Checks that each row is in its own shard, and in no other.
    """
    layout = Layout.read(folder)
    placement = Placement(layout.shards)
    found, ceilings = {}, []
    for shard in range(layout.shards):
        for key, value in shard_rows(layout, shard).items():
            if key[:1] in (b"k", b"w", b"h", b"t"):
                assert owner(key, value, placement) == shard
                assert key not in found
                found[key] = value
            elif key == rows.CEILING:
                ceilings.append(rows.decode_ceiling(value))
    return found, ceilings


def files(folder):
    """Return {path: content} of all files, except locks and those that SQLite needs for reading."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("lock", "-shm"))
    }
    return {name: data for name, data in found.items() if data or not name.endswith("-wal")}
