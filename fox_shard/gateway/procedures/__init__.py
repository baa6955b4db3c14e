"""Procedures that the gateway answers itself."""
