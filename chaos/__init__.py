"""Real processes that are killed at random under load, and what must hold all the same."""
