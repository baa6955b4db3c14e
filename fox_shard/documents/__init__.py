"""Documents: payload encodings, filters, and merge patches."""
