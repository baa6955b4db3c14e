"""The coordinator: the session registry, the session meta API, `$SYS` and metrics."""
