"""How a film's frames look: colours, captions, and the file."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from terrazzo.bands import NODATA, SCALE, STYLES, MaskClass
from terrazzo.edges import DEPTH, EDGES, SEGMENTS, Strips
from terrazzo.errors import InvalidRequest
from terrazzo.grid import Window
from terrazzo.mosaic.warp import Target
from terrazzo.store import Store, beside
from terrazzo.version import Entry

NATURAL = STYLES["natural"]
STEPS = ("Raw", "Masks", "Corrected", "Edge medians", "Merged", "Normalized")
BAR = 104
"""Height of the caption under the picture, in pixels."""
NARROWEST = 900
"""Width in pixels that the caption needs."""
QUALITY = 62
FORMS = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG"}
"""Pillow's names of forms that hold films, by the ending of the file; of PNG the animated kind."""
Colour = tuple[int, int, int]
CLASSES: Mapping[MaskClass, Colour] = {
    MaskClass.CLOUD: (238, 110, 50),
    MaskClass.THIN_CLOUD: (250, 205, 95),
    MaskClass.SHADOW: (160, 105, 225),
    MaskClass.TERRAIN_SHADOW: (215, 130, 200),
    MaskClass.SNOW: (120, 220, 235),
    MaskClass.WATER: (70, 140, 240),
    MaskClass.DEFECTIVE: (255, 0, 80),
}
EMPTY, PANEL, DONE, AHEAD = (40, 46, 42), (18, 27, 23), (120, 200, 150), (62, 77, 69)
WHITE, SOFT = (255, 255, 255), (196, 210, 202)

Picture = NDArray[np.uint8]


class Frame(NamedTuple):
    """One picture of the film.

    Attributes:
        picture: (row, col, 3) uint8, without the caption.
        step: index into `STEPS`.
        shown: the day that is shown, or how many scenes.
        legend: names and colours.
    """

    picture: Picture
    step: int
    shown: str
    text: str
    legend: tuple[tuple[str, Colour], ...]
    milliseconds: int


def write(frames: Iterable[Frame], attribution: str, output: Path) -> int:
    """Writes an animated picture of the kind that the name's ending says, whole or not at all; returns the number of frames.

    Raises:
        InvalidRequest: the ending is of no such kind.
    """
    form = form_of(output)
    pictures, times = [], []
    for frame in frames:
        pictures.append(captioned(frame, attribution))
        times.append(frame.milliseconds)
    with beside(output) as temporary:
        pictures[0].save(
            temporary,
            form,
            save_all=True,
            append_images=pictures[1:],
            duration=times,
            loop=0,
            quality=QUALITY,
            method=4,
        )
    return len(pictures)


def form_of(output: Path) -> str:
    """Pillow's name of the form of a film by its file's ending.

    Raises:
        InvalidRequest: there is none of that ending.
    """
    if output.suffix.lower() not in FORMS:
        raise InvalidRequest(
            f"{output.name}: a film is written as {', '.join(FORMS)}; name it {output.name}.webp"
        )
    return FORMS[output.suffix.lower()]


def captioned(frame: Frame, attribution: str) -> Image.Image:
    """A frame with all steps, its words, day and legend, and the attribution under it."""
    height, width = frame.picture.shape[0], max(frame.picture.shape[1], NARROWEST)
    out = Image.new("RGB", (width, height + BAR), PANEL)
    out.paste(Image.fromarray(frame.picture), ((width - frame.picture.shape[1]) // 2, 0))
    draw = ImageDraw.Draw(out)
    bold, plain, small = _font("DejaVuSans-Bold", 15), _font("DejaVuSans", 15), _font("DejaVuSans", 13)
    part = width / len(STEPS)
    for i, name in enumerate(STEPS):
        now = i == frame.step
        draw.rectangle((i * part, height, (i + 1) * part - 3, height + 5), DONE if i <= frame.step else AHEAD)
        colour = WHITE if now else (SOFT if i < frame.step else (130, 146, 137))
        draw.text((i * part + 8, height + 12), f"{i + 1}  {name}", colour, bold if now else plain)
    draw.text((12, height + 44), frame.text, WHITE, plain)
    at = 12 + draw.textlength(frame.text, plain) + 20
    for name, colour in frame.legend:
        draw.rectangle((at, height + 47, at + 12, height + 59), colour)
        draw.text((at + 18, height + 45), name, WHITE, small)
        at += 18 + draw.textlength(name, small) + 16
    draw.text((12, height + 74), frame.shown, WHITE, bold)
    draw.text((width - 12, height + 75), attribution, SOFT, small, anchor="ra")
    return out


def natural(values: NDArray[np.int16]) -> Picture:
    """(row, col, 3) natural colours of (band, row, col) int16."""
    rgb = _colours(values * np.float32(SCALE))
    rgb[:, (values == NODATA).any(axis=0)] = np.array(EMPTY, np.uint8)[:, None]
    return np.ascontiguousarray(np.moveaxis(rgb, 0, -1))


def masked(raw: Picture, classes: NDArray[np.int16]) -> Picture:
    """A picture with the (row, col) classes of its mask laid over it."""
    out = raw * np.float32(0.75)
    for value, colour in CLASSES.items():
        here = classes == value
        out[here] = 0.3 * raw[here] + 0.7 * np.array(colour)
    return np.asarray(np.rint(out), np.uint8)


def with_strips(
    store: Store, target: Target, picture: Picture, medians: Iterable[tuple[Entry, Strips]]
) -> Picture:
    """A dimmed picture with the windows of scenes and their edge strips, at least 4 px deep, in their medians' colours.

    The scenes lie in the target's zone; those that come first are drawn last.
    """
    out = Image.fromarray(np.rint(picture * np.float32(0.45)).astype(np.uint8))
    draw = ImageDraw.Draw(out)
    for entry, strips in reversed(list(medians)):
        grid = store.grid(entry.scene.epsg)
        for wy, wx in np.argwhere(strips.count.any(axis=(2, 3, 4))):
            window = Window(int(wy) + strips.windows.row0, int(wx) + strips.windows.col0)
            b = grid.bounds(grid.window_box(window))
            left, right = (round((v - target.bounds.left) / target.resolution[0]) for v in (b.left, b.right))
            top, bottom = (round((target.bounds.top - v) / target.resolution[1]) for v in (b.top, b.bottom))
            if right - left < 12:
                continue
            deep = max(4, round(DEPTH / grid.window * (right - left)))
            boxes = _boxes(left, top, right, bottom, deep)
            for (edge, segment), box in zip(np.ndindex(len(EDGES), SEGMENTS), boxes, strict=True):
                if strips.count[wy, wx, edge, segment].all():
                    red, green, blue = _colours(strips.median[wy, wx, edge, segment]).tolist()
                    draw.rectangle(box, (red, green, blue))
            draw.rectangle((left, top, right - 1, bottom - 1), outline=(12, 18, 15))
    return np.asarray(out)


def _boxes(left: int, top: int, right: int, bottom: int, deep: int) -> Iterator[tuple[int, int, int, int]]:
    """A window's strips in pixels, in the order of `EDGES` and segments; those at the sides end at the others."""
    x, y = (left + right) // 2, (top + bottom) // 2
    across, down = ((left, x - 2), (x, right - 1)), ((top + deep + 1, y - 2), (y, bottom - deep - 2))
    yield from ((a, top, b, top + deep - 1) for a, b in across)
    yield from ((right - deep, a, right - 1, b) for a, b in down)
    yield from ((a, bottom - deep, b, bottom - 1) for a, b in across)
    yield from ((left, a, left + deep - 1, b) for a, b in down)


def _colours(reflectance: NDArray[np.float32]) -> Picture:
    """uint8 of reflectance, in the natural style."""
    low, high = NATURAL.rescale
    share = np.clip((reflectance - low) / (high - low), 0, 1) ** (1 / NATURAL.gamma)
    return np.asarray(np.rint(255 * share), np.uint8)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)
