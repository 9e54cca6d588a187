"""How seamless the normalized mosaic of a store is: one table, goals beside the figures.

    terrazzo precompute sample --store STORE
    python -m benchmarks.normalization STORE [--strict] [--longest PIXELS]

`--strict` judges every composite by a day that it does not hold (five times the work); without it each day
judges the composite of all days, itself among them, which flatters the composite a little. `--longest 1000` measures the sample at 120 m, the pixel its scenes were
delivered with; the store's 60 m only make the two tiles nest.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from terrazzo.precompute.judge import seams
from terrazzo.store import Store
from terrazzo.version import open_version

SAME_DAY = {"2023-08-13": 0.015, "2023-08-15": 0.015, "2023-08-18": 0.03, "2023-08-20": 0.015}
CLOUD = {"feather": 0.0015, "robust": 0.0005}
STAGES = {"off": "merged", "on": "normalized"}


def main() -> None:
    """Prints the table; writes the figures as JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--mosaic", default="mosaic")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument(
        "--longest", type=int, default=seams.LONGEST, help="pixels of the longer side at most"
    )
    options = parser.parse_args()
    version = open_version(Store(options.store), options.mosaic)
    period = next(iter(version.periods))
    for epsg in version.zones:
        report(seams.View(version, period, epsg, options.longest), options.strict)


def report(view: seams.View, strict: bool) -> None:
    """Measures one zone of a version and prints its table."""
    print(
        f"{view.version.mosaic_id} {view.version.name}, EPSG:{view.epsg}, {view.pixel:g} m, {view.target.height} × {view.target.width} px"
    )
    print(f"bands {' '.join(view.bands)}; normalization off → on; · no goal, ok met, MISSED")
    scenes = dict(zip(STAGES, seams.read_scenes(view, *STAGES.values()), strict=True))
    print("\nsame day, step between tiles in %, 8 × 8 px blocks of clear land")
    for off, on in zip(*(seams.same_day(scenes[k]) for k in STAGES), strict=True):
        goal = SAME_DAY.get(off["date"]) if off["blocks"] >= 50 else None
        worst = max(map(abs, on["step"].values()))
        line(f"{off['date']} {off['tiles']} ({off['blocks']})", off["step"], on["step"], 100, goal, worst)
    print("\nbetween days, median ratio less 1 in %")
    for off, on in zip(*(seams.between_dates(scenes[k]) for k in STAGES), strict=True):
        goal = 0.035 if "2023-08-13" in off["dates"] else None
        line(
            f"{off['dates']} ({off['blocks']})",
            off["median"],
            on["median"],
            100,
            goal,
            max(map(abs, on["median"].values())),
        )
    print("\nbetween days, share of blocks within 5 %")
    for off, on in zip(*(seams.between_dates(scenes[k]) for k in STAGES), strict=True):
        goal = {"2023-08-15/2023-08-13": 0.85, "2023-08-20/2023-08-13": 0.70}.get(off["dates"])
        least = min(on["within5"].values())
        line(off["dates"], off["within5"], on["within5"], 100, -goal if goal else None, -least)
    clouds(view, scenes)
    steps(view, scenes, strict)


def line(
    name: str, off: dict[str, float], on: dict[str, float], unit: float, goal: float | None, worst: float
) -> None:
    """One row: figures by band before and after, and whether the worst lies below the goal."""
    values = [" ".join(f"{v * unit:6.1f}" for v in row.values()) for row in (off, on)]
    verdict = "·" if goal is None else f"{'ok' if worst <= goal else 'MISSED'} (goal {abs(goal) * unit:g})"
    print(f"  {name:<34} {values[0]}  → {values[1]}   {verdict}")


def clouds(view: seams.View, scenes: dict[str, seams.Scenes]) -> None:
    """Residual cloud of each method."""
    print("\nresidual cloud in % of pixels that have a clear date; area without one, flagged, in %")
    for method in ("first", "feather", "robust"):
        for state, stage in STAGES.items():
            found = seams.residual_cloud(scenes[state], view.composite(method, stage))
            goal = CLOUD.get(method)
            verdict = (
                "·" if goal is None else f"{'ok' if found['cloud'] <= goal else 'MISSED'} (goal {goal:.2%})"
            )
            print(
                f"  {method:<8} {state:<4} {found['cloud']:8.3%}   {found['no_clear_date']:.2%} {found['flagged']:.2%}   {verdict}"
            )


def steps(view: seams.View, scenes: dict[str, seams.Scenes], strict: bool) -> None:
    """Error steps at borders of each kind beside those of single days."""
    for reach in (seams.NEAR, seams.WIDE):
        where = seams.places(scenes["off"], reach)
        print(
            f"\nseam error steps, e-4, {reach} px ({reach * view.pixel / 1000:g} km) each side: composite | single days | ratio, worst band"
        )
        for method in ("first", "feather", "robust"):
            for state, stage in STAGES.items():
                lands = scenes[state].by_date
                if strict:
                    pictures = {
                        d: seams.reflectance(
                            view.composite(method, stage, other_days(view, scenes[state], d)).values
                        )
                        for d in lands
                    }
                else:
                    pictures = dict.fromkeys(lands, seams.reflectance(view.composite(method, stage).values))
                for kind, places in where.items():
                    found = seams.error_step(places, pictures, lands)
                    ratio = float(np.max(found.error / found.single))
                    goal = 1.3 if state == "on" and method != "first" else None
                    verdict = "·" if goal is None else f"{'ok' if ratio <= goal else 'MISSED'} (goal {goal})"
                    print(
                        f"  {kind:<6} {method:<8} {state:<4}"
                        f" {fours(found.error)} | {fours(found.single)} | {ratio:5.2f}   {verdict}  n={found.count}"
                    )


def other_days(view: seams.View, scenes: seams.Scenes, day: str) -> list[str]:
    """Scenes of all days but one."""
    return [e.scene.id for e, d in zip(view.entries, scenes.dates, strict=True) if d != day]


def fours(values: Sequence[float]) -> str:
    """Reflectance in units of 1e-4."""
    return " ".join(f"{1e4 * v:4.0f}" for v in values)


if __name__ == "__main__":
    main()
