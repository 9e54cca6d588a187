"""What masks leave of cloudy dates: `python -m benchmarks.composites --data FOLDER [--store STORE] [--anchors PYTHON] [--models FOLDER]`.

- cloudy dates: of each clear day of the Belgian series a composite is made of the five dates nearest in time, within `WITHIN` days, of which
  Sen2Cor calls at least `CLOUDY` cloud or cirrus, and judged against that day, four bands together. The masks see four bands and no classes of Sen2Cor;
  `mosaic` compares each date with the others of the season as `precompute` does. The mean of the clear days comes with the paired
  difference from a composite by Sen2Cor's own classes, over the pixels that both cover, and its 95 % interval over days. Beside it stands the clear
  day nearest in time: what fields change meanwhile.
- places: pixels that hold data on three dates at least and that no date of a series shows, by the masks alone and with the memory of places,
  of the sample in its mosaic, where the comparison of dates hides pixels, too.
  The five series: Italian and Belgian fields, Alpine forest, and the two tiles of the sample in STORE, as `terrazzo precompute` wrote it.

PYTHON and MODELS: see `benchmarks.clouds`.
"""

import tempfile
from datetime import date, datetime
from pathlib import Path

import click
import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.dates import PIXEL, classifier, kept, masks
from benchmarks.goals import BAND_SETS, DRAWS, anchors, kind_of_date
from benchmarks.series import Array, Series, both, data_option
from terrazzo.bands import FOUR, MaskClass
from terrazzo.config import ALL
from terrazzo.mosaic.merge import merge
from terrazzo.precompute.clouds.model import BANDS, SIX
from terrazzo.precompute.clouds.train.elsewhere import forest
from terrazzo.precompute.normalize import reference
from terrazzo.precompute.normalize.composite import Stack, remembered
from terrazzo.precompute.normalize.distance import distance_weight
from terrazzo.scene import MASK
from terrazzo.store import Store
from terrazzo.version import list_mosaics, open_version
from tests.world.products import place_of

CLOUDS = (8, 9, 10)
"""Sen2Cor's classes of cloud and cirrus; 3 is its shadow."""
CLOUDY, DATES, WITHIN, SEASON = 0.5, 5, 90, 3
"""Share of a date from which Sen2Cor calls it cloudy, dates of a composite, days they may lie off, and months that dates are compared within."""
LEAST = 0.01
"""Share of the pixels that both composites have to cover for a day to count."""
SEEN_ON = 3
"""Dates with data that a pixel needs to count as never shown."""


def composite(images: Array, shown: NDArray[np.bool_], pixel: float) -> Array:
    """(band, row, col) merge of (date, band, row, col) dates by `robust`, NaN where none shows."""
    weight = np.stack(
        [np.where(s, np.maximum(np.rint(255 * distance_weight(s, pixel)), 1), 0) for s in shown]
    )
    return np.asarray(merge(images, weight.astype(np.uint8), method="robust").values)


def cloudy_around(series: Series, cloud_share: NDArray[np.float64], day: date) -> list[int]:
    """Numbers of the cloudy dates that a day's composite is of, nearest first."""
    apart = np.array([abs((d - day).days) for d, _, _ in series.dates])
    at = np.flatnonzero((cloud_share >= CLOUDY) & (apart <= WITHIN))
    return [int(k) for k in at[np.argsort(apart[at], kind="stable")][:DATES]]


def judges(series: Series, models: Path | None, python: Path | None) -> dict[str, NDArray[np.bool_]]:
    """(date, row, col) what each judge lets show, Sen2Cor first."""
    scl = np.stack([s for _, _, s in series.dates if s is not None])
    out = {"Sen2Cor": ~np.isin(scl, (0, 1, 3, *CLOUDS))}
    model = classifier(series.level, series.name, models)
    for n, bands in BAND_SETS.items():
        if n != "13":
            classes = masks(series, bands, model)
            out[f"Terrazzo, {n} bands"] = np.isin(classes, reference.SEEN)
            out[f"Terrazzo, {n} bands, mosaic"] = kept(series, classes, SEASON)
    six = [BANDS.index(b) for b in SIX]
    with tempfile.TemporaryDirectory() as folder:
        asked = {str(day): image[six].astype(np.float32) for day, image, _ in series.dates}
        answers = anchors(python, asked, Path(folder))
    if python is not None:
        out["ukis-csmask"] = np.stack([answers[str(day)]["ukis"] == 0 for day, _, _ in series.dates])
    return out


def print_cloudy(series: Series, models: Path | None, python: Path | None) -> None:
    """Prints the composites' RMSE over what they cover, their coverage, and the difference from Sen2Cor's over what both cover."""
    pixel, four = PIXEL[series.level], [BANDS.index(b) for b in FOUR]
    images = np.stack([image[four] for _, image, _ in series.dates]).astype(np.float32)
    share = np.array([np.isin(scl, CLOUDS).mean() for _, _, scl in series.dates if scl is not None])
    clear = [
        k
        for k, (_, i, scl) in enumerate(series.dates)
        if scl is not None and kind_of_date(i, scl) == "clear days"
    ]
    shown = judges(series, models, python)
    errors: dict[str, list[Array]] = {name: [] for name in shown}
    for k in clear:
        at = cloudy_around(series, share, series.dates[k][0])
        for name, what in shown.items():
            errors[name].append(composite(images[at], what[at], pixel) - images[k])
    days = np.array([series.dates[k][0].toordinal() for k in clear])
    apart = np.abs(days[:, None] - days) + np.where(np.eye(len(days), dtype=bool), 10_000, 0)
    next_day = [
        np.sqrt(np.mean((images[clear[n]] - images[k]) ** 2))
        for k, n in zip(clear, apart.argmin(axis=1), strict=True)
    ]
    print(
        f"the clear day nearest in time: RMSE {np.mean(next_day):.4f}, {apart.min(axis=1).mean():.0f} days off"
    )
    base = errors["Sen2Cor"]
    print(f"{series.name}: {len(clear)} clear days, {(share >= CLOUDY).sum()} cloudy dates")
    for name, each in errors.items():
        covered = np.mean([np.isfinite(e[0]).mean() for e in each])
        own = [_rmse(e, np.isfinite(e[0])) for e in each if np.isfinite(e[0]).mean() >= LEAST]
        both_cover = [np.isfinite(a[0]) & np.isfinite(b[0]) for a, b in zip(each, base, strict=True)]
        pairs = np.array(
            [
                _rmse(a, o) - _rmse(b, o)
                for a, b, o in zip(each, base, both_cover, strict=True)
                if o.mean() >= LEAST
            ]
        )
        drawn = np.random.default_rng(1).choice(pairs, (DRAWS, len(pairs))).mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        print(
            f"{name}: RMSE {np.mean(own):.4f} over {len(own)} days, coverage {covered:.3f};"
            f" less Sen2Cor's {pairs.mean():+.4f} ({low:+.4f} to {high:+.4f}) over {len(pairs)} days"
        )


def _rmse(error: Array, where: NDArray[np.bool_]) -> float:
    return float(np.sqrt((error[:, where].astype(np.float64) ** 2).mean()))


def never_shown(seen: NDArray[np.bool_], known: NDArray[np.bool_]) -> str:
    """Counts of pixels with data on `SEEN_ON` dates that no (date, row, col) shows, and of the places that touching ones make."""
    never = (known.sum(axis=0) >= SEEN_ON) & ~seen.any(axis=0)
    return f"{never.sum()} pixels in {ndimage.label(never, np.ones((3, 3)))[1]} places of {never.size} pixels"


def print_series(series: Series, models: Path | None) -> None:
    """Prints what no date of a series shows, by number of bands."""
    pixel, model = PIXEL[series.level], classifier(series.level, series.name, models)
    blue = np.stack([image[BANDS.index("B02")] for _, image, _ in series.dates])
    for n in ("12", "4"):
        classes = masks(series, BAND_SETS[n], model)
        clear, known = np.isin(classes, reference.SEEN), classes != MaskClass.NODATA
        around = np.stack([reference._shown_around(c, pixel) for c in classes])
        stack = Stack(blue, blue, blue, clear, clear.astype(np.float32), np.arange(len(blue)))
        shown = clear | remembered(stack, around).shown
        print(
            f"{series.name}, {n} bands: {never_shown(clear, known)}; with memory {never_shown(shown, known)}"
        )


def alpine(data: Path) -> Series:
    """The series of Alpine forest."""
    paths = sorted((data / "imagery" / "stack_l1c_slovenia_10m").glob("S2A_*_cloud.tif"))
    days = [datetime.strptime(p.stem.split("_")[2][:8], "%Y%m%d").date() for p in paths]
    dates: list[tuple[date, Array, NDArray[np.uint8] | None]] = [
        (day, image.astype(np.float32), None) for day, (image, _) in zip(days, forest(data), strict=True)
    ]
    place = place_of("33TVM", 32633, 5_080_000.0, 460_000.0, 100, 100, 10.0, 512)
    return Series("Alpine forest", "L1C", place, 45.9, dates)


def print_sample(store: Store) -> None:
    """Prints what no date of the sample's tiles shows, by the masks alone and by the newest version's weights."""
    assert store.root is not None
    (name,) = list_mosaics(store)
    version = open_version(store, name)
    for mgrs in sorted({e.scene.mgrs for e in version.entries(ALL)}):
        entries = [e for e in version.entries(ALL) if e.scene.mgrs == mgrs]
        box = entries[0].scene.box
        seen, known, weights = [], [], []
        for e in entries:
            with (
                rasterio.open(store.root / e.scene.prefix / MASK) as mask,
                rasterio.open(store.root / e.weight_key) as weight,
            ):
                classes = mask.read(1)
                weights.append(weight.read(1) > 0)
            seen.append(np.isin(classes, reference.SEEN))
            known.append(classes != MaskClass.NODATA)
            assert e.scene.box == box
        counted = [never_shown(np.stack(s), np.stack(known)) for s in (seen, weights)]
        print(f"sample {mgrs}, {len(entries)} dates: {counted[0]}; in the mosaic {counted[1]}")


@click.command()
@data_option(required=True)
@click.option("--store", help="store of `terrazzo precompute sample`")
@click.option(
    "--anchors", "python", type=click.Path(exists=True, path_type=Path), help="Python with ukis-csmask"
)
@click.option("--models", type=click.Path(path_type=Path), help="folder of kept classifiers")
def main(data: Path, store: str | None, python: Path | None, models: Path | None) -> None:
    """Print the figures."""
    italy, belgium = both(data)
    print_cloudy(belgium, models, python)
    for series in (italy, belgium, alpine(data)):
        print_series(series, models)
    if store:
        print_sample(Store(store))


if __name__ == "__main__":
    main()
