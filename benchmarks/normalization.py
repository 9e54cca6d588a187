"""How seamless the mosaic of a store is, without and with normalization: tables in Markdown.

    terrazzo precompute sample --store STORE
    python -m benchmarks.normalization STORE [--longest PIXELS] [--strict] [--only days --only agreement --only cloud --only borders]

`--longest 1000` measures the sample at 120 m, the pixel of its scenes; the store's 60 m only make the two tiles nest. `--strict` judges
every mosaic by a day that it does not hold (five times the work); without it each day judges the mosaic of all days, itself among them,
which flatters the mosaic a little.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from terrazzo.config import Method
from terrazzo.precompute.judge import seams
from terrazzo.store import Store
from terrazzo.version import open_version

STAGES = {"off": "merged", "on": "normalized"}
METHODS: tuple[Method, ...] = ("feather", "robust", "kriging")
FEWEST = 1000
"""Blocks that two days must share to be compared."""
BORDERS = {"swath": "edge of a swath", "tile": "border of tiles", "hole": "hole of a cloud"}
TABLES = ("days", "agreement", "cloud", "borders")


@click.command(help=__doc__)
@click.argument("store", type=click.Path(exists=True, path_type=Path))
@click.option("--mosaic", default="mosaic", show_default=True)
@click.option("--longest", default=seams.LONGEST, help="pixels of the longer side at most")
@click.option("--strict", is_flag=True, help="judge by a day that the mosaic does not hold")
@click.option("--only", type=click.Choice(TABLES), multiple=True, help="tables [default: all]")
def main(store: Path, mosaic: str, longest: int, strict: bool, only: Sequence[str]) -> None:
    """Prints the tables of each zone."""
    version = open_version(Store(store), mosaic)
    period = next(iter(version.periods))
    for epsg in version.zones:
        view = seams.View(version, period, epsg, longest)
        scenes = dict(zip(STAGES, seams.read_scenes(view, *STAGES.values()), strict=True))
        height, width = view.target.height, view.target.width
        click.echo(f"Version {version.name}, EPSG:{epsg}, {height} × {width} px of {view.pixel:g} m.\n")
        wanted = only or TABLES
        if "days" in wanted:
            days(view, scenes)
        if "agreement" in wanted:
            agreement(view, scenes)
        if "cloud" in wanted:
            cloud(view, scenes)
        if "borders" in wanted:
            borders(view, scenes, strict)


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Prints a table in Markdown."""
    lines = [[*head], *rows]
    lines.insert(1, ["---"] * len(lines[0]))
    click.echo(f"{title}:\n\n" + "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines))


def pairs(off: Mapping[str, float], on: Mapping[str, float]) -> list[str]:
    """Figures by band in per cent, without and with normalization."""
    return [
        " → ".join(f"{100 * v:.1f}".replace("-0.0", "0.0").replace("-", "−") for v in (off[b], on[b]))
        for b in off
    ]


def head(view: seams.View, *first: str) -> list[str]:
    """The head of a table with a column a band."""
    return [*first, f"{view.bands[0]}, off → on", *view.bands[1:]]


def days(view: seams.View, scenes: Mapping[str, seams.Scenes]) -> None:
    """How the tiles of one day agree, and how the days agree."""
    steps = zip(*(seams.same_day(scenes[k]) for k in STAGES), strict=True)
    table(
        "Step between the two tiles on one day, per cent; a block is 8 × 8 px of clear land",
        head(view, "day", "blocks"),
        ([off["date"], off["blocks"], *pairs(off["step"], on["step"])] for off, on in steps),
    )
    table(
        "Median ratio of two days minus 1, per cent",
        head(view, "days", "blocks"),
        (
            [off["dates"].replace("/", " / "), off["blocks"], *pairs(off["median"], on["median"])]
            for off, on in shared(scenes)
        ),
    )


def shared(scenes: Mapping[str, seams.Scenes]) -> list[tuple[dict, dict]]:
    """Pairs of days that share enough blocks, without and with normalization."""
    rows = zip(*(seams.between_dates(scenes[k]) for k in STAGES), strict=True)
    return [(off, on) for off, on in rows if off["blocks"] >= FEWEST]


def agreement(view: seams.View, scenes: Mapping[str, seams.Scenes]) -> None:
    """The share of blocks on which two days agree."""
    table(
        "Blocks of two days that agree within 5 %, per cent",
        head(view, "days"),
        (
            [off["dates"].replace("/", " / "), *pairs(off["within5"], on["within5"])]
            for off, on in shared(scenes)
        ),
    )


def cloud(view: seams.View, scenes: Mapping[str, seams.Scenes]) -> None:
    """Residual cloud of each method."""
    rows = []
    for method in METHODS:
        shares = [
            seams.residual_cloud(scenes[k], view.composite(method, s))["cloud"] for k, s in STAGES.items()
        ]
        rows.append([f"`{method}`", *(f"{100 * s:.3f}" for s in shares)])
    table("Cloud left, per cent of the pixels that have a clear date", ("method", "off", "on"), rows)


def borders(view: seams.View, scenes: Mapping[str, seams.Scenes], strict: bool) -> None:
    """Error steps at borders of each kind over those of single days, worst band."""
    rows: dict[str, list[str]] = {kind: [] for kind in BORDERS}
    columns = []
    for reach in (seams.NEAR, seams.WIDE):
        where = seams.places(scenes["off"], reach)
        for method in METHODS:
            columns.append(f"`{method}`, {reach * view.pixel / 1000:.1f} km, off → on")
            ratios: dict[str, list[float]] = {kind: [] for kind in BORDERS}
            for state, stage in STAGES.items():
                lands = scenes[state].by_date
                pictures = {
                    d: seams.reflectance(
                        view.composite(
                            method, stage, other_days(view, scenes[state], d) if strict else ()
                        ).values
                    )
                    for d in (lands if strict else list(lands)[:1])
                }
                shown = {d: pictures[d] if strict else next(iter(pictures.values())) for d in lands}
                for kind, places in where.items():
                    step = seams.error_step(places, shown, lands)
                    ratios[kind].append(float(np.max(step.error / step.single)))
            for kind, figures in ratios.items():
                rows[kind].append(" → ".join(f"{f:.2f}" for f in figures))
    table(
        "Error step over that of one single day, worst band, by the width that is compared on each side of a border",
        ("border", *columns),
        ([BORDERS[kind], *figures] for kind, figures in rows.items()),
    )


def other_days(view: seams.View, scenes: seams.Scenes, day: str) -> list[str]:
    """Scenes of all days but one."""
    return [e.scene.id for e, d in zip(view.entries, scenes.dates, strict=True) if d != day]


if __name__ == "__main__":
    main()
