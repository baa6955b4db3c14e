"""The coordinator: session registry, session meta API, StatsD."""
