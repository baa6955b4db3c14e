"""Shards: the processes that own topics and procedures, each in one thread, in order."""
