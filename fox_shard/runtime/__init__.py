"""Running processes: event loop, logs, name locks, health."""
