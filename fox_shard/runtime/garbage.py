"""Python's garbage collector, in a process that serves clients.

Owns: how often it looks at how much. Never: what lives.
"""

import gc


def settle_garbage() -> None:
    """Look no more at what lives now: it lives as long as the process.

    To be called when the process has loaded what is stored.
    """
    gc.collect()
    gc.freeze()
    # Objects that stay are looked at twice, whatever the numbers are; here 100,000 at once. A
    # million at once, when keys or rows come in, would be a pause of hundreds of milliseconds.
    gc.set_threshold(20_000, 5, 1000)
