"""Remote procedure calls: registrations, calls and invocations."""
