"""Sentences on standard error: why a process does not start, or what everybody should know.

Owns: how they are written. Never: what they say; events, which are logged.
"""

import sys


def tell(sentence: str) -> None:
    """Write the sentence and the end of its line at once.

    `print` writes twice if Python does not buffer (PYTHONUNBUFFERED, as in the container), and the
    lines of other processes, which write into the same file, come between.
    """
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
