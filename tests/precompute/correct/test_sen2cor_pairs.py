"""Real L1C crops, corrected, against Sen2Cor's surface reflectance of the same acquisition."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.precompute.correct import surface_reflectance

L1C = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
L2A = tuple(b for b in L1C if b != "B10")
FLAT = slice(112, None)


@pytest.mark.parametrize(
    ("crop", "added", "where", "aot", "water", "sun"),
    [
        ("282D_485L_3_3", (1000, 0), slice(None), 0.215, 3.3, 44.0),
        # The hills of the other three quarters show the terrain correction of Sen2Cor, which we have not.
        ("433D_629L_3_1", (1000, 1000), FLAT, 0.10, 2.95, 51.7),
    ],
)
def test_all_bands_agree_with_sen2cor_for_fitted_air(
    data: Path, crop: str, added: tuple[int, int], where: slice, aot: float, water: float, sun: float
) -> None:
    toa, rho = {}, {}
    for level, bands, out, offset in (("L1C", L1C, toa, added[0]), ("L2A", L2A, rho, added[1])):
        with rasterio.open(data / f"labelled/terramind/S2{level}_{crop}.tif") as dataset:
            counts = dataset.read().astype(float) - offset
        out |= {b: c[where, where] / 10_000 for b, c in zip(bands, counts, strict=True)}
    squares = []
    for band in L2A:
        if band == "B09":
            continue
        found = surface_reflectance(
            toa[band],
            satellite="S2A",
            band=band,
            aot=aot,
            water_vapour=water,
            ozone=0.28,
            pressure=1010,
            sun_zenith=sun,
            view_zenith=5,
            relative_azimuth=90,
        )
        squares.append(np.mean((found - rho[band]) ** 2))
    assert np.sqrt(np.mean(squares)) <= 0.0077
