"""Live totals: defines the tables of this example, and shows the totals of all customers.

At a terminal, the table is drawn anew whenever a total has changed. Otherwise, each change is a
line.
"""

import argparse
import json
import sys
import time
from contextlib import suppress
from decimal import Decimal
from math import inf
from pathlib import Path

from fox_shard.client import Failure, Session

CUSTOMERS = "com.example.customer"
FIELDS = ("customer", "invoices", "total", "average", "largest")

PAUSE = 0.1
"""Least number of seconds between two drawings."""

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
arguments = parser.parse_args()


def define(session):
    """Add the tables of this example to the realm's schema, which may have others."""
    ours = json.loads((Path(__file__).parent / "schema.json").read_text())
    (present,) = session.call("fox.schema.get")
    session.call("fox.schema.set", {**(present or {}), **ours})


def draw(rows):
    """Draw the table, with the greatest totals first."""
    by_total = sorted(rows.values(), key=lambda row: Decimal(row["total"]), reverse=True)
    lines = [[str(row[field]) for field in FIELDS] for row in by_total]
    print("\x1b[H\x1b[J", end="")  # clear the terminal
    for customer, *numbers in [FIELDS, *lines]:
        print(f"{customer:<20.20}", *(f"{number:>12.12}" for number in numbers))
    sys.stdout.flush()


def show_at_terminal(changes):
    rows, drawn, changed = {}, 0.0, True
    while not changes.over:
        if changed and time.monotonic() >= drawn + PAUSE:
            draw(rows)
            drawn, changed = time.monotonic(), False
        event = changes.next(drawn + PAUSE if changed else inf)
        if event is not None:
            changed = True
            if event.removed:
                rows.pop(event.topic, None)
            else:
                rows[event.topic] = event.kwargs or event.args[0]


def show_as_lines(changes):
    while (event := changes.next()) is not None:
        if event.removed:
            print(event.topic, event.removed, flush=True)
        else:
            row = event.kwargs or event.args[0]
            print(*(row[field] for field in FIELDS), flush=True)


try:
    with suppress(KeyboardInterrupt), Session(arguments.url, "realm1") as session:
        define(session)
        # A state stream: the totals that there are, and then each change.
        changes = session.subscribe(CUSTOMERS, {"retained": True})
        if sys.stdout.isatty():
            show_at_terminal(changes)
        else:
            print("watching", flush=True)
            show_as_lines(changes)
except Failure as failure:  # no server answers, or not any more
    sys.exit(str(failure))
