"""The other processes, as a shard sees them."""
