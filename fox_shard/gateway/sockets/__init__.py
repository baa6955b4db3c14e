"""The listening sockets and the sockets of clients."""
