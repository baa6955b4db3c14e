"""Stores: what a process keeps over its own end.

Owns: ordered maps of bytes in memory and in SQLite files, and where the files lie.
Never: what the rows mean.
"""
