"""README.md as a package index shows it."""

import re
from pathlib import Path

import pytest
from index_page import for_index

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize(
    ("source", "written", "shown"),
    [
        ("https://a.org/x/", "[users](docs/users.md)", "[users](https://a.org/x/docs/users.md)"),
        ("https://a.org", "[keys](docs/a.md#keys)", "[keys](https://a.org/docs/a.md#keys)"),
        ("", "[users](docs/users.md)", "users (`docs/users.md`)"),
        ("", "[docs/a.md](docs/a.md#keys)", "docs/a.md"),
        ("https://a.org", "so\n\n![a fox](docs/fox.png)\n\nit is", "so\n\nit is"),
        (
            "",
            "[here](#keys), [there](https://a.org/b.md)",
            "[here](#keys), [there](https://a.org/b.md)",
        ),
    ],
)
def test_relative_links_lead_to_the_source_or_nowhere(source, written, shown):
    assert for_index(written, source) == shown


@pytest.mark.parametrize("source", ["", "https://a.org"])
def test_no_relative_link_is_left(source):
    targets = re.findall(r"\]\(([^)]+)\)", for_index(README, source))
    assert [one for one in targets if not one.startswith(("https://", "http://", "#"))] == []
