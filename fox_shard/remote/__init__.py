"""Commands that are clients of a running server: keys, and programs that run under a lock."""
