"""Text of others as it is printed: in one line, and without commands for a terminal.

Owns: how characters are written that are not to be printed. Never: where texts come from.

Clients and targets of webhooks choose names, reasons and values. A line end in one of them would
be a line of the log that the server has not written, and an escape sequence a command to the
terminal of whoever reads it.
"""


def printable(text: str) -> str:
    """Return the text, with escapes (`\\n`, `\\x1b`, `\\u202e`) for what is not to be printed."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def printable_json(text: str) -> str:
    """Return JSON on one line, with escapes of JSON (`\\u202e`) for what is not to be printed."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _json_escape(one) for one in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
