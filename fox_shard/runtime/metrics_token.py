"""The file with the token for `/metrics` (`metrics.token`).

Owns: reading it, its mode, and what is wrong with it. Never: who shows it (see `web.metrics`).
"""

import os
from pathlib import Path
from typing import Final

from fox_shard.errors import StartError
from fox_shard.users.secret_file import exposing_mode

SHORTEST: Final = 16
"""Characters of a token that nobody guesses."""


class TokenFileError(StartError):
    """The file cannot be used; the message is one sentence."""


def read_token(path: str) -> str:
    """Return the token. path: "": there is none. Raises TokenFileError."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            mode = exposing_mode(os.fstat(file.fileno()), os.getuid())
            token = file.read().decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII"
        raise TokenFileError(f"Cannot read metrics.token, {path}: {reason}.") from error
    if mode:
        raise TokenFileError(
            f"{path} has the mode {mode}, so others on this machine may read it: chmod 600."
        )
    if len(token) < SHORTEST:
        raise TokenFileError(f"The token in {path} has fewer than {SHORTEST} characters.")
    return token
