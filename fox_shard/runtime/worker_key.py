"""The worker's private key, by which the gateways know it.

Owns: the file in the run directory, which only the server's own user can read. Never: logging in.
"""

import os
from pathlib import Path
from typing import Final

WORKER: Final = "fox.worker"
"""The worker's name as a user; users of the file cannot be called so."""

ROLE: Final = "worker"


def worker_key(run_dir: Path) -> bytes:
    """Return the key's seed, 32 bytes. Whichever process comes first makes it."""
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = run_dir / "worker.key"
    if not path.exists():
        beside = run_dir / f"worker.key.{os.getpid()}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(32))
        try:
            # Nobody sees a part of it, and nobody replaces another's.
            os.link(beside, path)
        except FileExistsError:
            pass  # Another process was first, and its key is as good.
        finally:
            beside.unlink()
    return path.read_bytes()
