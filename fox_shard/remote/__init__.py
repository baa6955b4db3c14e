"""Commands that visit a running server as a client: keys, and programs under a lock."""
