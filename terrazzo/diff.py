"""What differs between two versions of a mosaic: scenes in and out, windows whose pixels may differ."""

from dataclasses import dataclass
from typing import Any

from terrazzo.cells import CellGrid
from terrazzo.grid import PixelBox, Window
from terrazzo.version import Version
from terrazzo.words import counted


@dataclass(frozen=True)
class PeriodChange:
    """What became of a period.

    Attributes:
        scenes_in, scenes_out: names that only the later and only the earlier version has.
        remade: scenes that both have, computed again from their products (another revision).
        reweighed: scenes that both have in the same revision, with other weights.
        windows: by EPSG code, windows whose content differs, those that only one version has included.
        of: by EPSG code, windows that one of them has.
    """

    name: str
    scenes_in: tuple[str, ...]
    scenes_out: tuple[str, ...]
    remade: tuple[str, ...]
    reweighed: tuple[str, ...]
    windows: dict[int, tuple[Window, ...]]
    of: dict[int, int]

    @property
    def changed(self) -> int:
        """Number of windows that differ."""
        return sum(map(len, self.windows.values()))


@dataclass(frozen=True)
class Change:
    """What differs between two versions, period by period; periods that only one has count as empty in the other."""

    before: str
    after: str
    periods: tuple[PeriodChange, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain lists and numbers; a window is [wy, wx]."""
        return {
            "before": self.before,
            "after": self.after,
            "periods": [
                {
                    "name": p.name,
                    "scenes_in": list(p.scenes_in),
                    "scenes_out": list(p.scenes_out),
                    "remade": list(p.remade),
                    "reweighed": list(p.reweighed),
                    "windows": {str(z): [list(w) for w in ws] for z, ws in p.windows.items()},
                    "of": {str(z): n for z, n in p.of.items()},
                }
                for p in self.periods
            ],
        }

    def lines(self) -> list[str]:
        """The same for people."""
        out = [f"{self.before} → {self.after}"]
        for p in self.periods:
            out.append(f"period {p.name}: {p.changed} of {counted(sum(p.of.values()), 'window')} changed")
            for label, names in (
                ("in", p.scenes_in),
                ("out", p.scenes_out),
                ("computed again", p.remade),
                ("weights computed again", p.reweighed),
            ):
                out += [f"  {label}: {name}" for name in names]
            for epsg, windows in p.windows.items():
                out += [
                    f"  EPSG:{epsg} windows: rows {b.row0} to {b.row1 - 1}, columns {b.col0} to {b.col1 - 1}"
                    for b in boxes(windows)
                ]
        return out


def difference(before: Version, after: Version) -> Change:
    """Compares two versions of a mosaic by their locks and the hashes of their windows."""
    names = dict.fromkeys((*before.periods, *after.periods))
    return Change(before.name, after.name, tuple(_period(before, after, n) for n in names))


def _period(before: Version, after: Version, name: str) -> PeriodChange:
    old, new = _scenes(before, name), _scenes(after, name)
    both = sorted(set(old) & set(new))
    windows, of = {}, {}
    for epsg in sorted({*before.zones, *after.zones}):
        a, b = _windows(before, name, epsg), _windows(after, name, epsg)
        windows[epsg] = tuple(sorted(w for w in {*a, *b} if a.get(w) != b.get(w)))
        of[epsg] = len({*a, *b})
    return PeriodChange(
        name,
        tuple(sorted(set(new) - set(old))),
        tuple(sorted(set(old) - set(new))),
        tuple(i for i in both if old[i]["rev"] != new[i]["rev"]),
        tuple(i for i in both if old[i]["rev"] == new[i]["rev"] and old[i]["weight"] != new[i]["weight"]),
        windows,
        of,
    )


def _scenes(version: Version, period: str) -> dict[str, dict[str, Any]]:
    locked = [p for p in version.lock["periods"] if p["name"] == period]
    return {s["id"]: s for p in locked for s in p["scenes"]}


def _windows(version: Version, period: str, epsg: int) -> dict[Window, bytes]:
    grid: CellGrid | None = version.cell_grid(epsg, period)
    return {} if grid is None else grid.windows()


def boxes(windows: tuple[Window, ...]) -> list[PixelBox]:
    """Rectangles that cover exactly these windows, rows of them joined where they are alike; for people to read."""
    runs: list[PixelBox] = []
    for wy, wx in windows:
        if runs and runs[-1].row0 == wy and runs[-1].col1 == wx:
            runs[-1] = runs[-1]._replace(col1=wx + 1)
        else:
            runs.append(PixelBox(wy, wx, wy + 1, wx + 1))
    merged: list[PixelBox] = []
    for run in runs:
        above = next((m for m in merged if (m.row1, m.col0, m.col1) == (run.row0, run.col0, run.col1)), None)
        if above is None:
            merged.append(run)
        else:
            merged[merged.index(above)] = above._replace(row1=run.row1)
    return merged
