"""What the weather models in a SAFE say: aerosol (CAMS), water vapour, ozone and pressure at sea level (ECMWF)."""

import re
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

FIELDS: Mapping[str, tuple[str, float]] = {
    "aot": (
        r"AOD550|AOTK|var207 of table 210|Total Aerosol Optical Depth at 550|Aerosol Optical Thickness",
        1.0,
    ),
    "water_vapour": (r"TCWV|PWAT|var137 of table 128|[Tt]otal column water vapo", 0.1),
    # 1 cm-atm of ozone weighs 21.415 g/m².
    "ozone": (r"TCO3|TOZNE|var206 of table 128|[Tt]otal column ozone", 1 / 0.021415),
    "pressure": (r"\bMSL\b|PRMSL|MSLET|var151 of table 128|[Mm]ean sea level pressure", 0.01),
}
"""How a field is named in GRIB, and what takes it to the units of `surface_reflectance` (CAMS, ECMWF: kg/m², Pa)."""


def read_auxiliary(path: str, lon: float, lat: float) -> dict[str, float]:
    """The fields of a GRIB file at a place, bilinear; those it does not have are left out.

    A file that GDAL cannot read tells nothing: the next source of knowledge is asked.
    """
    found: dict[str, float] = {}
    with suppress(RasterioError), rasterio.open(path, driver="GRIB") as dataset:
        for index in dataset.indexes:
            tags = dataset.tags(index)
            text = " ".join(
                [
                    tags.get("GRIB_ELEMENT", ""),
                    tags.get("GRIB_COMMENT", ""),
                    dataset.descriptions[index - 1] or "",
                ]
            )
            for name, (pattern, unit) in FIELDS.items():
                if name not in found and re.search(pattern, text):
                    value = _at(dataset.read(index).astype(np.float64), dataset.transform, lon, lat) * unit
                    if np.isfinite(value):
                        found[name] = value
    return found


def _at(field: NDArray[np.float64], transform: rasterio.Affine, lon: float, lat: float) -> float:
    col, row = ~transform @ (lon, lat)
    if not -1 <= col <= field.shape[1] + 1:
        col, row = ~transform @ (lon + 360 if lon < 0 else lon - 360, lat)
    row, col = (np.clip(v - 0.5, 0, n - 1) for v, n in zip((row, col), field.shape, strict=True))
    i, j = min(int(row), max(field.shape[0] - 2, 0)), min(int(col), max(field.shape[1] - 2, 0))
    block = field[i : i + 2, j : j + 2]
    down, right = row - i, col - j
    by_row = np.array([1 - down, down])[: block.shape[0]]
    return float(by_row @ block @ np.array([1 - right, right])[: block.shape[1]])
