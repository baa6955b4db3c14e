"""A transaction on its way from a journal to a store."""

from msgspec import Struct

from fox_shard.store.store import WriteSet


class Write(Struct, frozen=True):
    """A transaction for the store. resume: the store may work again (see `Store.write`)."""

    ticket: int
    changes: WriteSet
    resume: bool
