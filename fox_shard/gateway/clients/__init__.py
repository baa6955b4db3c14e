"""The connections of clients, as the gateway's core sees them."""
