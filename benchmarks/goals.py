"""The goals of the masks, before and after: what `benchmarks.clouds --before CHECKOUT` prints first.

Two states of the code judge the same pixels, by number of bands: images under simulated clouds (each place by classifiers fitted without it),
wide pictures under such clouds, the dense scene, the dates of the Belgian series, clear images, and pixels labelled by hand. The difference
comes with the interval that holds it in 95 of 100 draws of places, paired: both states are scored on the same places of each draw.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terrazzo.bands import FOUR, MaskClass
from terrazzo.precompute.clouds.model import BANDS, SIX
from terrazzo.precompute.clouds.train.elsewhere import clear_elsewhere, fields
from terrazzo.precompute.clouds.train.fit import NO_CIRRUS
from terrazzo.precompute.clouds.train.scenes import clear_images, images, place_of, read, simulated
from terrazzo.precompute.clouds.train.simulate import CLOUD, SHADOW, THIN

BAND_SETS = {"13": BANDS, "12": NO_CIRRUS, "6": SIX, "4": FOUR}
SKY_SEED = 77
"""Of the skies that are judged; training draws others."""
CERTAIN = 0.3
"""Reflectance of the darkest visible band above which a pixel of a cloud is certainly one."""
OVERCAST, VEILED, ALL, NONE = 0.2, 0.1, 95.0, 0.0
"""Median reflectance in B02 of overcast and veiled dates of a series, and per cent of a date that Sen2Cor has to call cloud, or cloud and
shadow of a clear one."""
SNOWY = 0.02
"""Share of snow from which a clear image is not counted for four bands, which call snow cloud by rule."""
WIDE = 192
"""Pixels of 10 m by which wide pictures are mirrored beyond each side of their middle, which alone is judged. The others are 2.6 km wide: most of
their shadows have a cloud that stands outside. In a granule it stands inside, and so do clouds on rays from ground that is dark by itself."""
DRAWS = 2000
Judged = dict[str, NDArray[np.uint8]]
"""By judge: (row, col) 0 clear, 1 cloud, 2 shadow."""


class Case(NamedTuple):
    """A (band, row, col) image of 13 bands, NaN where one is missing, and what is known of it.

    Attributes:
        kind: the table's rows that it counts in.
        truth: (row, col) classes of the training, -1 unknown; None without.
        sun: zenith and azimuth in degrees.
    """

    name: str
    kind: str
    place: str
    level: str
    pixel: float
    image: NDArray[np.float32]
    truth: NDArray[np.int64] | None = None
    sun: tuple[float, float] | None = None


def cases(data: Path) -> Iterator[Case]:
    """All that is judged."""
    for k, path in enumerate(clear_images(data)):
        toa = read(path).astype(np.float64) / 10_000
        for level in ("L1C", "L2A"):
            sky = simulated(toa, 10.0, level, np.random.default_rng([SKY_SEED, k]))
            rho = sky.reflectance.astype(np.float32)
            yield Case(f"sky {level} {k}", "skies", place_of(path), level, 10.0, rho, sky.label, sky.sun)
        yield Case(path.stem, "clear", place_of(path), "L1C", 10.0, toa.astype(np.float32))
    yield from wide_skies(data)
    for k, clear in enumerate(clear_elsewhere(data)):
        rho = clear.reflectance.astype(np.float32)
        yield Case(f"{clear.place} {k}", "clear", clear.place, "L1C", 10.0, rho)
    for path in images(data):
        if path.stem.endswith("_cloudy"):
            rho = read(path) / np.float32(10_000)
            truth = _by_hand(data, path.stem, rho)
            # A place without a certain label is no place of the interval.
            if (truth >= 0).any():
                yield Case(path.stem, "by hand", place_of(path), "L1C", 10.0, rho, truth)
    for day, image, scl in fields(data):
        if kind := kind_of_date(image, scl):
            yield Case(f"fields {day}", kind, f"{day}", "L2A", 20.0, image.astype(np.float32))
    with np.load(data / "imagery/reference_spectra/ukis_csmask_landsat5_labelled_6band.npz") as file:
        six, raw = np.moveaxis(file["img"], -1, 0), file["msk"][..., 0]
    whole = np.full((len(BANDS), *raw.shape), np.nan, np.float32)
    whole[[BANDS.index(b) for b in SIX]] = six
    yield Case(
        "dense", "dense", "dense", "L1C", 30.0, whole, np.select([raw == 0, raw == 4], [SHADOW, CLOUD], 0)
    )


def wide_skies(data: Path) -> Iterator[Case]:
    """One clear image of each place, 6.4 km wide and of 20 m as `precompute` masks them, under a simulated sky; the middle's classes."""
    rim, seen = WIDE // 2, set[str]()
    for k, path in enumerate(clear_images(data)):
        place = place_of(path)
        if place in seen:
            continue
        seen.add(place)
        toa = np.pad(read(path) / 10_000, ((0, 0), (WIDE, WIDE), (WIDE, WIDE)), mode="symmetric")
        toa = toa.reshape(len(toa), toa.shape[1] // 2, 2, -1, 2).mean((2, 4))
        for level in ("L1C", "L2A"):
            sky = simulated(toa, 20.0, level, np.random.default_rng([SKY_SEED, k]))
            truth = np.pad(sky.label[rim:-rim, rim:-rim], rim, constant_values=-1)
            rho = sky.reflectance.astype(np.float32)
            yield Case(f"wide {level} {k}", "wide skies", place, level, 20.0, rho, truth, sky.sun)


def kind_of_date(image: NDArray[np.floating], scl: NDArray[Any]) -> str | None:
    """Overcast, veiled or clear by a date's brightness and Sen2Cor's classes; None where these disagree or the date is mixed.

    Args:
        image: (band, row, col) reflectance of `BANDS`.
    """
    clouded, shaded = (100 * np.isin(scl, values).mean() for values in ((8, 9, 10), (3,)))
    blue = np.nanmedian(image[BANDS.index("B02")])
    if blue > OVERCAST and clouded + 100 * (scl == 11).mean() > ALL:
        return "overcast"
    if blue > VEILED and clouded > ALL:
        return "veiled"
    return "clear days" if clouded + shaded <= NONE and blue < VEILED / 2 else None


def _by_hand(data: Path, patch: str, rho: NDArray[np.float32]) -> NDArray[np.int64]:
    """(row, col) classes of the pixels that people labelled."""
    table = pd.read_csv(data / "labelled" / "points.csv")
    table = table[(table["patch"] == patch) & (table["label"] != "uncertain")]
    out = np.full(rho.shape[1:], -1)
    known = {"clear": 0, "thin_or_edge_cloud": THIN, "thick_cloud": CLOUD, "shadow": SHADOW}
    out[table["row"], table["col"]] = table["label"].map(known)
    return out


def compared_with(
    before: Path, data: Path, folder: Path, models: Path, python: Path | None = None
) -> pd.DataFrame:
    """The table of two checkouts; `models` keeps the fitted classifiers of each, `folder` what passes between processes.

    Prints the clear scores' gaps first, and with `python` (see `anchors`) how open tools judge the same images.
    """
    every = list(cases(data))
    here = Path(__file__).parents[1]
    states = [
        judged(code, data, every, folder, models / n) for code, n in ((before, "before"), (here, "after"))
    ]
    click.echo(f"clear score against the share that is clear\n{score_gaps(every, states[1]).to_string()}\n")
    if python is not None:
        click.echo(f"beside others\n{beside_others(every, states[1], python, folder).to_string()}\n")
    return table(every, *states)


def judged(
    checkout: Path, data: Path, every: list[Case], folder: Path, kept: Path
) -> dict[str, NDArray[np.uint8]]:
    """(row, col) classes of each case and number of bands by a checkout's code."""
    source, target = folder / "cases.npz", folder / "judged.npz"
    asked = [
        {"name": f"{c.name}/{n}", "of": c.name, "place": _unseen(c), "level": c.level, "pixel": c.pixel, "sun": c.sun, "bands": bands}
        for c in every
        for n, bands in BAND_SETS.items()
        if not (c.level == "L2A" and n == "13") and not (c.kind == "dense" and len(bands) > len(SIX))
    ]  # fmt: skip
    arrays: dict[str, Any] = {f"{c.name}.image": c.image for c in every}
    np.savez(source, cases=json.dumps(asked), **arrays)
    script = Path(__file__).parent / "masks_of_checkout.py"
    subprocess.run(
        [sys.executable, str(script), *map(str, (checkout, data, source, target, kept))], check=True
    )
    with np.load(target) as file:
        return {name: file[name] for name in file.files}


def _unseen(case: Case) -> str:
    """The place that the classifier must not have seen."""
    return "Belgian fields" if case.name.startswith("fields") else case.place


class Counts(NamedTuple):
    """What is counted in a case: pixels that are so, that are called so, both, of cloud and of shadow; certain clouds and those kept; clear ones
    that stay clear; known ones."""

    cloud: int
    called: int
    both: int
    shadow: int
    shaded: int
    dark: int
    certain: int
    kept: int
    shown: int
    known: int


def counted(case: Case, classes: NDArray[np.uint8]) -> Counts:
    """The counts of a case; of one without truth all pixels with data, none of them cloud."""
    data = classes != MaskClass.NODATA
    truth = case.truth if case.truth is not None else np.where(data, 0, -1)
    known = truth >= 0
    cloud, shadow = np.isin(truth, (CLOUD, THIN)), truth == SHADOW
    called = np.isin(classes, (MaskClass.CLOUD, MaskClass.THIN_CLOUD)) & known
    shaded = (classes == MaskClass.SHADOW) & known
    visible = case.image[[BANDS.index(b) for b in ("B02", "B03", "B04")]].min(axis=0)
    certain = (truth == CLOUD) & (visible > CERTAIN)
    shown = known & ~(cloud | shadow | called | shaded)
    parts = (
        cloud,
        called,
        cloud & called,
        shadow,
        shaded,
        shadow & shaded,
        certain,
        certain & called,
        shown,
        known,
    )
    return Counts(*(int(p.sum()) for p in parts))


def figures(total: NDArray[np.float64], kind: str) -> dict[str, float]:
    """The table's figures from summed counts, or sums of places' shares, which may be below one."""
    c = Counts(*total)
    if kind in ("overcast", "veiled"):
        return {"found": _share(c.called, c.known)}
    if kind in ("clear", "clear days"):
        return {"false alarm": _share(c.called + c.shaded, c.known)}
    clear = (c.known - c.cloud - c.shadow, c.known - c.called - c.shaded, c.shown)
    out = {
        "cloud BA": _balanced(c.cloud, c.called, c.both, c.known),
        "cloud F1": _share(2 * c.both, c.cloud + c.called),
        "clear BA": _balanced(*clear, c.known),
    }
    if kind != "by hand":
        out |= {
            "shadow BA": _balanced(c.shadow, c.shaded, c.dark, c.known),
            "shadow PA": _share(c.dark, c.shadow),
            "shadow UA": _share(c.dark, c.shaded),
            "shadow F1": _share(2 * c.dark, c.shadow + c.shaded),
            "certain kept": _share(c.kept, c.certain),
        }
    return out


def _balanced(true: float, called: float, both: float, known: float) -> float:
    """Balanced accuracy of one class against the others, from the pixels that are so, that are called so, both, and all."""
    return (_share(both, true) + 1 - _share(called - both, known - true)) / 2


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def table(every: list[Case], before: dict[str, Any], after: dict[str, Any]) -> pd.DataFrame:
    """Figures by kind, level and number of bands: before, after, and the difference with its interval over places."""
    rows: dict[tuple[str, str, str, str], dict[str, str]] = {}
    kinds = dict.fromkeys((c.kind, c.level) for c in every)
    for (kind, level), n in ((k, n) for k in kinds for n in BAND_SETS):
        some = [c for c in every if (c.kind, c.level) == (kind, level) and f"{c.name}/{n}" in after]
        if n == "4" and kind == "clear":
            some = [c for c in some if not _snowy(c)]
        if not some:
            continue
        sums = [summed(some, [masks[f"{c.name}/{n}"] for c in some]) for masks in (before, after)]
        places = len(sums[0])
        whole = [figures(s.sum(axis=0), kind) for s in sums]
        rng = np.random.default_rng(1)
        drawn = [
            [figures(s[at].sum(axis=0), kind) for s in sums]
            for at in rng.integers(places, size=(DRAWS if places > 1 else 0, places))
        ]
        for name, then in whole[0].items():
            line = {"before": f"{then:.3f}", "after": f"{whole[1][name]:.3f}", "places": str(places)}
            if drawn:
                low, high = np.percentile([b[name] - a[name] for a, b in drawn], [2.5, 97.5])
                line["difference"] = f"{whole[1][name] - then:+.3f} ({low:+.3f} to {high:+.3f})"
            rows[(kind, level, n, name)] = line
    return pd.DataFrame(rows).T.fillna("")


def summed(some: list[Case], masks: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """(place, count) of cases of one kind; places count alike, however many images there are of each, where a kind has several."""
    places = sorted({c.place for c in some})
    sums = np.zeros((len(places), len(Counts._fields)))
    for c, classes in zip(some, masks, strict=True):
        sums[places.index(c.place)] += counted(c, classes)
    return (
        sums / np.maximum(sums[:, -1:], 1)
        if some[0].kind in ("skies", "wide skies", "by hand", "clear")
        else sums
    )


def anchors(python: Path | None, asked: dict[str, NDArray[np.float32]], folder: Path) -> dict[str, Judged]:
    """What s2cloudless and ukis-csmask say of images; nothing without them."""
    if python is None:
        return {name: {} for name in asked}
    source, target = folder / "asked.npz", folder / "answers.npz"
    np.savez(source, **asked)  # type: ignore[arg-type]
    subprocess.run(
        [str(python), str(Path(__file__).parent / "anchors.py"), str(source), str(target)], check=True
    )
    out: dict[str, Judged] = {name: {} for name in asked}
    with np.load(target) as answers:
        for key in answers.files:
            name, judge = key.rsplit(".", 1)
            out[name][judge] = (
                (answers[key] > 0.4).astype(np.uint8) if judge == "s2cloudless" else answers[key]
            )
    return out


def beside_others(
    every: list[Case], after: dict[str, NDArray[np.uint8]], python: Path, folder: Path
) -> pd.DataFrame:
    """Figures of our masks by number of bands and of two open tools, on the same images.

    The tools are made for the top of the atmosphere; of the surface only the dates at 20 m are asked, of ukis-csmask.
    """
    asked = {
        c.name: c.image if c.level == "L1C" and c.kind != "dense" else c.image[[BANDS.index(b) for b in SIX]]
        for c in every
        if c.kind != "wide skies" and not (c.kind == "skies" and c.level == "L2A")
    }
    judged_by = anchors(python, asked, folder)
    classes = np.array([MaskClass.LAND, MaskClass.CLOUD, MaskClass.SHADOW], np.uint8)
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for kind, level in dict.fromkeys((c.kind, c.level) for c in every if c.name in asked):
        some = [c for c in every if (c.kind, c.level) == (kind, level)]
        by = {f"Terrazzo, {n} bands": [after.get(f"{c.name}/{n}") for c in some] for n in BAND_SETS}
        for judge in sorted({j for c in some for j in judged_by[c.name]}):
            by[judge] = [classes[judged_by[c.name][judge]] for c in some]
        for judge, given in by.items():
            masks = [m for m in given if m is not None]
            if len(masks) == len(some):
                rows[(kind, level, judge)] = figures(summed(some, masks).sum(axis=0), kind)
    return pd.DataFrame(rows).T.round(3)


def score_gaps(every: list[Case], after: dict[str, Any]) -> pd.DataFrame:
    """How far clear scores lie from the share of pixels that are clear, mean over tens of scores, by kind, level and number of bands.

    Places count alike.
    """
    sums: dict[tuple[str, str, str], dict[str, NDArray[np.float64]]] = {}
    for c, n in ((c, n) for c in every for n in BAND_SETS if f"{c.name}/{n}/score" in after):
        score = after[f"{c.name}/{n}/score"]
        known = (c.truth >= 0) & (score <= 100) if c.truth is not None else np.zeros(score.shape, bool)
        if not known.any():
            continue
        scored, clear = score[known], ~np.isin(c.truth, (CLOUD, THIN, SHADOW))[known]
        ten = np.minimum(scored // 10, 9)
        counts = np.stack(
            [np.bincount(ten, weights=w, minlength=10) for w in (np.ones(len(scored)), scored / 100, clear)]
        )
        of_place = sums.setdefault((c.kind, c.level, n), {})
        of_place[c.place] = of_place.get(c.place, 0) + counts
    rows = {}
    for key, places in sums.items():
        pixels, scored, clear = sum(p / p[0].sum() for p in places.values())
        rows[key] = {"gap": round(float(np.abs(scored - clear).sum() / pixels.sum()), 3)}
    return pd.DataFrame(rows).T


def _snowy(case: Case) -> bool:
    green, short = (case.image[BANDS.index(b)] for b in ("B03", "B11"))
    return bool((((green - short) / np.maximum(green + short, 1e-3) > 0.4) & (green > 0.2)).mean() > SNOWY)
