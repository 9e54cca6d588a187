"""From the engine's pixels to bytes: expression, stretch, colormap, encoding."""

import io

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image as Picture
from rasterio.io import MemoryFile
from rio_tiler.colormap import apply_cmap, cmap
from rio_tiler.errors import InvalidExpression
from rio_tiler.models import ImageData

from server.layers import LAYERS, rgba
from server.png import png
from server.request import BAND, Ask, Format
from terrazzo.bands import NODATA, SCALE, MaskClass
from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import Image
from terrazzo.mosaic.warp import Target

PALETTE = {
    MaskClass.LAND: (120, 160, 90),
    MaskClass.WATER: (60, 110, 190),
    MaskClass.SNOW: (230, 240, 255),
    MaskClass.CLOUD: (255, 255, 255),
    MaskClass.THIN_CLOUD: (255, 200, 120),
    MaskClass.SHADOW: (90, 70, 120),
    MaskClass.DEFECTIVE: (255, 0, 255),
    MaskClass.TERRAIN_SHADOW: (60, 60, 60),
}
BACKGROUND = (255, 255, 255)
"""What JPEG, which knows no transparency, shows where there are no data."""


def render(image: Image, ask: Ask, target: Target, form: Format, tags: dict[str, str]) -> bytes:
    """Encodes an image.

    Raises:
        InvalidRequest: the expression cannot be evaluated, or the format cannot hold what is asked for.
    """
    if ask.layer is not None and form not in ("tif", "npy"):
        return _encode(rgba(image, LAYERS[ask.layer]), form)
    if form == "tif":
        return geotiff(image, ask, target, tags)
    if form == "npy":
        return _npy(image, ask)
    if form == "png" and ask.expression is None and ask.colormap is None and _is_plain(image, ask):
        return png(image.values, ask.rescale or ((0.0, 1.0),), ask.gamma)
    return _encode(_rgba(image, ask), form)


def _is_plain(image: Image, ask: Ask) -> bool:
    """Whether an image is one or three bands of reflectance, each with its stretch."""
    count = len(image.values)
    return image.bands != ("mask",) and count in (1, 3) and len(ask.rescale or (0,)) in (1, count)


def _shown(image: Image, ask: Ask) -> np.ma.MaskedArray:
    """(channel, row, col) float32 of what is shown, masked without data."""
    masked = np.ma.masked_equal(image.values, NODATA)
    if image.bands == ("mask",):
        return masked.astype(np.float32)
    # Counts of `stage=raw` are shown on the same scale.
    values = masked.astype(np.float32) * np.float32(SCALE)
    if ask.expression is None:
        return values
    data = ImageData(values)
    # rio-tiler's expressions call bands b1, b2, ….
    numbered = BAND.sub(lambda m: f"b{image.bands.index(m[0]) + 1}", ask.expression)
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.ma.masked_invalid(data.apply_expression(numbered).array)
    except (
        InvalidExpression,
        ValueError,
        SyntaxError,
        KeyError,
        TypeError,
        NameError,
        ArithmeticError,
    ) as error:
        raise InvalidRequest(f"expression={ask.expression}: {error}") from None


def _rgba(image: Image, ask: Ask) -> NDArray[np.uint8]:
    """(4, row, col) uint8 picture."""
    if image.bands == ("mask",):
        table = np.zeros((256, 4), np.uint8)
        for value, colour in PALETTE.items():
            table[value] = (*colour, 255)
        classes = np.where(image.values[0] == NODATA, 0, image.values[0])
        return np.moveaxis(table[classes], -1, 0)
    shown = _shown(image, ask)
    if ask.colormap is None and len(shown) not in (1, 3):
        raise InvalidRequest(f"{len(shown)} bands make no picture: ask for one, three, or format tif or npy")
    pairs = ask.rescale or ((0.0, 1.0),)
    if len(pairs) not in (1, len(shown)):
        raise InvalidRequest(f"rescale: one pair, or {len(shown)}")
    low, high = np.array([pairs[i % len(pairs)] for i in range(len(shown))], np.float32).T[:, :, None, None]
    scaled = np.clip((shown.filled(0) - low) / (high - low), 0, 1)
    if ask.gamma != 1:
        scaled **= np.float32(1 / ask.gamma)
    bytes_ = np.rint(scaled * 255).astype(np.uint8)
    alpha = np.where(np.ma.getmaskarray(shown).any(axis=0), 0, 255).astype(np.uint8)
    if ask.colormap is not None:
        rgb, _ = apply_cmap(bytes_[:1], cmap.get(ask.colormap))
    else:
        rgb = np.repeat(bytes_, 3, axis=0) if len(bytes_) == 1 else bytes_
    return np.concatenate([np.where(alpha > 0, rgb, 0), alpha[None]]).astype(np.uint8)


def _encode(rgba: NDArray[np.uint8], form: Format) -> bytes:
    picture = Picture.fromarray(np.ascontiguousarray(np.moveaxis(rgba, 0, -1)), "RGBA")
    out = io.BytesIO()
    if form == "png":
        picture.save(out, "PNG", compress_level=1)
    elif form == "webp":
        picture.save(out, "WEBP", quality=85, method=2)
    else:
        plain = Picture.new("RGB", picture.size, BACKGROUND)
        plain.paste(picture, mask=picture.getchannel("A"))
        plain.save(out, "JPEG", quality=85)
    return out.getvalue()


def _npy(image: Image, ask: Ask) -> bytes:
    """Bands and a mask band (255 valid), as rio-tiler writes NPY."""
    values, mask = _data(image, ask)
    out = io.BytesIO()
    np.save(out, np.concatenate([values, mask[None].astype(values.dtype)]), allow_pickle=False)
    return out.getvalue()


def _data(image: Image, ask: Ask) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    if ask.layer is not None:
        return image.values, np.where(image.values[0] == NODATA, 0, 255).astype(np.uint8)
    if ask.expression is not None and image.bands != ("mask",):
        shown = _shown(image, ask)
        mask = np.where(np.ma.getmaskarray(shown).any(axis=0), 0, 255).astype(np.uint8)
        return shown.filled(np.nan).astype(np.float32), mask
    return image.values, np.where((image.values == NODATA).any(axis=0), 0, 255).astype(np.uint8)


def geotiff(image: Image, ask: Ask, target: Target, tags: dict[str, str]) -> bytes:
    """A GeoTIFF: int16 reflectance with scale 1e-4 and nodata −32768, float32 for an expression."""
    values, _ = _data(image, ask)
    is_float = values.dtype == np.float32
    names = list(ask.expression.split(";")) if is_float and ask.expression else list(image.bands)
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": target.height,
        "width": target.width,
        "dtype": values.dtype.name,
        "crs": target.crs,
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
            elif not is_float and image.bands != ("mask",):
                dataset.scales = [SCALE] * len(values)
                dataset.offsets = [0.0] * len(values)
            dataset.update_tags(**tags)
        return bytes(memory.read())
