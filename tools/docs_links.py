"""A hook of mkdocs for what is not in docs/: the icon, and links that lead elsewhere.

On the site, an example has a page with its text, and a test is named without a link.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

_ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\[([^\]]*)\]\(\.\./([^)#]+)(#[^)]*)?\)")
_NAME = re.compile(r"(?<=<td><code>)[^<\s]{16,}(?=</code>)")
_LANGUAGES = {
    **{".py": "python", ".cjs": "javascript", ".js": "javascript", ".toml": "toml"},
    **{".ts": "typescript", ".tsx": "typescript"},
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each example that a page links to."""
    linked = {
        match[2]
        for file in list(files.documentation_pages())
        for match in _LINK.finditer(file.content_string)
    }
    for path in sorted(linked):
        if _has_page(path):
            content = _page(_ROOT / path)
            page = File.generated(config, _page_of(path), content=content)
            page.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(page)
    icon = _ROOT / "fox_shard" / "web" / "dashboard" / "icon.svg"
    files.append(File.generated(config, "images/icon.svg", content=icon.read_text()))
    return files


def on_page_content(html: str, **_: object) -> str:
    """Let a long name in a table break behind its dots and underscores, and nowhere else."""
    return _NAME.sub(lambda match: re.sub(r"([._]\b)", r"\1<wbr>", match[0]), html)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links lead to the pages of examples; what has no page is only named."""

    def replace(match: re.Match[str]) -> str:
        return f"[{match[1]}]({_page_of(match[2])})" if _has_page(match[2]) else match[1]

    return _LINK.sub(replace, markdown)


def _has_page(path: str) -> bool:
    return path.startswith("examples/")


def _page_of(path: str) -> str:
    return path if path.endswith(".md") else f"{path}.md"


def _page(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".md":
        return text
    return f"# {path.name}\n\n````{_LANGUAGES[path.suffix]}\n{text}````\n"
