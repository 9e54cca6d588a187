"""The air over a scene is found from its image, its weather models and the elevation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_origin

from terrazzo.precompute.correct import toa_reflectance
from terrazzo.precompute.correct.air import pressure_at, see_air
from terrazzo.precompute.products.angles import constant_angles
from terrazzo.precompute.products.auxiliary import read_auxiliary
from terrazzo.precompute.products.elevation import node_elevation
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.numbers import Numbers
from terrazzo.precompute.scene.make import ingest, ready_scene
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import read_item
from terrazzo.store import StoreConfig, create_store
from tests.precompute.scene.test_l1c import LEFT, SIDE, TOP, write_safe

BANDS = ("B02", "B04", "B08", "B12", "B8A", "B09")
PIXELS = 64
GRIB = {"water_vapour": (0, 1, 3), "pressure": (0, 3, 1), "aot": (0, 20, 102)}
"""Discipline, category and number of PWAT, PRMSL and AOTK."""


def seen_scenes(spectra: pd.DataFrame, count: int) -> pd.DataFrame:
    """True and found aerosol and water vapour of scenes of real vegetation and soil spectra under random air.

    The air's effect is that of the table, which other tests hold against 6S; what is tried here is how far the ground's
    colours are what the retrieval takes them for.
    """
    green = spectra[spectra.LEVEL_2 == "vegetation"][list(BANDS)].to_numpy()
    soil = spectra[spectra.LEVEL_2 == "bare"][list(BANDS)].to_numpy()
    rng = np.random.default_rng(5)
    rows = []
    for _ in range(count):
        pixels = PIXELS**2
        share = (rng.beta(1, 6, pixels) * rng.uniform(0.2, 1))[:, None]
        forest = green[rng.integers(len(green), size=(3, pixels))].mean(axis=0)
        light = rng.uniform(0.55, 1.05, pixels)[:, None]
        ground = ((1 - share) * forest + share * soil[rng.integers(len(soil), size=pixels)]) * light
        aot, water = min(rng.gamma(2, 0.1), 0.8), rng.uniform(0.5, 4.5)
        sun, pressure = rng.uniform(20, 65), rng.uniform(900, 1020)
        toa = [
            toa_reflectance(
                ground[:, i],
                satellite="S2A",
                band=band,
                aot=aot,
                water_vapour=water,
                pressure=pressure,
                sun_zenith=sun,
                view_zenith=0.0,
                relative_azimuth=90.0,
            )
            for i, band in enumerate(BANDS)
        ]
        noisy = np.maximum(np.rint(np.array(toa) * 1e4 + rng.normal(0, 8, (len(BANDS), pixels))), 1)
        numbers = Numbers(BANDS, noisy.astype(np.uint16).reshape(-1, PIXELS, PIXELS), 0)
        side = PIXELS * 20.0
        found = see_air(
            numbers,
            np.ones((PIXELS, PIXELS), bool),
            (0.0, side, 20.0),
            constant_angles(0.0, side, side, (sun, 150.0)),
            satellite="S2A",
            models={"pressure": pressure},
            elevation=None,
        ).sources
        rows.append((aot, found["aot"].mean, water, found["water_vapour"].mean))
    return pd.DataFrame(rows, columns=["aot", "aot_found", "water", "water_found"])


def test_aerosol_and_water_vapour_are_found_over_real_vegetation_and_soil(data: Path) -> None:
    path = data / "imagery/reference_spectra/earthlib_surface_reflectance_S2A.csv.gz"
    scenes = seen_scenes(pd.read_csv(path), 60)
    error = scenes.aot_found - scenes.aot
    assert np.sqrt((error**2).mean()) <= 0.06
    assert (error.abs() <= 0.05 + 0.15 * scenes.aot).mean() >= 0.8
    assert np.sqrt(((scenes.water_found - scenes.water) ** 2).mean()) <= 0.3


def write_dem(path: Path, height: float) -> Path:
    """An elevation model in degrees, as Copernicus' are, that rises by 100 m to the north."""
    rows = np.linspace(height + 100, height, 200)[:, None] * np.ones((1, 300))
    with rasterio.open(
        path, "w", driver="GTiff", width=300, height=200, count=1, dtype="float32", crs="EPSG:4326",
        transform=from_origin(10.2, 49.72, 0.002, 0.001), nodata=-9999,
    ) as dataset:  # fmt: skip
        dataset.write(rows.astype(np.float32), 1)
    return path


def test_elevation_lowers_the_pressure_and_makes_another_revision(tmp_path: Path) -> None:
    safe = write_safe(tmp_path / "products")
    store = create_store(
        str(tmp_path / "store"),
        StoreConfig(pixel=10.0, mask_pixel=20.0, window=256, bands=("B02", "B04", "B08")),
    )
    (product,) = find_products(safe.parent).products
    dem = write_dem(tmp_path / "dem.tif", 1500.0)
    sea, high = (ingest(product, store, Recipe("model", dem=d)) for d in (None, dem))
    told = read_item(store, high)["properties"]["terrazzo:air"]["pressure"]
    assert told["mean"] == pytest.approx(float(pressure_at(np.array(1550.0))), abs=8)
    assert "elevation given" in told["origin"]
    assert high.rev != sea.rev
    assert ready_scene(product, store, Recipe("model", dem=dem)) == high
    # Another model under the same name is another scene.
    write_dem(dem, 900.0)
    assert ready_scene(product, store, Recipe("model", dem=dem)) is None


def test_elevation_is_the_mean_around_each_node(tmp_path: Path) -> None:
    angles = constant_angles(LEFT, TOP, SIDE, (40.0, 150.0))
    heights = node_elevation(write_dem(tmp_path / "dem.tif", 1000.0), angles, 32632)
    assert heights.shape == (2, 2)
    assert (heights[0] > heights[1]).all()
    assert 1000 < heights.min() < heights.max() < 1100


@pytest.mark.parametrize(
    ("name", "stored", "told"),
    [("water_vapour", 23.0, 2.3), ("pressure", 100_900.0, 1009.0), ("aot", 0.31, 0.31)],
)
def test_weather_models_are_read_in_the_units_of_the_correction(
    tmp_path: Path, name: str, stored: float, told: float
) -> None:
    discipline, category, number = GRIB[name]
    field = stored * np.linspace(0.9, 1.1, 9)[None, :] * np.ones((9, 1))
    with rasterio.open(
        tmp_path / "field.tif", "w", driver="GTiff", width=9, height=9, count=1, dtype="float32", crs="EPSG:4326",
        transform=from_origin(14, 47, 0.25, 0.25),
    ) as dataset:  # fmt: skip
        dataset.write(field.astype(np.float32), 1)
    copy(
        tmp_path / "field.tif",
        tmp_path / "AUX_ECMWFT",
        driver="GRIB",
        DISCIPLINE=str(discipline),
        PDS_PDTN="0",
        PDS_TEMPLATE_NUMBERS=f"{category} {number} 2 0 0 0 0 0 1 0 0 0 0 1 0 0 0 0 0 255 0 0 0 0 0 0",
        DATA_ENCODING="IEEE_FLOATING_POINT",
    )
    middle = 14 + 4.5 * 0.25
    found = read_auxiliary(str(tmp_path / "AUX_ECMWFT"), middle, 46.0)
    assert found == {name: pytest.approx(told, rel=1e-3)}
    # Bilinear: a quarter of a degree is a fortieth of the field.
    east = read_auxiliary(str(tmp_path / "AUX_ECMWFT"), middle + 0.25, 46.0)
    assert east[name] == pytest.approx(1.025 * told, rel=1e-3)


def test_a_file_that_is_no_grib_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "AUX_CAMSFO").write_bytes(b"not a GRIB")
    assert read_auxiliary(str(tmp_path / "AUX_CAMSFO"), 15.0, 46.0) == {}
