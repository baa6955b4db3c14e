"""Transports: the bytes of a connection become messages, and vice versa, without sockets."""
