"""Where an image's pixels come from, as numbers a pixel: scene, day, count, quality."""

from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import NODATA
from terrazzo.mosaic.engine import Image

EPOCH = date(1970, 1, 1)


class Origin(NamedTuple):
    """One kind of such numbers.

    Attributes:
        values: (row, col) int16 of an image, −32768 without data.
    """

    title: str
    unit: str
    values: Callable[[Image], NDArray[np.int16]]


def days(image: Image) -> NDArray[np.int64]:
    """Day since 1970 of each of an image's entries."""
    return np.array([(e.scene.datetime.date() - EPOCH).days for e in image.entries] or [0])


def _seen(image: Image, values: NDArray[np.integer]) -> NDArray[np.int16]:
    return np.where(image.provenance >= 0, values, NODATA).astype(np.int16)


ORIGINS: dict[str, Origin] = {
    "scene": Origin(
        "Which scene", "place of the scene in the order, 0 first", lambda i: _seen(i, i.provenance)
    ),
    "date": Origin(
        "Which day", "days since 1970-01-01", lambda i: _seen(i, days(i)[np.maximum(i.provenance, 0)])
    ),
    "count": Origin("How many scenes are usable", "scenes", lambda i: _seen(i, i.count)),
    "quality": Origin(
        "Quality",
        "bits: 1 filled from another period, 2 no scene is clear",
        lambda i: _seen(i, i.quality),
    ),
}
