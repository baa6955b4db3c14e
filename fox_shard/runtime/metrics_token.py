"""The file with the token for `/metrics` (`metrics.token`).

Owns: reading it, its mode, and what is wrong with it. Never: who shows it (see `web.metrics`).
"""

import os
import stat
from pathlib import Path
from typing import Final

SHORTEST: Final = 16
"""Characters of a token that nobody guesses."""


class TokenFileError(Exception):
    """The file cannot be used; the message is one sentence."""


def read_token(path: str) -> str:
    """Return the token. path: "": there is none. Raises TokenFileError."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read().decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII"
        raise TokenFileError(f"Cannot read metrics.token, {path}: {reason}.") from error
    if mode & 0o077:
        raise TokenFileError(
            f"{path} has the mode {mode:04o}, so others on this machine may read it: chmod 600."
        )
    if len(token) < SHORTEST:
        raise TokenFileError(f"The token in {path} has fewer than {SHORTEST} characters.")
    return token
