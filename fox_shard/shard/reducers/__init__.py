"""Reducers: the folding of events into keys."""
