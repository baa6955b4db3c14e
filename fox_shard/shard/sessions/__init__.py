"""What a shard keeps for sessions: wills."""
