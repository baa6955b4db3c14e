"""Procedures, calls and registrations."""
