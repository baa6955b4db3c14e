"""Stores: what a process must find again when it restarts."""
