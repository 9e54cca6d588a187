"""An L1C product, as a SAFE folder and as a zip, becomes a scene of known truth."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.transform import from_origin

from terrazzo.bands import BANDS, DEFAULT_BANDS, NODATA, SCALE, MaskClass
from terrazzo.correction import counts, read_correction
from terrazzo.errors import NotFound
from terrazzo.grid import PixelBox
from terrazzo.precompute.commands.inspect import find_scene, inspect
from terrazzo.precompute.correct import toa_reflectance
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.scene.make import ingest
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import CORRECTION, Scene, read_item
from terrazzo.store import Store, StoreConfig, create_store

NAME = "S2B_MSIL1C_20220615T101559_N0400_R065_T32UPC_20220615T122549"
GRANULE = f"{NAME}.SAFE/GRANULE/L1C_T32UPC_A027547_20220615T102248"
LEFT, TOP, SIDE = 600_000, 5_500_020, 2_400
SUN, AOT, WATER = 40.0, 0.30, 2.2
FOREST = {
    "B01": 0.02, "B02": 0.0172, "B03": 0.045, "B04": 0.025, "B05": 0.07, "B06": 0.20, "B07": 0.26, "B08": 0.28,
    "B8A": 0.30, "B09": 0.30, "B10": 0.0, "B11": 0.14, "B12": 0.05,
}  # fmt: skip


def grid_xml(value: float) -> str:
    rows = "".join(f"<VALUES>{value} {value} {value}</VALUES>" for _ in range(3))
    return f"<COL_STEP>5000</COL_STEP><ROW_STEP>5000</ROW_STEP><Values_List>{rows}</Values_List>"


def view_xml(band: int) -> str:
    """Detector 7 of a band, 8° off nadir, seen from the east."""
    return (
        f"<Viewing_Incidence_Angles_Grids bandId='{band}' detectorId='7'>"
        f"<Zenith>{grid_xml(8)}</Zenith><Azimuth>{grid_xml(100)}</Azimuth></Viewing_Incidence_Angles_Grids>"
    )


def tile_metadata(sun: float, views: Sequence[int]) -> str:
    return (
        "<Level-1C_Tile_ID><SENSING_TIME>2022-06-15T10:22:48Z</SENSING_TIME>"
        f"<Geoposition resolution='10'><ULX>{LEFT}</ULX><ULY>{TOP}</ULY></Geoposition>"
        f"<Sun_Angles_Grid><Zenith>{grid_xml(sun)}</Zenith><Azimuth>{grid_xml(150)}</Azimuth></Sun_Angles_Grid>"
        f"<Mean_Sun_Angle><ZENITH_ANGLE>{sun}</ZENITH_ANGLE><AZIMUTH_ANGLE>150</AZIMUTH_ANGLE></Mean_Sun_Angle>"
        f"{''.join(map(view_xml, views))}</Level-1C_Tile_ID>"
    )


def product_metadata() -> str:
    offsets = "".join(f'<RADIO_ADD_OFFSET band_id="{i}">-1000</RADIO_ADD_OFFSET>' for i in range(13))
    return (
        f"<Level-1C_User_Product><PRODUCT_URI>{NAME}.SAFE</PRODUCT_URI>"
        f"<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE>{offsets}</Level-1C_User_Product>"
    )


def texture(pixels: int) -> np.ndarray:
    """What every band is multiplied with: the same ground at every resolution."""
    rng = np.random.default_rng(8)
    coarse = rng.uniform(0.9, 1.1, (SIDE // 120, SIDE // 120))
    return np.kron(coarse, np.ones((pixels // coarse.shape[0],) * 2))


def write_safe(folder: Path, *, sun: float = SUN, views: Sequence[int] = ()) -> Path:
    """A SAFE of dark forest under known air.

    Args:
        sun: zenith angle in degrees.
        views: numbers of the bands that have view grids.
    """
    root = folder / GRANULE
    (root / "IMG_DATA").mkdir(parents=True)
    (root / "MTD_TL.xml").write_text(tile_metadata(sun, views))
    safe = folder / f"{NAME}.SAFE"
    (safe / "MTD_MSIL1C.xml").write_text(product_metadata())
    for band, rho in FOREST.items():
        resolution = BANDS[band].resolution
        side = SIDE // resolution
        ground = rho * texture(side)
        toa = np.full_like(ground, 0.001)
        if band != "B10":
            air = {"aot": AOT, "water_vapour": WATER, "sun_zenith": sun, "view_zenith": 0.0}
            toa = toa_reflectance(ground, satellite="S2B", band=band, relative_azimuth=150.0, **air)
        numbers = np.rint(toa * 1e4 + 1000).astype(np.uint16)
        with rasterio.open(
            root / f"IMG_DATA/T32UPC_20220615T101559_{band}.jp2",
            "w",
            driver="JP2OpenJPEG",
            width=side,
            height=side,
            count=1,
            dtype="uint16",
            crs="EPSG:32632",
            transform=from_origin(LEFT, TOP, resolution, resolution),
            QUALITY="100",
            REVERSIBLE="YES",
        ) as dataset:
            dataset.write(numbers, 1)
    return safe


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_safe(tmp_path_factory.mktemp("safe"))


@pytest.fixture(scope="module")
def made(safe: Path) -> tuple[Store, Scene]:
    store = create_store(
        str(safe.parent / "store"), StoreConfig(pixel=10.0, mask_pixel=20.0, window=256, bands=DEFAULT_BANDS)
    )
    found = find_products(safe.parent)
    assert [p.id for p in found.products] == [NAME]
    return store, ingest(found.products[0], store, Recipe(mask="model"))


def ground(store: Store, scene: Scene, band: str) -> np.ndarray:
    with rasterio.open(Path(store.url) / scene.band_key(band)) as dataset:
        values = dataset.read(1)
    return np.where(values == NODATA, np.nan, values * SCALE)


def test_air_is_found_from_the_image(made: tuple[Store, Scene]) -> None:
    air = read_item(*made)["properties"]["terrazzo:air"]
    assert air["aot"]["mean"] == pytest.approx(AOT, abs=0.05 + 0.15 * AOT)
    assert "dark vegetation" in air["aot"]["origin"]
    assert air["water_vapour"]["mean"] == pytest.approx(WATER, abs=0.3)
    assert air["ozone"]["origin"] == "default"
    assert "sea level" in air["pressure"]["origin"]


def test_the_ground_comes_out(made: tuple[Store, Scene]) -> None:
    for band, rho in FOREST.items():
        if band in DEFAULT_BANDS:
            error = np.nanmean(ground(*made, band)) - rho
            assert abs(error) <= 0.005 + 0.05 * rho, f"{band}: {error:+.4f}"


def test_the_offset_comes_from_the_products_own_metadata_or_the_pixels_and_agrees(
    made: tuple[Store, Scene],
) -> None:
    offset = read_item(*made)["properties"]["terrazzo:offset"]
    assert offset["value"] == -1000
    assert offset["evidence"]["product metadata"] == -1000


def test_the_scene_can_be_taken_back_to_the_products_numbers(made: tuple[Store, Scene], safe: Path) -> None:
    store, scene = made
    correction = read_correction(store.read_bytes(scene.key(CORRECTION)), scene.key(CORRECTION))
    grid = store.band_grid(32632, "B02")
    with rasterio.open(Path(store.url) / scene.band_key("B02")) as dataset:
        values = dataset.read(1)
    with rasterio.open(Path(store.url) / scene.key("mask.tif")) as dataset:
        classes = dataset.read(1).repeat(2, 0).repeat(2, 1)
    detector = correction.detector.repeat(2, 0).repeat(2, 1)
    back = counts(values, classes, detector, correction, "B02", grid, PixelBox(*scene.box))
    with rasterio.open(next(safe.rglob("*_B02.jp2"))) as dataset:
        numbers = dataset.read(1).astype(int)
    there = values != NODATA
    assert np.abs(back[there].astype(int) - numbers.ravel()).max() <= 1
    assert (classes[there] == MaskClass.LAND).mean() > 0.9


def test_a_zip_gives_the_same_pixels(made: tuple[Store, Scene], safe: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / NAME), "zip", safe.parent, safe.name)
    found = find_products(tmp_path)
    assert [p.id for p in found.products] == [NAME]
    store = create_store(
        str(tmp_path / "store"), StoreConfig(pixel=10.0, mask_pixel=20.0, window=256, bands=DEFAULT_BANDS)
    )
    scene = ingest(found.products[0], store, Recipe(mask="model"))
    np.testing.assert_array_equal(ground(store, scene, "B03"), ground(*made, "B03"))


def test_a_damaged_zip_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.zip").write_bytes(b"PK\x03\x04 not whole")
    found = find_products(tmp_path)
    assert not found.products
    assert found.left_out[0].name == f"{NAME}.zip"


def test_inspect_reports_what_was_done_and_from_what_and_draws_it(
    made: tuple[Store, Scene], tmp_path: Path
) -> None:
    store, scene = made
    out = tmp_path / "scene.png"
    done = CliRunner().invoke(inspect, ["scene", scene.id[:20], "--store", store.url, "-o", str(out)])
    assert done.exit_code == 0, done.output
    for text in (scene.rev, "-1000 by product metadata", "dark vegetation in", "sea level", "6SV"):
        assert text in done.output
    with rasterio.open(out) as png:
        assert png.width > 1000
        assert np.unique(png.read(1)).size > 20


def test_inspect_lists_what_there_is_where_the_name_fits_nothing(made: tuple[Store, Scene]) -> None:
    with pytest.raises(NotFound, match=rf"no scene S2Z.*{NAME}"):
        find_scene(made[0], "S2Z")


@pytest.mark.parametrize(("views", "told"), [(range(13), None), ((1, 3, 7), "lack view angles.*B11")])
def test_a_low_sun_and_bands_without_view_grids_are_said_on_the_item(
    tmp_path: Path, views: Sequence[int], told: str | None
) -> None:
    safe = write_safe(tmp_path / "p", sun=76.0, views=views)
    store = create_store(str(tmp_path / "s"), StoreConfig(10.0, 20.0, 256, ("B02", "B11")))
    scene = ingest(find_products(safe.parent).products[0], store, Recipe(mask="model"))
    notes = read_item(store, scene)["properties"]["terrazzo:notes"]
    assert any(
        "the sun is up to 76° from the zenith: view angles were corrected as at 72°" in n for n in notes
    )
    assert any(re.search("lack view angles", n) for n in notes) is (told is not None)
    assert told is None or any(re.search(told, n) for n in notes)
    with np.load(store.root / scene.key(CORRECTION)) as arrays:
        for band in ("B02", "B11"):
            factor = arrays[f"{band}_factor"]
            assert ((factor > 0.6) & (factor < 1.6)).all()
            assert not np.allclose(factor, 1)
