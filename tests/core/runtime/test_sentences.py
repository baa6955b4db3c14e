"""Sentences of processes that write into one file."""

import io

import pytest

from fox_shard.cli import main


class Writes(io.TextIOBase):
    """An error output that does not buffer: what is written at once."""

    def __init__(self):
        self.parts = []

    def write(self, text):
        self.parts.append(text)
        return len(text)


@pytest.mark.parametrize("command", [["shard", "9"], ["config", "--config", "none.toml"]])
def test_a_sentence_and_the_end_of_its_line_are_written_at_once(command, monkeypatch):
    """So the line of another process never comes between."""
    monkeypatch.setattr("sys.stderr", writes := Writes())
    assert main(command) == 2
    (sentence,) = writes.parts
    assert sentence.startswith("fox: ")
    assert sentence.endswith(".\n")
