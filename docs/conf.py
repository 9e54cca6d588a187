"""Sphinx's settings for this documentation; `make docs` builds it, strict, into server/help/."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

from terrazzo import __version__

REPOSITORY = "https://github.com/terrazzo-mosaic/terrazzo"
DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

project = "Terrazzo"
author = "The Terrazzo authors"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# decisions.md is the inbox that `python docs/decisions.py` sorts into decisions/.
exclude_patterns = ["decisions.md", "notebooks"]
myst_heading_anchors = 3
# Decisions have an index of their own, which tests/test_docs.py holds complete, as it does the navigation.
suppress_warnings = ["toc.not_included"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
html_theme = "furo"
html_title = f"Terrazzo {version}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}


def lead_out(app: Sphinx, name: str, source: list[str]) -> None:
    """Points links to files outside docs/ to the repository: the built site does not hold them."""
    here = (DOCS / name).parent

    def address(match: re.Match[str]) -> str:
        target = (here / match[1]).resolve()
        inside = target.is_relative_to(DOCS) and "notebooks" not in target.parts
        path = f"{target.relative_to(DOCS.parent)}{match[2] or ''}" if not inside else ""
        return match[0] if inside else f"]({REPOSITORY}/blob/main/{path})"

    source[0] = re.sub(r"\]\((\.\./[^)#\s]+)(#[^)\s]+)?\)", address, source[0])


def write_messages(app: Sphinx) -> None:
    """Writes the page of messages, which changes too often to be kept in the repository."""
    from generate import messages

    (DOCS / "reference" / "messages.md").write_text(messages())


def setup(app: Sphinx) -> None:
    """Registers the hooks above."""
    app.connect("builder-inited", write_messages)
    app.connect("source-read", lead_out)
