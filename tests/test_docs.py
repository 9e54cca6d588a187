"""The documentation is true: its generated pages are current, its links lead somewhere, its commands run, its words are plain."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from inspect import getdoc, isclass
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import terrazzo
from benchmarks import evidence
from terrazzo.cli import cli
from terrazzo.commands import COMMANDS
from terrazzo.config import MosaicConfig, parse_config
from tests.conftest import ROOT

DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
import decisions  # noqa: E402
import generate  # noqa: E402

LONG = ("reference", "evidence", "decisions")
"""Sections whose pages may have more words than one reads at once."""
MOST_WORDS = 1500
GONE = {"docker/server.Dockerfile", "docker/precompute.Dockerfile"}
"""Files that CHANGES names as gone."""
OURS = re.compile(
    r"\b(anew|told|tells? of|what it takes|what that takes|whoever|who waits|doors?|desk|nobody)\b|(?<![\w.)\]])\.\d",
    re.IGNORECASE,
)
"""Words of ours alone, and decimals without their zero."""


def pages() -> list[Path]:
    """The pages that people read, but for decisions and the inbox of decisions."""
    left = ("decisions", "reference/messages")
    own = [p for p in DOCS.rglob("*.md") if not p.relative_to(DOCS).as_posix().startswith(left)]
    return [*sorted(own), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """A page without code."""
    return re.sub(r"^```.*?^```|^ {4}.*?$|``[^`]+``|`[^`]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and Sphinx name them."""
    titles = re.findall(
        r"^#+ (.+)$",
        re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL),
        re.MULTILINE,
    )
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_its_table_says(name):
    assert (DOCS / "reference" / f"{name}.md").read_text() == generate.page(name), (
        "run `python docs/generate.py`"
    )


def test_every_error_says_what_to_do():
    assert set(generate.REMEDIES) == set(generate.all_errors())


def test_every_link_leads_to_a_page_and_its_heading():
    lost = []
    for path in [
        *pages(),
        *DOCS.glob("decisions/*.md"),
        *(ROOT / n for n in ("SECURITY.md", "findings/README.md")),
    ]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)", path.read_text()):
            there = (path.parent / target).resolve() if target else path
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                lost.append(f"{name_of(path)}: {target}#{anchor}")
    assert lost == []


def test_every_page_is_in_the_navigation():
    listed = (DOCS / "index.md").read_text()
    absent = [
        p
        for p in DOCS.glob("*/*.md")
        if p.parent.name != "decisions" and f"\n{p.parent.name}/{p.stem}\n" not in listed
    ]
    assert [name_of(p) for p in absent if p.stem != "messages"] == []


def test_no_page_is_longer_than_one_reads_at_once():
    counted = {name_of(p): len(p.read_text().split()) for p in pages() if p.parent.name not in LONG}
    assert {name: words for name, words in counted.items() if words > MOST_WORDS} == {}


def test_pages_use_the_words_of_the_field():
    seen = {}
    for path in [*pages(), ROOT / "CHANGES.md", ROOT / "SECURITY.md"]:
        if words := [m[0] for m in OURS.finditer(prose(path.read_text()))]:
            seen[name_of(path)] = words
    assert seen == {}


def test_every_file_that_is_named_exists():
    """Paths in backticks that begin with a folder of the repository."""
    lost = []
    for path in [*pages(), ROOT / "CHANGES.md", ROOT / "SECURITY.md"]:
        for name in re.findall(
            r"`((?:docs|benchmarks|tests|findings|docker|precompute|server|terrazzo|\.ci)/[\w./-]*\w)`",
            path.read_text(),
        ):
            if not (ROOT / name).exists() and name not in GONE:
                lost.append(f"{name_of(path)}: {name}")
    assert lost == []


def test_every_test_that_a_promise_names_exists():
    sources = "".join(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
    files = {p.name for p in (ROOT / "tests").rglob("*.py")}
    for path in (ROOT / "SECURITY.md", DOCS / "reference" / "promises.md"):
        named = re.findall(r"`(test_\w+(?:\.py)?)`", path.read_text())
        assert named
        lost = [n for n in named if (n not in files if n.endswith(".py") else f"def {n}(" not in sources)]
        assert lost == []


def test_the_measured_sections_are_those_of_one_command():
    seen = {}
    for path in DOCS.rglob("*.md"):
        for name, content in re.findall(
            r"<!-- measured: (\S+) -->\n(.*?)<!-- end -->", path.read_text(), re.DOTALL
        ):
            seen[name] = path.relative_to(DOCS).as_posix()
            assert re.match(r"Measured on \d{4}-\d\d-\d\d at commit \w+ \(`PIXELS` \d+\)", content), name
            assert f"    python -m {evidence.SECTIONS[name].command}\n" in content
    assert seen == {name: section.page for name, section in evidence.SECTIONS.items()}


def test_public_docstrings_use_the_words_of_the_field():
    from terrazzo import client, errors, server
    from terrazzo.mosaic import explain

    seen = {}
    for module in (terrazzo, client, errors, server, explain):
        for name in module.__all__:
            thing = getattr(module, name)
            members = [v for k, v in vars(thing).items() if not k.startswith("_")] if isclass(thing) else []
            for each in (thing, *members):
                if words := OURS.findall(getdoc(each) or "" if callable(each) else ""):
                    seen[f"{module.__name__}.{name}"] = words
    assert seen == {}


def commands() -> Iterator[tuple[str, str]]:
    """Every `terrazzo …` that stands on a line of its own in a page, with the page's name."""
    for path in pages():
        if path.stem == "commands":
            continue
        text = path.read_text().replace("\\\n", " ")
        for line in re.findall(r"^(?: {4,}|\w+=\S+ )*(terrazzo [a-z].*)$", text, re.MULTILINE):
            yield name_of(path), line


def test_every_command_of_the_pages_exists_with_its_options():
    wrong = []
    context = click.Context(cli)
    for page, line in commands():
        name, *rest = line.split()[1:]
        if name not in COMMANDS:
            wrong.append(f"{page}: {line}")
            continue
        command = cli.get_command(context, name)
        if isinstance(command, click.Group) and rest:
            command = command.commands.get(next((w for w in rest if w in command.commands), ""), command)
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        known |= {o for p in cli.get_command(context, name).params for o in p.opts}
        options = re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", line.split(" #")[0].split(">>")[0])
        wrong += [
            f"{page}: {line}: {o}" for o in options if o not in known and not (len(o) > 2 and o[1] != "-")
        ]
    assert wrong == []


def blocks() -> list[tuple[str, str]]:
    """The blocks of the pages that are marked as bash, which run as they stand."""
    return [
        (name_of(p), b)
        for p in pages()
        for b in re.findall(r"^```bash\n(.+?)```", p.read_text(), re.MULTILINE | re.DOTALL)
    ]


def test_the_commands_of_the_pages_run_over_the_demo(sample_store, tmp_path, monkeypatch):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "demo").symlink_to(sample_store)
    monkeypatch.chdir(tmp_path)
    lines = [line for _, block in blocks() for line in block.strip().splitlines()]
    assert len(lines) > 5
    for line in dict.fromkeys(lines):
        if not line.startswith("terrazzo "):
            subprocess.run(["sh", "-c", line], check=True)
            continue
        done = CliRunner().invoke(
            cli, [*shlex.split(line)[1:], *(["--overwrite"] if "export" in line else [])]
        )
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert {"zagreb.tif", "ndvi.tif", "change.tif", "zagreb-map.gpkg", "areas.csv"} <= set(
        os.listdir(tmp_path)
    )


def test_the_python_of_the_python_page_runs(sample_store, tmp_path, monkeypatch):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "demo").symlink_to(sample_store)
    monkeypatch.chdir(tmp_path)
    code = re.search(
        r"```python\n(import terrazzo\n.+?)```", (DOCS / "start" / "python.md").read_text(), re.DOTALL
    )[1]
    exec(compile(code, "python.md", "exec"), {})
    assert (tmp_path / "ndvi.tif").stat().st_size > 0


def test_the_page_of_mosaic_toml_names_every_entry_and_its_example_is_read():
    page = (DOCS / "reference" / "mosaic-toml.md").read_text()
    default = MosaicConfig("mosaic")
    for name in set(MosaicConfig.__dataclass_fields__) - {"id"}:
        row = re.search(rf"^\| `{name}` \|.+$", page, re.MULTILINE)
        assert row, name
        value = getattr(default, name)
        if isinstance(value, str | float | int) and value != "":
            shown = (
                str(value).lower()
                if isinstance(value, bool)
                else f"{value:g}"
                if isinstance(value, float)
                else value
            )
            assert f"`{shown}`" in row[0], name
    example = re.search(r"```toml\n(.+?)```", page, re.DOTALL)[1]
    config = parse_config("mosaic", example)
    assert [p.name for p in config.periods] == ["early", "late", "august"]


def test_public_names_are_those_of_the_page():
    page = (DOCS / "reference" / "python.md").read_text()
    from terrazzo import client, errors, server

    for module in (terrazzo, client, errors, server):
        for name in module.__all__:
            assert getattr(module, name) is not None
            assert name in page or module is errors
    assert {kind.__name__ for kind in generate.all_errors()} < set(errors.__all__)


def test_the_version_has_one_place():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    images = re.findall(r"/terrazzo:(\S+)", (ROOT / "docker" / "kubernetes.yaml").read_text())
    assert set(images) == {version}
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGES.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or re.fullmatch(
        rf"{re.escape(version)} – \d{{4}}-\d\d-\d\d", headings[0]
    )


def test_every_decision_has_a_date_and_stands_in_the_index():
    listed = decisions.index()
    assert (DOCS / "decisions" / "README.md").read_text() == listed
    for path in (DOCS / "decisions").glob("2*.md"):
        assert f"Date: {path.name[:10]}." in path.read_text()
        assert path.name in listed
