"""`make docs`: a site whose links lead somewhere, and which fetches nothing from elsewhere."""

import os
import re
import subprocess
import sys

from cluster import ROOT

FETCHED = r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)'


def test_every_link_leads_somewhere_and_nothing_comes_from_elsewhere(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert tmp_path / "semantics.html" in pages
    assert tmp_path / "examples" / "lock.py.html" in pages
    for page in pages:
        fetched = re.findall(
            r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)', page.read_text()
        )
        assert not fetched, f"{page.name} fetches {fetched}"
