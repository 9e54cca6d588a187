"""Other forms of the same image, as converters, clippers and failing downloads leave them: most hold the truth, some cannot be read."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

Values = NDArray[np.generic]
ADDED = 1000


def rewritten(path: Path, of: Callable[[Values], Values] = lambda v: v, **changes: Any) -> None:
    """Writes an image again with other values or another profile.

    Args:
        changes: of the profile, and `scale`, `offset`, `mask` (True where there are data), `south_up`.
    """
    scale, offset, mask = (changes.pop(k, None) for k in ("scale", "offset", "mask"))
    south_up = changes.pop("south_up", False)
    with rasterio.open(path) as dataset:
        given, about = dataset.read(1), dataset.profile
    values = of(given)
    known = ("height", "width", "count", "crs", "transform", "nodata")
    about = {**{k: about[k] for k in known}, "dtype": values.dtype.name, "compress": "deflate", **changes}
    if south_up:
        values = values[::-1]
        about["transform"] = about["transform"] @ Affine.translation(0, about["height"]) @ Affine.scale(1, -1)
    path.unlink()
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", **{k: v for k, v in about.items() if v is not None}
        ) as dataset,
    ):
        dataset.write(values, 1)
        if mask:
            dataset.write_mask(given != 0)
        if scale is not None:
            dataset.scales = [scale]
        if offset is not None:
            dataset.offsets = [offset]


def _without(values: Values, number: float, kind: str) -> Values:
    """Counts without ESA's addition in a data type, a number for no data."""
    return np.where(values == 0, number, values.astype(np.float64) - ADDED).astype(kind)


def _reflectance(values: Values, number: float) -> Values:
    return np.where(values == 0, number, (values.astype(np.float64) - ADDED) * 1e-4).astype(np.float32)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FORMS: dict[str, Callable[[Path], None]] = {
    "int16 without the addition": lambda p: rewritten(p, lambda v: _without(v, -32768, "int16"), nodata=-32768),
    "int32 without the addition": lambda p: rewritten(p, lambda v: _without(v, -9999, "int32"), nodata=-9999),
    "reflectance, NaN": lambda p: rewritten(p, lambda v: _reflectance(v, np.nan), nodata=float("nan")),
    "reflectance, -9999": lambda p: rewritten(p, lambda v: _reflectance(v, -9999), nodata=-9999),
    "uint32": lambda p: rewritten(p, lambda v: v.astype("uint32")),
    "float counts": lambda p: rewritten(p, lambda v: v.astype("float32")),
    "no data 65535": lambda p: rewritten(p, lambda v: np.where(v == 0, 65535, v).astype("uint16"), nodata=65535),
    "a mask": lambda p: rewritten(p, lambda v: np.where(v == 0, 777, v).astype("uint16"), nodata=None, mask=True),
    "scale and offset in the file": lambda p: rewritten(p, scale=1e-4, offset=-0.1),
    "offset of counts in the file": lambda p: rewritten(p, offset=-1000.0),
    "scale 5e-5": lambda p: rewritten(p, lambda v: (v * 2).astype("uint16"), scale=5e-5),
    "offset that no product has": lambda p: rewritten(p, offset=-0.05),
    "south first": lambda p: rewritten(p, south_up=True),
    "no CRS": lambda p: rewritten(p, crs=None),
    "no transform": lambda p: rewritten(p, transform=Affine.identity()),
    "another zone": lambda p: rewritten(p, crs="EPSG:32634"),
    "turned": lambda p: rewritten(p, transform=Affine(10, 1, 499_980, 1, -10, 5_100_000)),
    "a picture": lambda p: rewritten(p, lambda v: (v // 60).astype("uint8")),
    "complex": lambda p: rewritten(p, lambda v: v.astype("complex64")),
    "empty": lambda p: p.write_bytes(b""),
    "truncated": _truncated,
    "a page of HTML": lambda p: p.write_text("<html>503</html>"),
    "no values": lambda p: rewritten(p, np.zeros_like),
    "missing": lambda p: p.unlink(),
}  # fmt: skip


def reformed(folder: Path, chance: random.Random) -> str:
    """Gives all images of a product another form, or one of them, and returns what was done."""
    name = chance.choice(list(FORMS))
    paths = sorted(folder.glob("B0*.tif"))
    chosen = paths if chance.random() < 0.6 else [chance.choice(paths)]
    for path in chosen:
        FORMS[name](path)
    return f"{name} in {', '.join(p.stem for p in chosen)}"
