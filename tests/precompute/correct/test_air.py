"""The air over a scene is found from its image, its weather models and the elevation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_origin

from terrazzo.errors import UnreadableAsset
from terrazzo.precompute.correct import toa_reflectance
from terrazzo.precompute.correct.air import Source, pressure_at, see_air
from terrazzo.precompute.products.angles import constant_angles
from terrazzo.precompute.products.auxiliary import read_auxiliary, read_height
from terrazzo.precompute.products.elevation import node_elevation
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.numbers import Numbers
from terrazzo.precompute.scene.make import ingest, known_scene
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import read_item
from terrazzo.store import StoreConfig, create_store
from tests.precompute.scene.test_l1c import GRANULE, LEFT, SIDE, TOP, write_safe

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
    assert known_scene(product, store, Recipe("model", dem=dem)).scene == high
    # Another model under the same name is another scene.
    write_dem(dem, 900.0)
    assert known_scene(product, store, Recipe("model", dem=dem)).scene is None


def test_elevation_is_the_mean_around_each_node(tmp_path: Path) -> None:
    angles = constant_angles(LEFT, TOP, SIDE, (40.0, 150.0))
    heights = node_elevation(write_dem(tmp_path / "dem.tif", 1000.0), angles, 32632)
    assert heights.shape == (2, 2)
    assert (heights[0] > heights[1]).all()
    assert 1000 < heights.min() < heights.max() < 1100


def test_an_elevation_model_is_opened_as_what_such_models_come_as(tmp_path: Path) -> None:
    angles = constant_angles(LEFT, TOP, SIDE, (40.0, 150.0))
    tif = write_dem(tmp_path / "dem.tif", 1000.0)
    known = node_elevation(tif, angles, 32632)
    copy(tif, tmp_path / "dem.vrt", driver="VRT")
    np.testing.assert_array_equal(node_elevation(tmp_path / "dem.vrt", angles, 32632), known)
    # GDAL reads a table of places as a raster too, as it does programs and addresses.
    copy(tif, tmp_path / "dem.xyz", driver="XYZ")
    with pytest.raises(UnreadableAsset, match="a GeoTIFF, HGT, DTED, or a VRT"):
        node_elevation(tmp_path / "dem.xyz", angles, 32632)


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


def grib1(parameter: int, values: np.ndarray, *, west: float, north: float, step: float = 0.25) -> bytes:
    """A field of ECMWF's table 128 at the surface as GRIB 1 (WMO No. 306, FM 92), values not below 0 in 16 bits."""

    def signed(degrees: float) -> bytes:
        number = round(degrees * 1000)
        return (abs(number) | (0x800000 if number < 0 else 0)).to_bytes(3, "big")

    rows, cols = values.shape
    power = int(np.ceil(np.log2(max(values.max(), 1e-9) / 65535)))
    packed = np.rint(values / 2.0**power).astype(">u2").tobytes()
    packed += b"\0" * (len(packed) % 2)
    product = bytes([0, 0, 28, 128, 98, 128, 255, 0x80, parameter, 1, 0, 0, 24, 1, 20, 0, 0, 1])
    product += bytes([10, 0, 0, 0, 0, 0, 21, 0, 0, 0])
    grid = bytes([0, 0, 32, 0, 255, 0]) + cols.to_bytes(2, "big") + rows.to_bytes(2, "big")
    grid += signed(north) + signed(west) + b"\x80" + signed(north - (rows - 1) * step)
    grid += signed(west + (cols - 1) * step) + 2 * round(step * 1000).to_bytes(2, "big") + bytes(5)
    scale = abs(power) | (0x8000 if power < 0 else 0)
    data = (
        (11 + len(packed)).to_bytes(3, "big") + b"\0" + scale.to_bytes(2, "big") + bytes(4) + b"\x10" + packed
    )
    length = 8 + len(product) + len(grid) + len(data) + 4
    return b"GRIB" + length.to_bytes(3, "big") + b"\x01" + product + grid + data + b"7777"


RAMP = np.linspace(0.9, 1.1, 9)[None, :] * np.ones((9, 1))
"""From west to east; 1 in the middle."""


@pytest.mark.parametrize(
    ("parameter", "stored", "name", "told"),
    [
        (137, 10.96, "water_vapour", 1.096),
        (151, 101_325.0, "pressure", 1013.25),
        (206, 6.4245e-3, "ozone", 0.3),
    ],
)
def test_the_fields_of_ecmwfs_table_128_in_grib_1_are_read(
    tmp_path: Path, parameter: int, stored: float, name: str, told: float
) -> None:
    (tmp_path / "AUX_ECMWFT").write_bytes(grib1(parameter, stored * RAMP, west=14, north=47))
    found = read_auxiliary(str(tmp_path / "AUX_ECMWFT"), 15.0, 46.0)
    assert found == {name: pytest.approx(told, rel=1e-3)}
    east = read_auxiliary(str(tmp_path / "AUX_ECMWFT"), 15.25, 46.0)
    assert east[name] == pytest.approx(1.025 * told, rel=1e-3)


def test_the_height_of_the_ground_comes_from_the_geopotential_at_the_surface(tmp_path: Path) -> None:
    path = tmp_path / "AUX_CAMSFO"
    path.write_bytes(grib1(129, 9.80665 * 1500 * RAMP, west=14, north=47))
    lon, lat = np.array([[14.0, 15.0], [15.5, 16.0]]), np.full((2, 2), 46.0)
    height = read_height(str(path), lon, lat)
    np.testing.assert_allclose(height, [[1350, 1500], [1575, 1650]], rtol=1e-3)
    # Longitudes that count from 0 to 360, asked for from −180.
    path.write_bytes(grib1(129, 9.80665 * 1500 * RAMP, west=344, north=47))
    np.testing.assert_allclose(read_height(str(path), lon - 30, lat), height, rtol=1e-6)
    path.write_bytes(grib1(137, 10 * RAMP, west=14, north=47))
    assert read_height(str(path), lon, lat) is None


def test_a_scene_without_an_elevation_model_lies_as_high_as_its_weather_model_says(tmp_path: Path) -> None:
    safe = write_safe(tmp_path / "products")
    auxiliary = safe.parent / GRANULE / "AUX_DATA"
    auxiliary.mkdir()
    field = grib1(129, np.full((9, 9), 9.80665 * 1500), west=9.5, north=50.5)
    field += grib1(137, np.full((9, 9), 22.0), west=9.5, north=50.5)
    (auxiliary / "AUX_CAMSFO").write_bytes(field)
    store = create_store(
        str(tmp_path / "store"),
        StoreConfig(pixel=10.0, mask_pixel=20.0, window=256, bands=("B02", "B04", "B08")),
    )
    (product,) = find_products(safe.parent).products
    modelled, given = (
        read_item(store, ingest(product, store, Recipe("model", dem=d)))["properties"]
        for d in (None, write_dem(tmp_path / "dem.tif", 400.0))
    )
    pressure = modelled["terrazzo:air"]["pressure"]
    assert pressure["mean"] == pytest.approx(float(pressure_at(np.array(1500.0))), abs=1)
    assert "elevation of the weather model" in pressure["origin"]
    assert 10 < pressure["uncertainty"] < 30
    assert "sea level" not in modelled["processing:lineage"]
    assert given["terrazzo:air"]["pressure"]["mean"] > pressure["mean"] + 80
    assert "blended with: weather model" in modelled["terrazzo:air"]["water_vapour"]["origin"]


def forest_scene(sun: float, aot: float, water: float, shade: float = 0.0) -> Numbers:
    """A dense forest under known air; in shade the sky lights it, and there is more blue than short-wave infrared in that."""
    rng = np.random.default_rng(1)
    rho = {"B02": 0.0172, "B04": 0.025, "B08": 0.28, "B12": 0.05, "B8A": 0.30, "B09": 0.30}
    sky = {"B02": 0.55, "B04": 0.35, "B08": 0.25, "B12": 0.05, "B8A": 0.25, "B09": 0.25}
    layers = []
    for band in BANDS:
        lit = rho[band] * (1 - shade * (1 - sky[band])) * rng.uniform(0.95, 1.05, (PIXELS, PIXELS))
        air = {"aot": aot, "water_vapour": water, "sun_zenith": sun, "view_zenith": 0.0}
        toa = toa_reflectance(lit, satellite="S2A", band=band, relative_azimuth=90.0, **air)
        layers.append(np.rint(toa * 10_000))
    return Numbers(BANDS, np.array(layers).astype(np.uint16), 0)


def air_over(numbers: Numbers, sun: float, models: dict[str, float]) -> dict[str, Source]:
    side = PIXELS * 20.0
    angles = constant_angles(0.0, side, side, (sun, 150.0))
    land = np.ones((PIXELS, PIXELS), bool)
    return dict(
        see_air(
            numbers, land, (0.0, side, 20.0), angles, satellite="S2A", models=models, elevation=None
        ).sources
    )


def test_water_vapour_of_the_image_and_of_a_weather_model_are_blended_by_their_uncertainty() -> None:
    numbers = forest_scene(40.0, 0.15, 2.0)
    alone = air_over(numbers, 40.0, {"aot": 0.15})["water_vapour"]
    both = air_over(numbers, 40.0, {"aot": 0.15, "water_vapour": 3.0})["water_vapour"]
    assert alone.mean == pytest.approx(2.0, abs=0.1)
    assert "blended" not in alone.origin
    share = 0.2**-2 / (0.2**-2 + 0.3**-2)
    assert both.mean == pytest.approx(share * alone.mean + (1 - share) * 3.0, abs=1e-6)
    assert both.uncertainty == pytest.approx((0.2**-2 + 0.3**-2) ** -0.5)


def test_under_a_low_sun_the_weather_models_aerosol_wins_over_vegetation_in_shade() -> None:
    for sun, most in ((60.0, 0.03), (74.0, 0.03), (77.0, 0.02)):
        shade = 0.0 if sun == 60 else 0.6
        found = air_over(forest_scene(sun, 0.12, 0.6, shade), sun, {"aot": 0.12, "water_vapour": 0.6})["aot"]
        assert found.mean == pytest.approx(0.12, abs=most)
    high, low = (air_over(forest_scene(s, 0.35, 0.6), s, {"aot": 0.12})["aot"] for s in (55.0, 77.0))
    assert high.mean > 0.25
    assert low.mean == pytest.approx(0.12, abs=0.02)
    assert low.uncertainty == pytest.approx(0.08, abs=0.02)


def test_a_file_that_is_no_grib_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "AUX_CAMSFO").write_bytes(b"not a GRIB")
    assert read_auxiliary(str(tmp_path / "AUX_CAMSFO"), 15.0, 46.0) == {}
