"""The whole server in one process, joined without sockets: `FoxRouter` and `fox serve`."""
