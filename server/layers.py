"""Styles that show not what a mosaic looks like but where it comes from: scene, day, age, count, quality, score, spread, sigma, gain."""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw
from rio_tiler.colormap import cmap

from terrazzo.bands import NODATA
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.origin import GAIN_ONE, ORIGINS, PREDICTED_DAY, Rendering, count_needed, days
from terrazzo.mosaic.predict import PREDICTED
from terrazzo.mosaic.quality import FLAGS
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target

BANDS = ("B04", "B03", "B02")
"""The bands that layers are computed of: those of natural colour."""
MOST_COUNT = 12
"""Count at which the colour ramp ends."""
MOST_AGE = 30
"""Days at which the colour ramp ends."""
GAIN_REACH = 2000
"""How far from 1 the colour ramp of gains goes to either side, 1e-4."""
MOST_SPREAD = 500
"""Spread at which the colour ramp ends, 1e-4."""
MOST_SIGMA = 400
"""Standard error at which the colour ramp ends, 1e-4."""
CLEAR_COLOUR = (150, 190, 150)
SIZE = (200, 4 + 10 * -(-(1 + len(FLAGS)) // 2))
"""Width and height of a legend in pixels: two marks to a row."""


class Layer(NamedTuple):
    """A layer of a picture's origin.

    Attributes:
        colours: (row, col, 3) uint8 of its numbers in an image.
    """

    name: str
    title: str
    unit: str
    colours: Callable[[NDArray[np.int16], Image], NDArray[np.uint8]]


def _ramp(name: str) -> NDArray[np.uint8]:
    table = cmap.get(name)
    return np.array([table[i][:3] for i in range(256)], np.uint8)


def _ramped(name: str, numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """(row, col, 3) colours of numbers from 0 to 255."""
    return np.asarray(_ramp(name)[numbers.astype(np.uint8)])


def scene_colours(days: Sequence[int], names: Sequence[str]) -> NDArray[np.uint8]:
    """(n, 3) uint8 colours of scenes, which keep them when others come and go: near days have hues a golden section apart,
    names of one day differ in brightness."""
    hue = np.array(days) * 0.61803398875 % 1.0
    light = np.array([hashlib.blake2b(n.encode(), digest_size=1).digest()[0] for n in names]) / 256
    channels = [np.abs((hue + shift) % 1.0 * 6 - 3) - 1 for shift in (0.0, 2 / 3, 1 / 3)]
    dark = (40 + 60 * light)[:, None]
    return np.asarray(np.rint(dark + 155 * np.clip(np.stack(channels, -1), 0, 1)), np.uint8)


def _scene_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    if not image.entries:
        return np.zeros((*values.shape, 3), np.uint8)
    shown = np.unique(values)
    scenes = [image.entries[min(n, len(image.entries) - 1)].scene for n in shown.tolist()]
    colours = scene_colours([s.datetime.toordinal() for s in scenes], [s.id for s in scenes])
    return np.asarray(colours[np.searchsorted(shown, values)])


def _day_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    # Only the asked period's: those that fill gaps are in some tiles' lists and not in others'.
    known = (
        days(image)[[e.period == image.entries[0].period for e in image.entries]]
        if image.entries
        else days(image)
    )
    first, last = int(known.min()), int(known.max())
    share = (values.astype(np.int64) - first) / max(1, last - first)
    out = _ramped("viridis", np.rint(255 * np.clip(share, 0, 1)))
    # What is predicted has no day: it would be the oldest otherwise.
    out[values == PREDICTED_DAY] = FLAGS[PREDICTED].colour
    return out


def _age_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    return _ramped("cividis_r", np.clip(values.astype(int) * 255 // MOST_AGE, 0, 255))


def _gain_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    share = (values.astype(int) - GAIN_ONE + GAIN_REACH) / (2 * GAIN_REACH)
    return _ramped("rdbu_r", np.rint(255 * np.clip(share, 0, 1)))


def _count_colours(counts: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    return _ramped("magma", np.clip(counts.astype(int) * 255 // MOST_COUNT, 0, 255))


def _quality_colours(bits: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    out = np.full((*bits.shape, 3), CLEAR_COLOUR, np.uint8)
    for bit, flag in FLAGS.items():
        out[(bits & bit) > 0] = flag.colour
    return out


def _spread_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    return _ramped("inferno", np.clip(values.astype(int) * 255 // MOST_SPREAD, 0, 255))


def _sigma_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    return _ramped("viridis", np.clip(values.astype(int) * 255 // MOST_SIGMA, 0, 255))


def _score_colours(values: NDArray[np.int16], image: Image) -> NDArray[np.uint8]:
    return _ramped("rdylgn", np.clip(values.astype(int) * 255 // 100, 0, 255))


LAYERS: dict[str, Layer] = {
    name: Layer(name, ORIGINS[name].title, ORIGINS[name].unit, colours)
    for name, colours in (
        ("scene", _scene_colours),
        ("date", _day_colours),
        ("age", _age_colours),
        ("count", _count_colours),
        ("quality", _quality_colours),
        ("score", _score_colours),
        ("spread", _spread_colours),
        ("sigma", _sigma_colours),
        ("gain", _gain_colours),
    )
}


def image_of(name: str, engine: Engine, selection: Selection, target: Target) -> Image:
    """An image whose only band holds a layer's numbers, unscaled, as tif and npy do.

    Raises:
        TooLarge: as the engine, or too many scenes show.
    """
    image = engine.render(selection, target, count_to=count_needed((name,)))
    numbers, problems = ORIGINS[name].numbers(Rendering(engine, selection, target, image))
    lacking = tuple(dict.fromkeys((*image.problems, *problems)))
    return image._replace(bands=(name,), values=numbers[None], problems=lacking)


def rgba(image: Image, layer: Layer) -> NDArray[np.uint8]:
    """(4, row, col) uint8 picture of an image of `image_of`, transparent without data."""
    values = image.values[0]
    seen = values != NODATA
    rgb = layer.colours(np.where(seen, values, 0).astype(np.int16), image)
    alpha = np.where(seen, 255, 0).astype(np.uint8)
    return np.concatenate([np.moveaxis(np.where(seen[..., None], rgb, 0), -1, 0), alpha[None]]).astype(
        np.uint8
    )


def legend(layer: Layer, days: tuple[str, str] = ("oldest", "newest")) -> bytes:
    """A legend as PNG; `days` are those at the ends of the ramp of `date`."""
    picture = Picture.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    if layer.name == "quality":
        marks = [(CLEAR_COLOUR, "clear"), *((f.colour, f.label) for f in FLAGS.values())]
        for i, (colour, text) in enumerate(marks):
            x, y = 4 + 98 * (i % 2), 2 + 10 * (i // 2)
            draw.rectangle((x, y, x + 10, y + 7), colour)
            draw.text((x + 14, y - 1), text, "black", font_size=9)
    else:
        width = SIZE[0] - 20
        if layer.name == "scene":
            count = width // 18 + 1
            swatches = scene_colours(range(count), [str(n) for n in range(count)])
            ramp, texts = swatches[np.arange(width) // 18], ("a colour for each scene", "")
        else:
            name, texts = {
                "date": ("viridis", days),
                "age": ("cividis_r", ("newest", f"{MOST_AGE} days older")),
                "gain": ("rdbu_r", (f"{1 - GAIN_REACH / GAIN_ONE:g}", f"{1 + GAIN_REACH / GAIN_ONE:g}")),
                "count": ("magma", ("0", f"{MOST_COUNT} or more")),
                "score": ("rdylgn", ("0", "100")),
                "sigma": ("viridis", ("0", f"{MOST_SIGMA / 10_000:g} or more")),
                "spread": ("inferno", ("0", f"{MOST_SPREAD / 10_000:g} or more")),
            }[layer.name]
            ramp = _ramp(name)[np.linspace(0, 255, width).astype(int)]
        picture.paste(Picture.fromarray(np.ascontiguousarray(ramp[None].repeat(16, axis=0))), (10, 6))
        draw.text((10, 28), texts[0], "black")
        draw.text((190, 28), texts[1], "black", anchor="ra")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
