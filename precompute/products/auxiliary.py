"""What the weather models in a SAFE say: aerosol and height (CAMS), water vapour, ozone and pressure at sea level (ECMWF)."""

import re
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from scipy.ndimage import map_coordinates

GRAVITY = 9.80665
"""m/s², which takes a geopotential to metres."""
FIELDS: Mapping[str, tuple[str, float]] = {
    "aot": (
        r"AOD550|AOTK|var207 of table 210|Total Aerosol Optical Depth at 550|Aerosol Optical Thickness",
        1.0,
    ),
    # PWC is GDAL's name of total column water vapour in ECMWF's table 128 of GRIB 1, number 137.
    "water_vapour": (r"TCWV|PWAT|PWC|var137 of table 128|[Tt]otal column water vapo", 0.1),
    # 1 cm-atm of ozone weighs 21.415 g/m².
    "ozone": (r"TCO3|TOZNE|var206 of table 128|[Tt]otal column ozone", 1 / 0.021415),
    "pressure": (r"\bMSL\b|PRMSL|MSLET|var151 of table 128|[Mm]ean sea level pressure", 0.01),
}
"""How a field is named in GRIB, and what takes it to the units of `surface_reflectance` (CAMS, ECMWF: kg/m², Pa)."""
GEOPOTENTIAL = r"\bZ\b|\bGP\b|var129 of table 128|[Gg]eopotential"


def read_auxiliary(path: str, lon: float, lat: float) -> dict[str, float]:
    """The fields of a GRIB file at a place, bilinear; those it does not have are left out.

    A file that GDAL cannot read is skipped: the next source is used.
    """
    fields: dict[str, float] = {}
    with suppress(RasterioError), rasterio.open(path, driver="GRIB") as dataset:
        for index in dataset.indexes:
            text = _name(dataset, index)
            for name, (pattern, unit) in FIELDS.items():
                if name not in fields and re.search(pattern, text):
                    field = dataset.read(index).astype(np.float64)
                    value = float(_at(field, dataset.transform, np.array([lon]), np.array([lat]))[0]) * unit
                    if np.isfinite(value):
                        fields[name] = value
    return fields


def read_height(path: str, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Metres above the sea of a weather model's ground at places, of the shape of `lon`; None if the file has none.

    It comes as geopotential at the surface; that of a pressure level is another thing.
    """
    with suppress(RasterioError), rasterio.open(path, driver="GRIB") as dataset:
        for index in dataset.indexes:
            tags = dataset.tags(index)
            of_ground = "SFC" in tags.get("GRIB_SHORT_NAME", "") and "m^2/s^2" in tags.get("GRIB_UNIT", "")
            if of_ground and re.search(GEOPOTENTIAL, _name(dataset, index)):
                height = _at(dataset.read(index).astype(np.float64), dataset.transform, lon, lat) / GRAVITY
                return height if np.isfinite(height).all() else None
    return None


def _name(dataset: rasterio.DatasetReader, index: int) -> str:
    tags = dataset.tags(index)
    return f"{tags.get('GRIB_ELEMENT', '')} {tags.get('GRIB_COMMENT', '')} {dataset.descriptions[index - 1] or ''}"


def _at(
    field: NDArray[np.float64], transform: rasterio.Affine, lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A field at places, bilinear; its longitudes may count from 0 or from −180."""
    around = lon + np.where(lon < 0, 360, -360)
    inside = np.abs((~transform @ (lon, lat))[0] / field.shape[1] - 0.5) <= 0.5 + 1 / field.shape[1]
    col, row = ~transform @ (np.where(inside, lon, around), lat)
    row, col = (np.clip(v - 0.5, 0, n - 1) for v, n in zip((row, col), field.shape, strict=True))
    return np.asarray(map_coordinates(field, [row, col], order=1, mode="nearest"))
