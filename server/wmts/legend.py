"""Legends of styles as small pictures."""

import io

import numpy as np
from PIL import Image, ImageDraw
from rio_tiler.colormap import apply_cmap, cmap

from terrazzo.bands import BANDS, PALETTE, Style

SIZE = (200, 40)
CLASSES_SIZE = (200, 4 + 14 * len(PALETTE))


def legend(style: Style) -> bytes:
    """A PNG: the colour ramp of an index, or the band behind each colour."""
    picture = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    if style.colormap or len(style.bands) == 1:
        ramp = np.linspace(0, 255, SIZE[0] - 20).astype(np.uint8)[None, None].repeat(14, axis=1)
        rgb = apply_cmap(ramp, cmap.get(style.colormap))[0] if style.colormap else ramp.repeat(3, axis=0)
        picture.paste(Image.fromarray(np.ascontiguousarray(np.moveaxis(rgb, 0, -1))), (10, 5))
        low, high = (f"{v:g}" for v in style.rescale)
        draw.text((10, 23), low, "black")
        draw.text((190, 23), high, "black", anchor="ra")
        draw.text((100, 23), style.expression or style.bands[0], "black", anchor="ma")
    else:
        for i, (band, colour) in enumerate(zip(style.bands, ("red", "green", "blue"), strict=True)):
            draw.rectangle((10, 2 + 12 * i, 24, 11 + 12 * i), colour)
            draw.text((30, 1 + 12 * i), f"{band} {BANDS[band].common}", "black")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def classes_legend() -> bytes:
    """A PNG: the colour of each mask class."""
    picture = Image.new("RGB", CLASSES_SIZE, "white")
    draw = ImageDraw.Draw(picture)
    for i, (value, colour) in enumerate(PALETTE.items()):
        draw.rectangle((10, 3 + 14 * i, 24, 13 + 14 * i), colour, "black")
        draw.text((30, 2 + 14 * i), value.name.lower().replace("_", " "), "black")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
