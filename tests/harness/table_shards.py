"""Several shards with tables, and what their aggregates should be."""

import json
from types import SimpleNamespace

from shards import Shards

from fox_shard.backplane.frames import ACKNOWLEDGE, EMPTY, RETAIN, DefineTables, Publish
from fox_shard.documents.payloads import JSON, NONE, document
from fox_shard.tables.schema import TableSet
from fox_shard.testing.ledger import REALM
from fox_shard.testing.recomputation import recomputed


class TableShards(Shards):
    """Shards with a schema."""

    def __init__(self, schema=None, count=2, **more):
        """schema: None: that of the stored rows. more: see `Shards`."""
        super().__init__(count, **more)
        self.version = 0
        self.schema = None
        if schema is not None:
            self.define(schema)

    @classmethod
    def of_rows(cls, stored):
        """Return shards with these rows, a dict for each shard."""
        return cls(count=len(stored), stored=stored)

    def define(self, schema, *, steps=("store", "activate")):
        """Give all shards a schema, as the coordinator does."""
        if "store" in steps:
            self.version += 1
            self.schema = TableSet.parse(schema)
            for number in range(len(self.nodes)):
                self.step(number, active=False)
        if "activate" in steps:
            for number in range(len(self.nodes)):
                self.step(number, active=True)
        self.turns()

    def define_at(self, numbers, schema, *, same=False):
        """Let some of the shards, which have stored a schema, make it active."""
        if not same:
            self.version += 1
            self.schema = TableSet.parse(schema)
        for number in numbers:
            self.step(number, active=False)
            self.step(number, active=True)

    def step(self, number, *, active):
        """Let one shard store the schema, or make it active."""
        nobody = SimpleNamespace(link=SimpleNamespace(open=False))
        frame = DefineTables(REALM, self.version, self.schema.text, active)
        self.nodes[number].definitions.define(nobody, frame)

    # Rows

    def owner(self, topic):
        """Return the node of the topic."""
        return self.nodes[self.placement.shard_of(REALM, topic)]

    def publish(self, topic, value, *, flags=RETAIN, retain=None, session=1, **more):
        """Publish to a topic, and return the refusal's URI, or ""."""
        flags |= ACKNOWLEDGE | (EMPTY if value is None else 0)
        args = b"" if value is None else json.dumps([value]).encode()
        encoding = NONE if value is None else JSON
        frame = Publish(REALM, topic, session, 1, 1, flags, encoding, args, retain=retain, **more)
        replies = []
        self.owner(topic).stored_publishes.publish(None, frame, 0, replies)
        self.owner(topic).stored_publishes.end_turn()
        waiting = self.owner(topic).stored_publishes.commit_queue.waiting
        held = [effect for groups in waiting.values() for g in groups for effect, _ in g.effects]
        refused = [one for one in (*replies, *held) if hasattr(one, "uri")]
        return refused[-1].uri if refused else ""

    def put(self, table, row, **more):
        """Publish a row."""
        return self.publish(self.schema.tables[table].row_topic(row), row, **more)

    def delete(self, table, *key):
        """Delete a row."""
        return self.publish(self.schema.tables[table].topic_of(key), None)

    def key(self, topic):
        """Return the document of a key; None: there is none."""
        key = self.owner(topic).retained_keys.key((REALM, topic))
        if key is None:
            return None
        return document(key.publish.encoding, key.publish.args, key.publish.kwargs)

    def rows(self, table):
        """Return the documents of a table's keys, by topic."""
        pattern = self.schema.tables[table].rows
        realms = [node.retained_keys.realms[REALM] for node in self.nodes]
        return {t: self.key(t) for realm in realms for t in realm.keys.topics(pattern)}

    # Aggregates

    def expected(self, name):
        """Return the rows that an aggregate should have, by topic."""
        keys = {t: row for table in self.schema.tables for t, row in self.rows(table).items()}
        return recomputed(self.schema, keys, name)

    def check_aggregates(self):
        """Check, when all is quiet, that every aggregate is what its rows make it."""
        self.settle()
        for table in self.schema.tables.values():
            if table.aggregate is not None:
                assert self.rows(table.name) == self.expected(table.name)

    @staticmethod
    def _at_rest(node):
        well = node.health()["status"] == "ok"
        return (
            well
            and node.outbox.idle
            and node.inbox.idle
            and node.tables.idle
            and node.journal.idle
            and not node.scheduler.busy
        )
