"""Tables in a terminal.

Owns: the widths of columns. Never: what stands in them.
"""

from collections.abc import Iterable, Sequence

from fox_shard.printable import printable


def print_columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with that head; each column is as wide as its widest text."""
    lines = [head, *([printable(text) for text in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())
