"""Consulting: questions of a gateway to procedures and Python functions, of its own."""
