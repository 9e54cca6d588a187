"""Sorts the entries of docs/decisions.md into one file a decision: `python docs/decisions.py`.

An entry is a heading of the second level and its text; `### Context`, `### Rejected` and `### Evidence` within it become
sections of its file. Its date is that of the commit that wrote its heading. Entries that have a file already are taken out of
docs/decisions.md without a change to the file; the table of dependencies stays there. `--keep` leaves the entries in place.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent
INBOX, FOLDER = DOCS / "decisions.md", DOCS / "decisions"
STAYS = "Dependencies"
EVIDENCE = re.compile(r"(?:python -m )?(?:benchmarks|tests)[./][\w./]*\w")
HEAD = """# Decisions

Why things are as they are, one file a decision, the newest first. A new decision goes at the end of `docs/decisions.md`: a heading
and two to five lines, with `### Context`, `### Rejected` and `### Evidence` where they help. `python docs/decisions.py` sorts it into
this folder. `docs/decisions.md` also says what each dependency is for.

"""


class Entry(NamedTuple):
    """A decision as it stands in the inbox."""

    title: str
    date: str
    text: str

    @property
    def slug(self) -> str:
        """Its title as a file's name."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def dates() -> dict[str, str]:
    """The day on which each heading of the inbox was written."""
    blamed = subprocess.run(
        ["git", "blame", "--date=short", "-s", "--show-name", "-c", INBOX],
        capture_output=True,
        text=True,
        check=True,
        cwd=DOCS,
    ).stdout
    commits = [line.split("\t")[0].lstrip("^") for line in blamed.splitlines()]
    days: dict[str, str] = {}
    for commit, line in zip(commits, INBOX.read_text().splitlines(), strict=True):
        if line.startswith("## "):
            shown = ["git", "show", "-s", "--format=%as", commit.split()[0]]
            done = subprocess.run(shown, capture_output=True, text=True, cwd=DOCS)
            days[line[3:]] = done.stdout.strip() if done.returncode == 0 else "today"
    return days


def entries() -> list[Entry]:
    """The decisions of the inbox, without the table of dependencies."""
    days = dates()
    parts = re.split(r"^## (.+)\n", INBOX.read_text(), flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [Entry(title, days[title], text.strip()) for title, text in pairs if title != STAYS]


def written(entry: Entry) -> str:
    """The file of a decision."""
    text = re.sub(r"^### ", "## ", entry.text, flags=re.MULTILINE)
    if "## Evidence" not in text and (named := dict.fromkeys(EVIDENCE.findall(text))):
        text += "\n\n## Evidence\n\n" + "".join(f"- `{name}`\n" for name in named)
    return f"# {entry.title}\n\nDate: {entry.date}. Status: accepted.\n\n## Decision\n\n{text.strip()}\n"


def index() -> str:
    """The list of all decisions."""
    rows = []
    for path in sorted(FOLDER.glob("2*.md"), reverse=True):
        title, status = re.match(r"# (.+)\n\nDate: [\d-]+\. Status: ([^\n]+)\.\n", path.read_text()).groups()  # type: ignore[union-attr]
        rows.append(f"| {path.name[:10]} | [{title}]({path.name}) | {status} |\n")
    return HEAD + "| date | decision | status |\n| --- | --- | --- |\n" + "".join(rows)


def main(*, keep: bool) -> None:
    """Writes the files of new entries and the index, and takes the entries out of the inbox."""
    FOLDER.mkdir(exist_ok=True)
    there = {path.stem[11:] for path in FOLDER.glob("2*.md")}
    new = [e for e in entries() if e.slug not in there]
    for entry in new:
        (FOLDER / f"{entry.date}-{entry.slug}.md").write_text(written(entry))
    (FOLDER / "README.md").write_text(index())
    if not keep:
        head, _, rest = INBOX.read_text().partition(f"## {STAYS}\n")
        stays = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
        head = head.split("\n## ")[0].rstrip("\n")
        INBOX.write_text(f"{head}\n\n## {STAYS}\n{stays.rstrip()}\n")
    sys.stdout.write(f"{len(new)} decisions written\n")


if __name__ == "__main__":
    main(keep="--keep" in sys.argv)
