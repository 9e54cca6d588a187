"""From the engine's pixels to bytes: expression, stretch, colormap, encoding."""

import io
from collections.abc import Callable
from typing import cast

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image as Picture
from rasterio.io import MemoryFile
from rio_tiler.colormap import apply_cmap, cmap

from terrazzo.bands import NODATA, PALETTE, SCALE
from terrazzo.crs import definition
from terrazzo.errors import InvalidRequest
from terrazzo.formats import LOSSLESS, Format
from terrazzo.mosaic.measure import Drawn, known
from terrazzo.mosaic.warp import Target
from terrazzo.picture import stretched
from terrazzo.server.layers import LAYERS, rgba
from terrazzo.server.png import png
from terrazzo.server.request import Ask

PICTURES = 3
"""Raised by hand when a change of the code draws other bytes of the same pixels: palettes, ramps, encoders; part of every key."""
BACKGROUND = (255, 255, 255)
"""What formats without transparency show where there are no data."""


def render(drawn: Drawn, ask: Ask, target: Target, form: Format, tags: dict[str, str]) -> bytes:
    """Encodes what was drawn.

    Raises:
        InvalidRequest: what is asked for makes no picture.
    """
    if not form.is_picture:
        return WRITERS[form.name](drawn, ask, target, tags)
    if ask.layer is not None:
        return _encode(rgba(drawn.image, LAYERS[ask.layer]), form, LOSSLESS)
    counts = _plain_counts(drawn, ask)
    if form.name == "png" and ask.colormap is None and counts is not None:
        return png(counts, ask.rescale or ((0.0, 1.0),), ask.gamma)
    # Lossy colours would be those of other classes.
    quality = LOSSLESS if drawn.image.bands == ("mask",) else ask.quality
    return _encode(_rgba(drawn, ask), form, quality)


def _plain_counts(drawn: Drawn, ask: Ask) -> NDArray[np.int16] | None:
    """(band, row, col) int16 where one or three bands of reflectance are shown, each with its stretch; else None."""
    count = len(drawn.values)
    if drawn.values.dtype != np.int16 or drawn.image.bands == ("mask",):
        return None
    fits = count in (1, 3) and len(ask.rescale or (0,)) in (1, count)
    return cast(NDArray[np.int16], drawn.values) if fits else None


def _shown(drawn: Drawn) -> np.ma.MaskedArray:
    """(channel, row, col) float32 of what is shown, masked without data."""
    masked = np.ma.array(drawn.values, np.float32, mask=~known(drawn.values))
    if drawn.values.dtype == np.float32 or drawn.image.bands == ("mask",):
        return masked
    # Counts of `stage=raw` are shown on the same scale.
    return masked * np.float32(SCALE)


def _rgba(drawn: Drawn, ask: Ask) -> NDArray[np.uint8]:
    """(4, row, col) uint8 picture."""
    if drawn.image.bands == ("mask",):
        table = np.zeros((256, 4), np.uint8)
        for value, colour in PALETTE.items():
            table[value] = (*colour, 255)
        classes = np.where(drawn.values[0] == NODATA, 0, drawn.values[0])
        return np.moveaxis(table[classes], -1, 0)
    shown = _shown(drawn)
    if ask.colormap is None and len(shown) not in (1, 3):
        raise InvalidRequest(f"{len(shown)} bands make no picture: ask for one, three, or format tif or npy")
    pairs = ask.rescale or ((0.0, 1.0),)
    if len(pairs) not in (1, len(shown)):
        raise InvalidRequest(f"rescale: one pair, or {len(shown)}")
    bytes_ = stretched(shown.filled(0), pairs, ask.gamma)
    alpha = np.where(np.ma.getmaskarray(shown).any(axis=0), 0, 255).astype(np.uint8)
    if ask.colormap is not None:
        rgb, _ = apply_cmap(bytes_[:1], cmap.get(ask.colormap))
    else:
        rgb = np.repeat(bytes_, 3, axis=0) if len(bytes_) == 1 else bytes_
    return np.concatenate([np.where(alpha > 0, rgb, 0), alpha[None]]).astype(np.uint8)


def _encode(rgba: NDArray[np.uint8], form: Format, quality: int) -> bytes:
    picture = Picture.fromarray(np.ascontiguousarray(np.moveaxis(rgba, 0, -1)), "RGBA")
    if not form.transparent:
        plain = Picture.new("RGB", picture.size, BACKGROUND)
        plain.paste(picture, mask=picture.getchannel("A"))
        picture = plain
    out = io.BytesIO()
    picture.save(out, form.driver, **form.options(quality))
    return out.getvalue()


def _npy(drawn: Drawn, ask: Ask, target: Target, tags: dict[str, str]) -> bytes:
    """Bands and a mask band (255 valid), as rio-tiler writes NPY."""
    values, mask = _data(drawn)
    out = io.BytesIO()
    np.save(out, np.concatenate([values, mask[None].astype(values.dtype)]), allow_pickle=False)
    return out.getvalue()


def _data(drawn: Drawn) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    return drawn.values, np.where(known(drawn.values).all(axis=0), 255, 0).astype(np.uint8)


def geotiff(drawn: Drawn, ask: Ask, target: Target, tags: dict[str, str]) -> bytes:
    """A GeoTIFF: int16 reflectance with scale 1e-4 and nodata −32768, float32 for an expression."""
    values, _ = _data(drawn)
    is_float = values.dtype == np.float32
    bands = drawn.image.bands
    names = ask.measure.names if is_float else bands
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": target.height,
        "width": target.width,
        "dtype": values.dtype.name,
        "crs": definition(target.crs),
        "transform": rasterio.transform.from_bounds(*target.bounds, target.width, target.height),
        "nodata": float("nan") if is_float else NODATA,
        "compress": "deflate",
        "predictor": 3 if is_float else 2,
        "tiled": target.width >= 256 and target.height >= 256,
    }
    if profile["tiled"]:
        profile |= {"blockxsize": 256, "blockysize": 256}
    else:
        profile.pop("tiled")
    with MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(values)
            for i, name in enumerate(names, 1):
                dataset.set_band_description(i, name)
            if ask.layer is not None:
                dataset.units = [LAYERS[ask.layer].unit]
            elif not is_float and bands != ("mask",):
                dataset.scales = [SCALE] * len(values)
                dataset.offsets = [0.0] * len(values)
            dataset.update_tags(**tags)
        return bytes(memory.read())


WRITERS: dict[str, Callable[[Drawn, Ask, Target, dict[str, str]], bytes]] = {"tif": geotiff, "npy": _npy}
"""The writers of formats that hold numbers."""
