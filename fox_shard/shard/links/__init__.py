"""The peers of a shard, and what they have sent and confirmed."""
