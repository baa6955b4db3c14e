"""Python functions that are reducers: what they get, and how they ask for another try."""

from fox_shard.worker.functions import Details, Retry

__all__ = ["Details", "Retry"]
