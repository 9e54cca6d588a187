"""Styles that show not what a mosaic looks like but where it comes from: scene, day, count, quality."""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw
from rio_tiler.colormap import cmap

from terrazzo.bands import NODATA
from terrazzo.mosaic.engine import FILLED, LAST_RESORT, Image
from terrazzo.mosaic.origin import ORIGINS, days

BANDS = ("B04", "B03", "B02")
"""What the layers tell of: the bands of natural colour."""
MOST_COUNT = 12
"""Count at which the colour ramp ends."""
CLEAR_COLOUR, FILLED_COLOUR, LAST_COLOUR = (150, 190, 150), (60, 110, 200), (210, 90, 60)
SIZE = (200, 52)


class Layer(NamedTuple):
    """A layer of a picture's origin.

    Attributes:
        values: (row, col) int16 of an image, −32768 without data; what tif and npy hold, unscaled.
        colours: (row, col, 3) uint8 of those values.
    """

    name: str
    title: str
    unit: str
    values: Callable[[Image], NDArray[np.int16]]
    colours: Callable[[NDArray[np.int16], Image], NDArray[np.uint8]]


def _ramp(name: str) -> NDArray[np.uint8]:
    table = cmap.get(name)
    return np.array([table[i][:3] for i in range(256)], np.uint8)


def scene_colours(numbers: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Colours that neighbours in the order do not share: hues a golden section apart."""
    hue = (np.asarray(numbers) * 0.61803398875) % 1.0
    channels = [np.abs((hue + shift) % 1.0 * 6 - 3) - 1 for shift in (0.0, 2 / 3, 1 / 3)]
    return np.rint(70 + 170 * np.clip(np.stack(channels, -1), 0, 1)).astype(np.uint8)


def _day_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    # Only the asked period's: those that fill gaps are in some tiles' lists and not in others'.
    known = (
        days(image)[[e.period == image.entries[0].period for e in image.entries]]
        if image.entries
        else days(image)
    )
    first, last = int(known.min()), int(known.max())
    share = (values.astype(np.int64) - first) / max(1, last - first)
    return _ramp("viridis")[np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)]


def _count_colours(counts: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    return _ramp("magma")[np.clip(counts.astype(int) * 255 // MOST_COUNT, 0, 255)]


def _quality_colours(bits: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    out = np.full((*bits.shape, 3), CLEAR_COLOUR, np.uint8)
    out[(bits & FILLED) > 0] = FILLED_COLOUR
    out[(bits & LAST_RESORT) > 0] = LAST_COLOUR
    return out


LAYERS: dict[str, Layer] = {
    name: Layer(name, *ORIGINS[name], colours)
    for name, colours in (
        ("scene", lambda v, i: scene_colours(v)),
        ("date", _day_colours),
        ("count", _count_colours),
        ("quality", _quality_colours),
    )
}


def rgba(image: Image, layer: Layer) -> NDArray[np.uint8]:
    """(4, row, col) uint8 picture of a layer, transparent without data."""
    values = layer.values(image)
    seen = values != NODATA
    rgb = layer.colours(np.where(seen, values, 0).astype(np.int16), image)
    alpha = np.where(seen, 255, 0).astype(np.uint8)
    return np.concatenate([np.moveaxis(np.where(seen[..., None], rgb, 0), -1, 0), alpha[None]]).astype(
        np.uint8
    )


def legend(layer: Layer) -> bytes:
    """A PNG that tells what the colours mean."""
    picture = Picture.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    if layer.name == "quality":
        for i, (colour, text) in enumerate(
            ((CLEAR_COLOUR, "clear"), (FILLED_COLOUR, "another period"), (LAST_COLOUR, "no scene is clear"))
        ):
            draw.rectangle((10, 3 + 16 * i, 24, 14 + 16 * i), colour)
            draw.text((30, 3 + 16 * i), text, "black")
    else:
        width = SIZE[0] - 20
        if layer.name == "scene":
            ramp, texts = scene_colours(np.arange(width) // 18), ("first in order", "last")
        else:
            name, texts = {"date": ("viridis", ("oldest", "newest"))}.get(
                layer.name, ("magma", ("0", f"{MOST_COUNT} or more"))
            )
            ramp = _ramp(name)[np.linspace(0, 255, width).astype(int)]
        picture.paste(Picture.fromarray(np.ascontiguousarray(ramp[None].repeat(16, axis=0))), (10, 6))
        draw.text((10, 28), texts[0], "black")
        draw.text((190, 28), texts[1], "black", anchor="ra")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
