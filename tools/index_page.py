"""README.md as a package index shows it, where no other file of the project is.

Owns: what its relative links and pictures become. Never: the rest of its text.
"""

import re
from typing import Final

_LINK: Final = re.compile(r"\[([^]]+)\]\((?!https?:|#)([^)\s]+)\)")
_PICTURE: Final = re.compile(r"!\[[^]]*\]\((?!https?:)[^)\s]+\)\n*")


def for_index(readme: str, source: str) -> str:
    """Return the text without relative links and pictures, which lead nowhere there.

    source: the address of the project's files; the links lead there. "": nobody knows it; then the
    names of the files stand there, which are in the source distribution.
    """

    def of(link: re.Match[str]) -> str:
        text, target = link.groups()
        if source:
            return f"[{text}]({source.rstrip('/')}/{target})"
        file = target.partition("#")[0]
        return text if text.strip("`") == file else f"{text} (`{file}`)"

    return _LINK.sub(of, _PICTURE.sub("", readme))
