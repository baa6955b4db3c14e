"""The office: writes, corrects and cancels invoices over WAMP.

    .venv/bin/python examples/invoices/office.py write acme 12.50
    .venv/bin/python examples/invoices/office.py correct NUMBER 13.00
    .venv/bin/python examples/invoices/office.py cancel NUMBER

The first command prints the number of the new invoice.
"""

import argparse
import sys
import time
from datetime import date

from fox_shard.client import Failure, Session

INVOICES = "com.example.invoice"

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="ws://127.0.0.1:8080/ws")
actions = parser.add_subparsers(dest="action", required=True)
writing = actions.add_parser("write")
writing.add_argument("customer")
writing.add_argument("amount")
correcting = actions.add_parser("correct")
correcting.add_argument("number")
correcting.add_argument("amount")
actions.add_parser("cancel").add_argument("number")
arguments = parser.parse_args()


def write(session):
    invoice = {
        "number": f"office-{time.time_ns()}",
        "customer": arguments.customer,
        "date": date.today().isoformat(),
        "amount": arguments.amount,
    }
    # The server makes the row's topic of its key.
    session.publish(INVOICES, [invoice], {})
    return invoice["number"]


def correct(session):
    """Change one field. The totals follow: what the row gave before is taken back."""
    change = {"amount": arguments.amount}
    session.publish(f"{INVOICES}.{arguments.number}", [change], {"retain": True, "patch": True})
    return "corrected"


def cancel(session):
    """Delete the row: an empty event at its topic."""
    session.publish(f"{INVOICES}.{arguments.number}", [], {})
    return "canceled"


try:
    with Session(arguments.url, "realm1") as session:
        print({"write": write, "correct": correct, "cancel": cancel}[arguments.action](session))
except Failure as failure:  # the server does not answer, or refuses the invoice
    sys.exit(str(failure))
