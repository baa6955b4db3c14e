"""Stores: the rows that a process keeps, in memory or on disk.

Owns: ordered maps of bytes in memory and in SQLite files, and the paths of these files.
Never: what the rows mean.
"""
