"""How far the memory of places may be believed: `python -m benchmarks.remembered --data FOLDER`.

No place of the series is called cloud on every date, so a share of the pixels is flagged on all dates by hand. Windows of dates in a row
remember what they can. Prints by series, share and length of the window: the share of the clear pixels so flagged that shows, the share of the
cloudy pixels that shows though it is more than `BRIGHTER` over the ground, and the share of all shown pixels that is ground.
"""

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.series import Series, both, sun
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.clouds.model import BANDS, SIX
from terrazzo.precompute.normalize.composite import Stack, remembered
from terrazzo.precompute.normalize.reference import AROUND, SEEN

BRIGHTER = 0.03
"""Blue reflectance over the ground's from which a flagged pixel is a cloud."""
SHARES, LENGTHS = (0.1, 0.01), (3, 5, 8, 12)


class Masked(NamedTuple):
    """(date, row, col) blue reflectance, whether the mask lets a pixel show, and the share around it that shows."""

    blue: NDArray[np.float32]
    clear: NDArray[np.bool_]
    around: NDArray[np.float32]


def masked(series: Series) -> Masked:
    """Masks each date of a series by its six bands."""
    at = [BANDS.index(b) for b in SIX]
    pixel = 10.0 if series.level == "L1C" else 20.0
    clear = []
    for day, image, _ in series.dates:
        six = image[at]
        mask = mask_scene(
            lambda a, b, six=six: six[:, a:b], six.shape[1:], SIX, level=series.level, pixel=pixel,
            sun=sun(day, series.latitude), choice="model",
        )  # fmt: skip
        clear.append(np.isin(mask.classes, SEEN))
    side = round(AROUND / pixel) | 1
    around = [ndimage.uniform_filter(c.astype(np.float32), side, mode="nearest") for c in clear]
    blue = [image[BANDS.index("B02")] for _, image, _ in series.dates]
    return Masked(np.stack(blue), np.stack(clear), np.stack(around))


def counts(dates: Masked, share: float, length: int) -> NDArray[np.int64]:
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
        cloudy = ~clear & (blue > ground + BRIGHTER)
        total += [int(a.sum()) for a in (clear & by_hand, clear & by_hand & shown, ~clear, cloudy & shown)]
    return total


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="folder with labelled/ and imagery/",
)
def main(data: Path) -> None:
    """Print the table."""
    for series in both(data):
        dates = masked(series)
        for share in SHARES:
            for length in (*LENGTHS, len(dates.blue)):
                ground, shown, cloudy, wrong = counts(dates, share, length)
                print(
                    f"{series.name}, {share:.0%} flagged, {length} dates: {shown / ground:.2f} of it shows,"
                    f" {wrong / cloudy:.4f} of the clouds, right {shown / max(shown + wrong, 1):.3f}"
                )


if __name__ == "__main__":
    main()
