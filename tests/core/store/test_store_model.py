"""Stores against a dict: a scan finds what the dict has, whatever was written."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store_outcomes import Outcomes

from fox_shard.store.file import Label
from fox_shard.store.memory import MemoryStore
from fox_shard.store.sqlite import SqliteStore

LABEL = Label("shard 3 of 4", 7)
KEYS = st.lists(st.sampled_from([b"\0", b"k", b"\xff"]), max_size=4).map(b"".join)
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=5), max_size=8)


class Model(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.outcomes = Outcomes()
        self.ticket = 0
        self.rows = {}
        self.store = self.open()

    def open(self):
        return MemoryStore(self.outcomes)

    @rule(batches=st.lists(CHANGES, min_size=1, max_size=5))
    def write(self, batches):
        for changes in batches:
            self.ticket += 1
            for key, value in changes.items():
                if value is None:
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = value
            self.store.write(self.ticket, dict(changes))

    @rule(prefix=KEYS)
    def scan(self, prefix):
        self.outcomes.wait_for(self.ticket)
        found = list(self.store.scan(prefix))
        assert found == sorted(row for row in self.rows.items() if row[0].startswith(prefix))

    @invariant()
    def nothing_fails(self):
        assert not self.outcomes.failures

    def teardown(self):
        self.scan(b"")
        self.store.close()


class SqliteModel(Model):
    def open(self):
        self.folder = Path(tempfile.mkdtemp())
        return self.reopen()

    def reopen(self):
        return SqliteStore(self.folder / "shard-3.sqlite", LABEL, self.outcomes)

    @precondition(lambda self: self.ticket)
    @rule()
    def close_and_open(self):
        identity = self.store.identity
        self.store.close()
        assert self.outcomes.durable == self.ticket
        self.store = self.reopen()
        assert self.store.identity == identity

    def teardown(self):
        super().teardown()
        shutil.rmtree(self.folder)


TestMemoryStore = Model.TestCase
TestSqliteStore = SqliteModel.TestCase
