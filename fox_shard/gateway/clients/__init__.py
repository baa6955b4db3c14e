"""Clients' connections, as the core sees them."""
