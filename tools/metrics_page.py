"""Writes the table of docs/metrics.md anew, from the catalog of the code.

Run as `.venv/bin/python tools/metrics_page.py`. A test says when the table is not current.
"""

import re
from pathlib import Path
from typing import Final

from fox_shard.web.metric_catalog import as_markdown

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"

TABLE: Final = re.compile(r"^\| name \| labels .*\n(\|.*\n)+", re.MULTILINE)


def main() -> None:
    """Replace the table."""
    text = PAGE.read_text()
    replaced, tables = TABLE.subn(lambda _: as_markdown(), text)
    if tables != 1:
        raise SystemExit(f"{PAGE} has {tables} tables of metrics.")
    PAGE.write_text(replaced)


if __name__ == "__main__":
    main()
