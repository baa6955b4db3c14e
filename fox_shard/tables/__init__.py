"""Tables: what a schema defines, and the arithmetic of aggregates; no state, no I/O."""
