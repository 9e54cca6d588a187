"""Writes the pages of docs/reference/ that come from tables of the code: `python docs/generate.py`.

tests/test_docs.py holds them to it. The list of messages is not kept in the repository: `conf.py` writes it when the
site is built.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
from prometheus_client.metrics import MetricWrapperBase

from terrazzo import errors, formats
from terrazzo.bands import BANDS, PALETTE, STYLES, MaskClass
from terrazzo.cli import cli
from terrazzo.commands import COMMANDS
from terrazzo.mosaic.methods import METHODS
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.mosaic.quality import FLAGS
from terrazzo.precompute.work.prometheus import NAMES
from terrazzo.request import parameters
from terrazzo.server import metrics as counted
from terrazzo.server.errors import STATUS_CODES
from terrazzo.server.settings import Settings

FOLDER = Path(__file__).parent / "reference"
ROOT = FOLDER.parent.parent
HEAD = "<!-- written by docs/generate.py -->\n"
GROUPS = {
    "Get": "Fetch",
    "Build": "Build a mosaic",
    "Serve": "Serve it",
    "Use": "Use it",
    "Care": "Maintain a store",
}


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [[*columns], ["---"] * len([*columns]), *rows]
    return "".join(f"| {' | '.join(str(c).replace('|', '&#124;') for c in line)} |\n" for line in lines)


def sentence(text: str) -> str:
    """A text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def commands() -> str:
    """The command line: every command with its description, its arguments and its options."""
    parts = [
        "# Command line\n",
        "`terrazzo COMMAND --help` prints the same. Exit codes: 0 done, 1 failed, 2 the command line is not understood;"
        " [archives](../how-to/archives.md) lists those of `acquire`, `watch` and `audit`.\n",
    ]
    context = click.Context(cli, info_name="terrazzo")
    group = ""
    for name, row in COMMANDS.items():
        if row.group != group:
            group = row.group
            parts.append(f"## {GROUPS[group]}\n")
        command = cli.get_command(context, name)
        assert command is not None
        parts += _command(command, f"terrazzo {name}", row.extra)
    return "\n".join(parts)


def _command(command: click.Command, name: str, extra: str) -> list[str]:
    """The section of one command; a group's commands follow it."""
    parts = [f"### {name}\n"]
    with click.Context(command, info_name=name) as context:
        if not isinstance(command, click.Group):
            usage = command.get_usage(context).removeprefix("Usage: ")
            parts.append(f"    {' '.join(usage.split())}\n")
        parts.append(_described(command.help or ""))
        if extra:
            parts.append(f"Needs `pip install 'terrazzo[{extra}]'`.\n")
        rows = [
            (f"`{record[0]}`", record[1])
            for parameter in command.get_params(context)
            if (record := parameter.get_help_record(context)) and "--help" not in record[0]
        ]
        if rows:
            parts.append(table(("option", "meaning"), rows))
    if isinstance(command, click.Group):
        for sub, inner in command.commands.items():
            parts += _command(inner, f"{name} {sub}", "")
    return parts


def _described(text: str) -> str:
    """A command's help as Markdown: what click shows unwrapped becomes a block of code."""
    blocks = []
    for block in inspect.cleandoc(text).split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].strip() == "\b":
            blocks.append("\n".join(f"    {line}" for line in lines[1:]))
        else:
            blocks.append(" ".join(lines))
    return "\n\n".join(blocks) + "\n"


def request() -> str:
    """The parameters of requests, from the one table that every interface reads."""
    sections: Mapping[str, tuple[str, parameters.Table]] = {
        "Pixels": (
            "Tiles, points, boxes, `explain`, TileJSON, `gdal.xml`, WMTS and `terrazzo.open` take these. `terrazzo export`"
            " has them as options (`--max-cloud`), except `colormap_name` and `quality`.",
            parameters.PICTURE,
        ),
        "Points and explanations": ("`/point/…` and `/explain/…` take this too.", parameters.SURE),
        "Boxes": ("`/bbox/…` takes these too.", parameters.SIZED),
        "Maps of OGC API": ("`/collections/{id}/map` takes these too.", parameters.MAPPED),
        "Exports": (
            "The body of `POST /mosaics/{id}/exports`, and the options of `terrazzo export`.",
            parameters.EXPORT,
        ),
        "Statistics of features": (
            "`POST /mosaics/{id}/statistics` takes the parameters of pixels, and these.",
            parameters.DESCRIBED,
        ),
        "Tables of many areas": (
            "`POST /mosaics/{id}/exports/statistics`, and the options of `terrazzo statistics`, where the ending of `-o` is the"
            " format.",
            parameters.TABULATED,
        ),
    }
    parts = [
        "# Request parameters\n",
        "Every interface reads the same table with the same parser: [how requests are read](requests.md).\n",
    ]
    for title, (about, known) in sections.items():
        parts += [
            f"## {title}\n",
            f"{about}\n",
            table(("parameter", "meaning", "values", "default"), map(_row, known.values())),
        ]
    return "\n".join(parts)


def _row(parameter: parameters.Parameter) -> tuple[str, str, str, str]:
    names = ", ".join(f"`{n}`" for n in (parameter.name, *parameter.aliases))
    values = ", ".join(f"`{c}`" for c in parameter.choices)
    if not values and parameter.kind in ("number", "whole"):
        ends = [f"{end:g}" for end in (parameter.low, parameter.high) if end is not None]
        values = " to ".join(ends)
    return names, sentence(parameter.meaning), values, parameter.default


def settings() -> str:
    """The settings of a server."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() or field.default is None else field.default
        shown = ", ".join(map(str, default)) if isinstance(default, tuple) else default
        rows.append(
            (
                f"`TERRAZZO_{name.upper()}`",
                sentence(field.description or "name of the service"),
                f"`{shown}`" if shown != "" else "",
            )
        )
    return "\n".join(
        [
            "# Settings of a server\n",
            "`terrazzo serve` reads these environment variables once, when it starts. Lists are separated by commas.\n",
            table(("variable", "meaning", "default"), rows),
        ]
    )


def metrics() -> str:
    """The metrics of servers and of passes."""
    rows = []
    for collector in (c for c in vars(counted).values() if isinstance(c, MetricWrapperBase)):
        for family in collector.describe():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in collector._labelnames)
            rows.append((f"`{name}`", family.type, labels, family.documentation))
    return "\n".join(
        [
            "# Metrics\n",
            "Both are in Prometheus' text format; `docker/monitoring/` has a dashboard and alerts, the"
            " [runbook](../operate/runbook.md) says what to do at each alert.\n",
            "## Of a server\n",
            "`/metrics` answers with these. Several workers of one server count together.\n",
            table(("metric", "type", "labels", "meaning"), rows),
            "## Of precompute and watch\n",
            "`--metrics FILE.prom` writes these for the textfile collector of node_exporter.\n",
            table(("metric", "meaning"), ((f"`{n}`", sentence(m)) for n, m in NAMES.items())),
        ]
    )


REMEDIES: Mapping[type[errors.TerrazzoError], str] = {
    errors.InvalidRequest: "Correct the parameter; the message lists the allowed values.",
    errors.NotFound: "Choose one of those that `/mosaics`, `/mosaics/{id}` or `terrazzo versions` lists.",
    errors.OutsideCoverage: "Ask inside the mosaic's bounds; the message says so if latitude and longitude look swapped.",
    errors.TooLarge: "Ask for less, or order an export.",
    errors.NameTaken: "Add `--overwrite`, or choose another name.",
    errors.Overloaded: "Ask again after `Retry-After` seconds; see [load](../operate/load.md).",
    errors.TooMany: "Wait until the time that the message names, or have the quota raised.",
    errors.Changed: "Ask again without the condition, and take the whole answer.",
    errors.TooSlow: "Send again over a faster connection.",
    errors.Abandoned: "Nothing: the client left.",
    errors.StoreError: "Check the store's address, its format (`terrazzo store upgrade`), and whether another command writes to it.",
    errors.NothingUsable: "Read why each product is left out, and fetch others.",
    errors.EmptyStore: "Run `terrazzo precompute`; the server then shows the mosaic.",
    errors.HeldBack: "Look at the report; publish with `terrazzo publish --version V` if the version is right.",
    errors.ArchiveError: "Run the command again later, or name another archive with `--archive`.",
    errors.ProductError: "Nothing, if other products cover the place; else fetch the product again.",
    errors.MissingBand: "Fetch the band, or make a store without it (`--bands`).",
    errors.UnreadableAsset: "Delete the file and fetch the product again.",
    errors.WrongGrid: "Use the product in its own UTM zone; do not reproject it before.",
    errors.Uncorrectable: "Fetch the product's metadata too, or use the L2A product.",
    errors.ReadFailure: "Run `terrazzo store verify --repair`.",
    errors.Damaged: "Run `terrazzo store verify --repair`.",
    errors.StoreUnreachable: "Check the connection and the keys of the object store; a running server retries by itself.",
}
"""What a user can do about each error; tests/test_docs.py wants every class here."""


def all_errors() -> list[type[errors.TerrazzoError]]:
    """The error classes for users, in the order of their module."""
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.TerrazzoError)
        and kind is not errors.TerrazzoError
    ]


def errors_page() -> str:
    """The error classes with what to do about each, and the status codes."""
    rows = []
    for kind in all_errors():
        status = next(code for known, code in STATUS_CODES.items() if issubclass(kind, known))
        rows.append((f"`{kind.__name__}`", inspect.getdoc(kind), status, REMEDIES[kind]))
    return "\n".join(
        [
            "# Errors\n",
            'Every error for users is a class of `terrazzo.errors`. A server answers with its message as `{"detail": …}`;'
            " the command line prints the message and ends with exit code 1. The built site also lists all messages.\n",
            table(("error", "meaning", "HTTP status", "what to do"), rows),
        ]
    )


def tables() -> str:
    """Bands, styles, layers, methods, formats, mask classes."""
    nanometres = "{:.0f}".format
    return "\n".join(
        [
            "# Bands, styles, methods, formats\n",
            "## Bands\n",
            table(
                (
                    "band",
                    "common name",
                    "pixel of the instrument, m",
                    "centre of S2A, nm",
                    "width of S2A, nm",
                ),
                (
                    (
                        f"`{b.name}`",
                        f"`{b.common}`",
                        b.resolution,
                        nanometres(b.centre_nm[0]),
                        nanometres(b.width_nm),
                    )
                    for b in BANDS.values()
                ),
            ),
            "## Styles\n",
            "`style=` shows one of these. Black and white are in reflectance, or in the unit of the index.\n",
            table(
                ("style", "title", "bands or expression", "black to white", "colormap", "gamma"),
                (
                    (
                        f"`{s.name}`",
                        s.title,
                        f"`{s.expression}`" if s.expression else ", ".join(s.bands),
                        f"{s.rescale[0]:g} to {s.rescale[1]:g}",
                        f"`{s.colormap}`" if s.colormap else "",
                        f"{s.gamma:g}",
                    )
                    for s in STYLES.values()
                ),
            ),
            "## Layers\n",
            "`style=` also shows where pixels come from, except `weight`, `emad`, `smad` and `bcmad`, which are only `extras`"
            " of exports. As `tif` and `npy` these are int16 numbers with −32768 for no data.\n",
            table(
                ("style", "title", "unit"),
                (
                    (
                        f"`{n}`",
                        o.title + (f"; an extra of `method={o.method}` alone" if o.method else ""),
                        o.unit,
                    )
                    for n, o in ORIGINS.items()
                ),
            ),
            "`quality` is a sum of these bits:\n",
            table(("bit", "meaning"), ((bit, sentence(flag.text)) for bit, flag in sorted(FLAGS.items()))),
            "## Methods\n",
            "`method=` chooses how overlapping scenes become one value.\n",
            table(("method", "meaning"), ((f"`{n}`", sentence(m.meaning)) for n, m in METHODS.items())),
            "## Classes of masks\n",
            table(
                ("value", "class", "colour, RGB"),
                ((int(c), c.name.lower().replace("_", " "), PALETTE.get(c, "")) for c in MaskClass),
            ),
            "## Formats\n",
            table(
                ("ending", "media type", "offered for"),
                (
                    (
                        ", ".join(f"`{n}`" for n in (f.name, *f.aliases)),
                        f"`{f.media}`",
                        ", ".join(f.interfaces).replace("account", "explanation"),
                    )
                    for f in formats.FORMATS.values()
                ),
            ),
        ]
    )


def messages() -> str:
    """All messages of errors, as the code has them; `…` stands for what a message fills in."""
    names = {kind.__name__ for kind in all_errors()}
    rows: dict[str, set[str]] = {}
    for package in ("terrazzo", "precompute", "server"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Raise)
                    and isinstance(node.exc, ast.Call)
                    and isinstance(node.exc.func, ast.Name)
                ):
                    name, given = node.exc.func.id, node.exc.args
                    text = _text(given[0]) if given else ""
                    if name in names and len(text) > len("……"):
                        rows.setdefault(name, set()).add(text)
    parts = [
        "# Messages\n",
        "What errors say, by class; `…` stands for names and numbers. [Errors](errors.md) says what to do.\n",
    ]
    for name, texts in rows.items():
        parts += [f"## {name}\n", "".join(f"- `` {t} ``\n" for t in sorted(texts))]
    return "\n".join(parts)


def _text(node: ast.expr) -> str:
    """The words of a string expression."""
    if isinstance(node, ast.Constant):
        return " ".join(str(node.value).split())
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values).strip()
    return "…"


PAGES: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "request": request,
    "settings": settings,
    "metrics": metrics,
    "errors": errors_page,
    "tables": tables,
}


def page(name: str) -> str:
    """A page as it should be in the repository."""
    return re.sub(r"\n{3,}", "\n\n", HEAD + PAGES[name]().rstrip("\n")) + "\n"


if __name__ == "__main__":
    for known in PAGES:
        (FOLDER / f"{known}.md").write_text(page(known))
    sys.stdout.write(f"{len(PAGES)} pages written\n")
