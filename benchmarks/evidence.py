"""Measures what can be measured on the sample area, and writes it into the pages: `python -m benchmarks.evidence --store STORE` (`make evidence`).

Each section stands in its page between `<!-- measured: NAME -->` and `<!-- end -->`: date, state of the code, machine, command, and the
tables that the command prints. `--only NAME` writes some of them. STORE is one of `terrazzo precompute sample`. Sections that need more
data name their command in docs/evidence/index.md.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from terrazzo import PIXELS
from terrazzo.store import Store
from terrazzo.version import list_mosaics, open_version

ROOT = Path(__file__).parent.parent
STORE = "STORE"
"""Stands for the store's address in a command."""


class Section(NamedTuple):
    """A page below docs/, and the module with its arguments that measures the section."""

    page: str
    command: str


SECTIONS: Mapping[str, Section] = {
    "sample": Section(
        "evidence/normalization.md",
        "benchmarks.normalization STORE --only days --only agreement --only cloud",
    ),
    "borders": Section(
        "evidence/normalization.md",
        "benchmarks.normalization STORE --longest 1000 --strict --only agreement --only borders",
    ),
    "merge": Section("evidence/normalization.md", "benchmarks.merge"),
    "hits": Section("evidence/tile-speed.md", "benchmarks.hits --store STORE"),
    "table": Section("understand/correction.md", "benchmarks.correction"),
}


def state() -> str:
    """The commit whose code is measured, and whether files differ from it."""
    commit = _git("rev-parse", "--short=7", "HEAD") or "unknown"
    changed = _git("status", "--porcelain", "--", "terrazzo", "precompute", "server", "benchmarks")
    return f"commit {commit}{' with changes' if changed else ''} (`PIXELS` {PIXELS})"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def machine() -> str:
    """Processors, their model, the load and Python."""
    about = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", about.read_text()) if about.exists() else None
    name = model[1] if model else platform.machine()
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} processors ({name}) at a load of {load:.0f}, Python {platform.python_version()}"


def measured(section: Section, store: str) -> str:
    """The text of a section: where and how it was measured, and what its command prints."""
    words = shlex.split(section.command.replace(STORE, shlex.quote(store)))
    where = f"Measured on {datetime.now(UTC):%Y-%m-%d} at {state()}, {machine()}:"
    printed = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return f"{where}\n\n    python -m {section.command}\n\n{printed.strip()}\n"


def replaced(text: str, name: str, content: str) -> str:
    """A page with another content of one section."""
    begin, end = f"<!-- measured: {name} -->\n", "<!-- end -->\n"
    before, rest = text.split(begin)
    return f"{before}{begin}{content}{end}{rest.split(end, 1)[1]}"


@click.command(help=__doc__)
@click.option("--store", default="build/demo", show_default=True)
@click.option("--only", type=click.Choice(tuple(SECTIONS)), multiple=True, help="sections [default: all]")
def main(store: str, only: Sequence[str]) -> None:
    """Writes the sections into their pages."""
    opened = Store(store)
    click.echo(f"version {open_version(opened, list_mosaics(opened)[0]).name}, {state()}")
    for name in only or SECTIONS:
        page = ROOT / "docs" / SECTIONS[name].page
        content = measured(SECTIONS[name], store)
        page.write_text(replaced(page.read_text(), name, content))
        click.echo(f"{name}: {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
