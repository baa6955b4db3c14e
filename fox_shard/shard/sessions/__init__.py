"""The wills that a shard keeps for sessions."""
