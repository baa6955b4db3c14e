"""Writes the table of all commands in docs/commands.md, from the parsers of the code.

Run as `.venv/bin/python tools/commands_page.py`. A test says when the table is not current.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fox_shard.cli_arguments import parser_of

PAGE: Final = Path(__file__).parents[1] / "docs" / "commands.md"

TABLE: Final = re.compile(r"^\| all commands \|.*\n(\|.*\n)+", re.MULTILINE)

OF_CLIENTS: Final = "the server"
"""The title of the options by which a command finds the server, which many have."""


def main() -> None:
    """Replace the table."""
    text = PAGE.read_text()
    replaced, tables = TABLE.subn(lambda _: table(), text)
    if tables != 1:
        raise SystemExit(f"{PAGE} has {tables} tables of all commands.")
    PAGE.write_text(replaced)


def table() -> str:
    """Return the table of all commands."""
    lines = ["| all commands | what they do | their own options |", "|---|---|---|"]
    for words, about, parser in sorted(_commands(parser_of(str), ()), key=_by_words):
        shown = " ".join(("fox", *words, *_arguments(parser)))
        lines.append(f"| `{shown}` | {about} | {', '.join(_options(parser))} |")
    return "\n".join(line.replace("  |", " |") for line in lines) + "\n"


def _by_words(command: tuple[tuple[str, ...], str, object]) -> tuple[str, ...]:
    return command[0]


def _commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...], about: str = ""
) -> Iterator[tuple[tuple[str, ...], str, argparse.ArgumentParser]]:
    """Yield the words, the meaning and the parser of each command, without its other names."""
    choices = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
    if not choices:
        yield words, about, parser
    for action in choices:
        # Only a command's first name has a help text.
        helps = {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001
        for name, found in action.choices.items():
            if name in helps:
                yield from _commands(found, (*words, name), helps[name])


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    for one in parser._actions:  # noqa: SLF001
        if one.option_strings or one.help == argparse.SUPPRESS:
            continue
        name = one.metavar if isinstance(one.metavar, str) else one.dest.upper()
        # A cell of a table ends at a bar, also within backticks.
        name = name.replace("|", " or ")
        yield {"?": f"[{name}]", "*": f"[{name} …]", "+": f"{name} …", "...": f"-- {name} …"}.get(
            str(one.nargs), name
        )


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:  # noqa: SLF001
        for one in group._group_actions:  # noqa: SLF001
            if group.title == OF_CLIENTS or one.help == argparse.SUPPRESS:
                continue
            if one.option_strings and one.dest not in ("help", "config"):
                yield f"`{one.option_strings[-1]}`"


if __name__ == "__main__":
    main()
