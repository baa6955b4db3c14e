"""Which gateway wants which topics, and what it is sent."""
