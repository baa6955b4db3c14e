"""Calls and registrations."""
