"""A router in one process: `FoxRouter`, whole or attached to a server, and `fox serve`."""
