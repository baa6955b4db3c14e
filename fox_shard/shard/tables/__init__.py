"""Tables on a shard."""
