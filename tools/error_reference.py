"""docs/errors.md: every error that the server answers with, from the sources.

`python tools/error_reference.py` writes the page anew; a test compares the two.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fox_shard import errors  # noqa: E402
from fox_shard.gateway.auth import refusals  # noqa: E402
from fox_shard.web.problems import STATUS  # noqa: E402

PAGE = ROOT / "docs" / "errors.md"

HEAD = """\
# Errors and reasons

This page is made from the sources by `tools/error_reference.py`.

In WAMP, an error is an ERROR or an ABORT with this URI. Its first argument is a sentence for a
person, which says what was wrong and what would be right. [Over HTTP](http.md#errors) it is a
problem document with the status of the table. MQTT 3.1.1 has no errors but in the answers to
CONNECT and SUBSCRIBE: there, what is refused is dropped and counted.

| error | HTTP | when |
|---|---|---|
"""

OF_REASONS = """
## Reasons

A session, a subscription or a registration can end by the server's decision. In WAMP, the reason is
in GOODBYE, or in UNSUBSCRIBED or UNREGISTERED with the request 0.

| reason | when |
|---|---|
"""

REASONS = {
    "fox.close.session_taken_over": "another MQTT client uses this client's identifier now",
    "fox.close.snapshot": "the subscription with `snapshot` has got all keys that there are",
    "fox.close.stood_still": "the session's gateway stood still and was declared gone; join again",
    "fox.close.table_defined": "the topic is a [table](tables.md#rows) now; its events are rows",
    "fox.close.token_expired": "the token with which the client has logged in is no longer valid",
    "fox.close.user_removed": "the user is gone, or has another role; or there are users "
    "now, and the realm is not open to anonymous clients",
    "wamp.close.close_realm": "the client said so",
    "wamp.close.goodbye_and_out": "the answer to a GOODBYE",
    "wamp.close.killed": "`wamp.session.kill` and its like ended the session",
    "wamp.close.normal": "the client said so, as autobahn does",
    "wamp.close.system_shutdown": "the server, or the session's gateway, stops",
    "wamp.registration.revoked": "another session has taken the procedure, or the reducer, over "
    "(`force_reregister`)",
}

NO_OTHER = {"wamp.error.runtime_error": "What no other error says; its sentence does."}
"""When, of what is raised by its base class."""


OF_COMMANDS = {
    "fox.error.command_failed": "The command of `fox register … -- command` has failed.",
}
"""What a callee of ours answers, which the server only passes on."""


def refusals_by_uri() -> dict[str, list[str]]:
    """Return the sentences that say when, for each error URI, in the order of the sources."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in (errors, refusals):
        source = Path(module.__file__ or "").read_text()
        for node in ast.parse(source).body:
            if not isinstance(node, ast.ClassDef):
                continue
            uri = getattr(getattr(module, node.name), "uri", None)
            docstring = ast.get_docstring(node)
            if uri and docstring:
                found[uri].append(docstring.splitlines()[0].removesuffix(":"))
    return found


def lines() -> Iterator[str]:
    """Yield the rows of the table of errors."""
    found = refusals_by_uri() | {uri: [when] for uri, when in OF_COMMANDS.items()}
    for uri in sorted(found):
        status = STATUS.get(uri, 400)
        when = NO_OTHER.get(uri) or " ".join(dict.fromkeys(found[uri]))
        yield f"| `{uri}` | {status} | {when} |"


def page() -> str:
    """Return the page."""
    reasons = (f"| `{uri}` | {when} |" for uri, when in REASONS.items())
    return "\n".join([HEAD + "\n".join(lines()), OF_REASONS + "\n".join(reasons), ""])


if __name__ == "__main__":
    PAGE.write_text(page())
