"""`fox register`: a command that answers the calls of a procedure.

Owns: the registration, one run of the command per call, and what becomes the result. Never: the
session's beginning and end.
"""

import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

from fox_shard.client import Event, Session
from fox_shard.client.session import Invocation
from fox_shard.remote.command import end_with
from fox_shard.remote.connecting import tell
from fox_shard.remote.values import as_plain, from_text, value_of

FAILED: Final = "fox.error.command_failed"
"""The error that a caller gets if the command cannot be run, or its exit code is not 0."""

SAID: Final = 1000
"""Characters of the command's standard error, at most, that an error carries: the last ones."""

RESULT: Final = 1 << 20
"""Bytes of output, at most, that may be a result."""


def register(
    session: Session, procedure: str, options: dict[str, Any], command: Sequence[str]
) -> int:
    """Register a procedure, and run the command once for each call, one after the other.

    The value of a call's arguments is the command's standard input, and its output the result.
    Returns only by an exception: ConnectionLost, Refused, KeyboardInterrupt.
    """
    waiting: deque[Invocation] = deque()
    session.register(procedure, options, waiting.append)
    tell(f"{procedure} is registered; Ctrl-C ends it.")
    while True:
        while not waiting:
            session.receive()
        _answer(session, procedure, waiting.popleft(), command)


def _answer(
    session: Session, procedure: str, invocation: Invocation, command: Sequence[str]
) -> None:
    event = Event(procedure, 0, invocation.args, invocation.kwargs, "")
    environment = {"FOX_PROCEDURE": str(invocation.details.get("procedure", procedure))}
    if "caller" in invocation.details:
        environment["FOX_CALLER"] = str(invocation.details["caller"])
    with (
        tempfile.TemporaryFile() as into,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        if event.args or event.kwargs:
            into.write(as_plain(value_of(event)))
            into.seek(0)
        try:
            code = _run(session, command, environment, (into, out, err))
        except OSError as error:
            sentence = f"{command[0]} cannot be run: {error.strerror}."
            tell(sentence)
            session.invocation_error(invocation.request, FAILED, [sentence])
            return
        said = _end_of(err, SAID).decode(errors="replace")
        if code != 0:
            sentence = f"The command has ended with exit code {code}."
            tell(f"{sentence} {said}".rstrip())
            session.invocation_error(invocation.request, FAILED, [sentence, code, said])
            return
        if out.seek(0, os.SEEK_END) > RESULT:
            sentence = f"The result has more than {RESULT:,} bytes."
            session.invocation_error(invocation.request, FAILED, [sentence])
            return
        text = _end_of(out, RESULT).decode(errors="replace").removesuffix("\n")
        session.yield_(invocation.request, *([from_text(text)] if text else []))


def _run(
    session: Session,
    command: Sequence[str],
    environment: dict[str, str],
    files: tuple[BinaryIO, BinaryIO, BinaryIO],
) -> int:
    """Run the command; meanwhile the session gives signs of life. Returns the exit code."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=files[0],
        stdout=files[1],
        stderr=files[2],
        preexec_fn=end_with(os.getpid()),  # safe, because this process has no threads
    )
    ended = os.pidfd_open(process.pid)
    try:
        # Each message that comes meanwhile is taken; the wait is over when the command has ended.
        while session.receive(unless=ended):
            pass
        return process.wait()
    finally:
        os.close(ended)
        if process.returncode is None:
            process.kill()
            process.wait()


def _end_of(file: BinaryIO, count: int) -> bytes:
    """Return the last `count` bytes of a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - count))
    return file.read()
