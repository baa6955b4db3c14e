"""What goes wrong with a router in an application.

Owns: the exceptions. Never: who raises them.
"""


class RouterError(Exception):
    """The router cannot start, or cannot go on, or a session in it; the message is a sentence."""
