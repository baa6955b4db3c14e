"""Recorded events: the history of each realm."""
