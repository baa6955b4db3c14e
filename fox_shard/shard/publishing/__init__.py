"""From a publish that concerns the store to its answer."""
