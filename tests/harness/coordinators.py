"""Coordinators without a store, for tests of their core."""

from fox_shard.coordinator.core import Coordinator
from fox_shard.deadline import Deadline
from fox_shard.store.journal import Journal


def coordinator_of(placement, **options):
    """Return a coordinator whose journal is never written."""
    journal = Journal(
        Deadline(), lambda ticket, now: None, lambda ticket, why, now: None, lambda why: None
    )
    return Coordinator(placement, journal, **options)
