"""What the dates of a period decide that one date's mask cannot: `python -m benchmarks.dates --data FOLDER [--models FOLDER]`.

- dates: the share of overcast, veiled and clear dates of the Belgian series that the masks let show, and what the comparison with the reference
  of the period leaves of it. A cloud that its mask calls snow differs from that reference as any cloud does.
- places: no place of the series is called cloud on every date, so a share of the pixels is flagged on all dates by hand. Windows of dates in a
  row remember what they can. Prints the share of the clear pixels so flagged that shows, the share of the cloudy pixels that shows though it is
  more than `BRIGHTER` over the ground, and the share of all pixels that show by memory that is ground.

MODELS holds classifiers that have not seen the place, as `benchmarks.clouds --models` keeps them; without it the shipped ones judge.
"""

from datetime import UTC, datetime, time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.goals import BAND_SETS, kind_of_date
from benchmarks.series import Series, both, data_option, sun
from terrazzo.bands import NODATA, SCALE, MaskClass
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.clouds.model import BANDS, SIX, Model, load_model, unpacked
from terrazzo.precompute.normalize import reference
from terrazzo.precompute.normalize.composite import Stack, remembered
from terrazzo.precompute.normalize.distance import distance_weight

PIXEL = {"L1C": 10.0, "L2A": 20.0}
"""Metres, of the series of each level."""
BRIGHTER = 0.03
"""Blue reflectance over the ground's from which a flagged pixel is a cloud."""
SHARES, LENGTHS, MONTHS = (0.1, 0.01), (3, 5, 8, 12), (1, 3, 12)
"""Shares flagged by hand, dates of a window, and months of a period."""


def classifier(level: str, place: str, models: Path | None) -> Model:
    """The classifier that is kept for a place; the shipped one without it."""
    path = models and models / f"{level} {place}.npz"
    if path is None or not path.exists():
        return load_model(level)
    with np.load(path) as arrays:
        return Model(*unpacked(dict(arrays)), "")


def masks(series: Series, bands: tuple[str, ...], model: Model) -> NDArray[np.uint8]:
    """(date, row, col) classes of each date by its bands alone."""
    at = [BANDS.index(b) for b in bands]
    out = []
    for day, image, _ in series.dates:
        some = image[at]
        mask = mask_scene(
            lambda a, b, some=some: some[:, a:b], some.shape[1:], bands, level=series.level, pixel=PIXEL[series.level],
            sun=sun(day, series.latitude), choice="model", model=model,
        )  # fmt: skip
        out.append(mask.classes)
    return np.stack(out)


def kept(series: Series, classes: NDArray[np.uint8], months: int) -> NDArray[np.bool_]:
    """(date, row, col) whether a pixel may show beside the other dates of its period."""
    pixel, days = PIXEL[series.level], [day for day, _, _ in series.dates]
    period = np.array([(d.year * 12 + d.month - 1) // months for d in days])
    out = np.zeros(classes.shape, bool)
    for number in np.unique(period):
        here = np.flatnonzero(period == number)
        images = [series.dates[k][1] for k in here]
        seen = np.isin(classes[here], reference.SEEN)
        view = reference._ChunkView(
            {band: [_stored(i[BANDS.index(band)]) for i in images] for band in reference.NEAR},
            seen,
            classes[here] == MaskClass.SHADOW,
            np.stack([distance_weight(s, pixel) for s in seen]),
            np.stack([reference._shown_around(c, pixel) for c in classes[here]]),
            np.arange(len(here)),
            np.array([datetime.combine(days[k], time(), UTC).timestamp() for k in here]),
        )
        out[here] = reference._judge(view, 1).keep
    return out


def _stored(values: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.where(np.isfinite(values), np.rint(np.nan_to_num(values) / SCALE), NODATA).astype(np.int16)


def print_dates(series: Series, models: Path | None) -> None:
    """Prints what masks and the comparison leave of overcast, veiled and clear dates."""
    kinds = np.array([kind_of_date(image, scl) or "" for _, image, scl in series.dates if scl is not None])
    model = classifier(series.level, series.name, models)
    for n, bands in BAND_SETS.items():
        if n == "13":
            continue
        classes = masks(series, bands, model)
        by_mask = np.isin(classes, reference.SEEN).mean(axis=(1, 2))
        by_months = {m: kept(series, classes, m).mean(axis=(1, 2)) for m in MONTHS}
        for kind in ("overcast", "veiled", "clear days"):
            at = kinds == kind
            after = ", ".join(f"{m}: {k[at].mean():.4f}" for m, k in by_months.items())
            print(
                f"{series.name}, {n} bands, {at.sum()} {kind}: the masks show {by_mask[at].mean():.4f}, after comparison in months {after}"
            )


class Dates(NamedTuple):
    """(date, row, col) blue reflectance, whether the mask lets a pixel show, and the share around it that shows."""

    blue: NDArray[np.float32]
    clear: NDArray[np.bool_]
    around: NDArray[np.float32]


def counts(dates: Dates, share: float, length: int) -> NDArray[np.int64]:
    """Over all windows: clear pixels flagged by hand, those that show, cloudy pixels, and those that show though they are bright."""
    rng = np.random.default_rng(1)
    by_hand = rng.random(dates.blue.shape[1:]) < share
    ground = np.nanmedian(np.where(dates.clear, dates.blue, np.nan), axis=0)
    total = np.zeros(4, np.int64)
    for start in range(len(dates.blue) - length + 1):
        at = slice(start, start + length)
        blue, clear = dates.blue[at], dates.clear[at]
        seen = clear & ~by_hand
        stack = Stack(blue, blue, blue, seen, seen.astype(np.float32), np.arange(length))
        shown = remembered(stack, dates.around[at]).shown & ~seen
        bright = ~clear & (blue > ground + BRIGHTER)
        total += [int(a.sum()) for a in (clear & by_hand, clear & by_hand & shown, ~clear, bright & shown)]
    return total


def print_places(series: Series, models: Path | None) -> None:
    """Prints what windows of dates remember of pixels that are flagged by hand, and how often they are right."""
    clear = np.isin(masks(series, SIX, classifier(series.level, series.name, models)), reference.SEEN)
    side = round(reference.AROUND / PIXEL[series.level]) | 1
    around = [ndimage.uniform_filter(c.astype(np.float32), side, mode="nearest") for c in clear]
    blue = np.stack([image[BANDS.index("B02")] for _, image, _ in series.dates])
    dates = Dates(blue, clear, np.stack(around))
    for share in SHARES:
        for length in (*LENGTHS, len(blue)):
            flagged, shown, cloudy, wrong = counts(dates, share, length)
            print(
                f"{series.name}, {share:.0%} flagged, {length} dates: {shown / flagged:.2f} of it shows,"
                f" {wrong / cloudy:.4f} of the clouds, right {shown / max(shown + wrong, 1):.3f}"
            )


@click.command()
@data_option(required=True)
@click.option("--models", type=click.Path(path_type=Path), help="folder of kept classifiers")
def main(data: Path, models: Path | None) -> None:
    """Print the tables."""
    italy, belgium = both(data)
    print_dates(belgium, models)
    for series in (italy, belgium):
        print_places(series, models)


if __name__ == "__main__":
    main()
