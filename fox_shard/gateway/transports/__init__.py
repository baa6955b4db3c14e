"""From a connection's bytes to messages, without sockets."""
