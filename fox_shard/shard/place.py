"""Where a key is.

Owns: its name in a shard. Never: keys.
"""

Place = tuple[str, str]
"""Realm and topic of a key."""
