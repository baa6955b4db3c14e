"""Documents: payload encodings, filters over them, and merge patches."""
