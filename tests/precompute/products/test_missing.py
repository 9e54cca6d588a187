"""What is missing in a product is missing in the mosaic, and nothing else: in all bands, in one band, in resampling."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from terrazzo.bands import FOUR, NODATA, MaskClass
from terrazzo.errors import NothingUsable, ProductError
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.pyramid import read_pyramid
from terrazzo.mosaic.quality import SINGLE, quality
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.form import declared_offset
from terrazzo.precompute.products.offset import decide_offset
from terrazzo.precompute.scene.counts import codec_remains
from terrazzo.precompute.scene.make import ingest
from terrazzo.scene import read_item
from terrazzo.store import Store, StoreConfig, create_store
from tests.chain import native, precompute, stored
from tests.world.products import Pass
from tests.world.worlds import FIRST, Weather, World, make_world

NAME = "S2A_33TWL_20230803_0_L2A"
STRIP = 21
"""Columns of a clipped product that hold no data."""


def change(path: Path, of: Callable[[np.ndarray], np.ndarray], **profile: Any) -> None:
    """Rewrites an image with other values, of another data type too."""
    offset, scale = profile.pop("offset", None), profile.pop("scale", None)
    with rasterio.open(path) as dataset:
        values, about = of(dataset.read(1)), dataset.profile
    about = {k: about[k] for k in ("height", "width", "count", "crs", "transform", "nodata")}
    with rasterio.open(
        path, "w", driver="GTiff", **{**about, "dtype": values.dtype.name, **profile}
    ) as dataset:
        dataset.write(values, 1)
        if offset is not None:
            dataset.offsets, dataset.scales = [offset], [scale or 1e-4]


def clipped(values: np.ndarray) -> np.ndarray:
    out = values.copy()
    out[:, : STRIP * values.shape[1] // 96] = 1
    return out


def one_scene(folder: Path, root: Path, pixel: float = 10.0) -> tuple[Store, Any]:
    store = create_store(str(root), StoreConfig(pixel, 2 * pixel, 64, FOUR))
    (product,) = find_products(folder).products
    return store, ingest(product, store)


FORMS: dict[str, tuple[Pass, Callable[[np.ndarray], np.ndarray], dict[str, Any]]] = {
    "1000 added": (Pass(FIRST), clipped, {}),
    "1000 taken out again": (Pass(FIRST, added=0), clipped, {}),
    "no data declared as 65535": (Pass(FIRST), clipped, {"nodata": 65535}),
    "signed, 1000 taken out": (Pass(FIRST, added=0), lambda v: np.where(clipped(v) == 1, -999, v).astype("int16"), {"nodata": -32768}),
    "reflectance": (Pass(FIRST, added=0, claims="silent"), lambda v: np.where(clipped(v) == 1, -0.0999, v * 1e-4).astype("float32"), {"nodata": None}),
}  # fmt: skip


@pytest.mark.parametrize("pixel", [10.0, 20.0])
@pytest.mark.parametrize("form", FORMS)
def test_a_count_of_1_in_all_bands_is_no_data_in_any_form_and_takes_no_part_in_resampling(
    tmp_path, form, pixel
):
    about, of, profile = FORMS[form]
    world = make_world(tmp_path / "p", dates=1, size=(96, 96), about=about)
    for path in (tmp_path / "p" / NAME).glob("B0*.tif"):
        change(path, of, **profile)
    store, scene = one_scene(tmp_path / "p", tmp_path / "s", pixel)
    lost = int(np.ceil(STRIP * 10 / pixel)) if pixel == 10 else STRIP // 2
    (seen,) = world.seen.values()
    for band in FOUR:
        values = stored(store, scene, band)
        known = values != NODATA
        whole = int(96 * 10 / pixel)
        assert known.sum() == whole * (whole - lost)
        truth = seen.rho[FOUR.index(band)]
        assert values[known].min() * 1e-4 > min(truth.min(), 0) - 0.003
        assert values[known].max() * 1e-4 < truth.max() + 0.003
    assert (stored(store, scene, "mask") != 0).sum() > 0


@pytest.mark.parametrize(
    ("baseline", "bands", "missing"),
    [("05.09", FOUR[:1], False), ("02.08", FOUR, False), ("05.09", FOUR, True)],
)
def test_a_count_of_1_is_dark_ground_in_one_band_and_before_04_00(tmp_path, baseline, bands, missing):
    make_world(tmp_path / "p", dates=1, size=(96, 96), about=Pass(FIRST, added=0, baseline=baseline))
    for band in bands:
        change(tmp_path / "p" / NAME / f"{band}.tif", clipped)
    store, scene = one_scene(tmp_path / "p", tmp_path / "s")
    assert ((stored(store, scene, "B02") == 1).sum() == 96 * STRIP) is not missing
    assert ((stored(store, scene, "B02") != NODATA).sum() == 96 * 96) is not missing


FLECKS = [(3, 2), (40, 4), (41, 4), (77, 7)]
"""Corners of 2 × 2 px beyond the swath."""


@pytest.mark.parametrize("added", [0, 1000])
def test_what_a_lossy_codec_leaves_beyond_the_swath_is_no_data(tmp_path, added):
    """The sample's swath has such flecks: counts of 1 to 6 amid no data, which were shown as black ground."""

    def fringed(values: np.ndarray) -> np.ndarray:
        values[:, :STRIP] = 0
        for n, (row, col) in enumerate(FLECKS):
            values[row : row + 2, col : col + 2] = n + 2
        return values

    make_world(tmp_path / "p", dates=1, size=(96, 96), about=Pass(FIRST, added=added))
    for path in (tmp_path / "p" / NAME).glob("B0*.tif"):
        change(path, fringed)
    store, scene = one_scene(tmp_path / "p", tmp_path / "s")
    for name, missing in (("B02", NODATA), ("B08", NODATA)):
        known = stored(store, scene, name) != missing
        assert known.sum() == 96 * (96 - STRIP), name
    assert not stored(store, scene, "mask")[~known].any()


def test_dark_water_at_the_edge_of_the_swath_stays():
    """A correction may leave next to nothing of deep water; only where 1000 were added is that never ground."""
    highest = np.full((1200, 100), 255, np.uint8)
    highest[:, :10] = 0
    highest[500:540, 10:40] = 3
    highest[900, 80:82] = 3

    def remains(*, anywhere: bool) -> set[tuple[int, int]]:
        where = codec_remains(highest.astype(np.uint16), highest, anywhere=anywhere)
        return set(zip(where.rows.tolist(), where.cols.tolist(), strict=True))

    assert remains(anywhere=False) == set()
    assert len(remains(anywhere=True)) == 40 * 30 + 2
    highest[700, 5] = 3
    highest[300:303, 12:14] = 3
    fringe = {(r, c) for r in range(300, 303) for c in (12, 13)} | {(700, 5)}
    assert fringe <= remains(anywhere=False)


HOLE = slice(100, 140), slice(100, 140)


def with_hole(folder: Path, band: str, dates: int = 1, **about: Any) -> World:
    """A world whose first scene lacks a square of one band."""
    world = make_world(folder, dates=dates, size=(256, 256), about=Pass(FIRST, **about))

    def lake(values: np.ndarray) -> np.ndarray:
        values[HOLE] = 0
        return values

    change(folder / NAME / f"{band}.tif", lake)
    return world


@pytest.mark.slow
@pytest.mark.parametrize("method", ["feather", "median"])
@pytest.mark.parametrize(
    ("band", "about"),
    [("B08", {"added": 0, "baseline": "02.08", "claims": "silent"}), ("B02", {}), ("B04", {})],
)
def test_a_pixel_that_one_band_lacks_is_shown_in_the_others_at_every_zoom(tmp_path, band, about, method):
    with_hole(tmp_path / "p", band, **about)
    done, _ = precompute(tmp_path / "p", tmp_path / "s")
    (scene,) = done.scenes
    number, others = FOUR.index(band), [b for b in FOUR if b != band]
    classes = stored(Store(tmp_path / "s"), scene, "mask")
    hole = stored(Store(tmp_path / "s"), scene, band) == NODATA
    hole &= stored(Store(tmp_path / "s"), scene, others[0]) != NODATA
    assert hole.sum() == 1600
    assert (classes[hole] != MaskClass.NODATA).all()
    version = done.version
    image = native(version, scene.box, scene.epsg, method=method)
    three = native(version, scene.box, scene.epsg, method=method, bands=tuple(others))
    assert (image.values[number][hole] == NODATA).all()
    rest = [FOUR.index(b) for b in others]
    inner = np.zeros_like(hole)
    rows, cols = np.nonzero(hole)
    inner[rows.min() + 2 : rows.max() - 1, cols.min() + 2 : cols.max() - 1] = True
    assert (three.values[:, inner] != NODATA).all()
    np.testing.assert_array_equal(image.values[rest][:, hole], three.values[:, hole])
    assert (image.provenance[inner] == 0).all()
    assert (image.count[inner] == 1).all()
    # From the pyramid, a pixel of which is a hundred metres.
    engine = Engine(version, Blocks())
    selection = engine.select(PixelRequest(FOUR))
    level = read_pyramid(version.store, "mosaic", version.name)["all", scene.epsg].level
    box = scene.box.coarser(2**level)
    target = Target(f"EPSG:{scene.epsg}", version.store.grid(scene.epsg).bounds(scene.box), *box.shape)
    coarse = engine.render(selection, target)
    deep = (
        inner[:: 2**level, :: 2**level][: box.height, : box.width]
        & inner[2**level - 1 :: 2**level, 2**level - 1 :: 2**level]
    )
    assert deep.any()
    assert (coarse.values[rest][:, deep] != NODATA).all()
    assert (coarse.values[number][deep] == NODATA).all()
    counted = engine.render(selection, target, count_to=ALL)
    bits = quality(engine, selection, target, counted)
    assert (bits[deep] & SINGLE > 0).all()


@pytest.mark.slow
def test_a_second_scene_fills_what_one_band_of_the_first_lacks(tmp_path):
    with_hole(tmp_path / "p", "B02", dates=2)
    done, _ = precompute(tmp_path / "p", tmp_path / "s")
    image = native(done.version, done.scenes[0].box, done.scenes[0].epsg)
    known = (stored(Store(tmp_path / "s"), done.scenes[1], "B02") != NODATA) & (
        stored(Store(tmp_path / "s"), done.scenes[0], "B03") != NODATA
    )
    assert (image.values[:, known] != NODATA).all()


def test_what_the_files_say_of_the_offset_is_one_question_with_what_the_item_says(tmp_path):
    for number, (claims, said) in enumerate(
        [("told", -0.1), ("silent", -0.1), ("told", None), ("told", -1000.0), ("single", None)]
    ):
        folder = tmp_path / str(number)
        world = make_world(folder, dates=1, size=(96, 96), about=Pass(FIRST, claims=claims))
        if claims == "single":
            # −0.1 as a float32 has it
            item = folder / f"{NAME}.json"
            item.write_text(item.read_text().replace('"offset": -0.1', '"offset": -0.10000000149011612'))
            assert "0149" in item.read_text()
        for path in (folder / NAME).glob("B0*.tif"):
            change(path, lambda v: v, offset=said)
        store, scene = one_scene(folder, tmp_path / f"s{number}")
        (seen,) = world.seen.values()
        values = stored(store, scene, "B04", seen.land.place.box) * 1e-4
        assert np.abs(values - seen.rho[2])[seen.valid].max() <= 1.1e-4
        told = read_item(store, scene)["properties"]["terrazzo:offset"]
        assert told["value"] == -1000
        assert told["decided_by"] == ("files" if claims == "silent" else "Item")


def test_files_that_say_an_offset_against_their_pixels_are_overruled(tmp_path):
    world = make_world(tmp_path / "p", dates=1, size=(96, 96), about=Pass(FIRST, added=0))
    for path in (tmp_path / "p" / NAME).glob("B0*.tif"):
        change(path, lambda v: v, offset=-0.1)
    store, scene = one_scene(tmp_path / "p", tmp_path / "s")
    (seen,) = world.seen.values()
    values = stored(store, scene, "B04", seen.land.place.box) * 1e-4
    assert np.abs(values - seen.rho[2])[seen.valid].max() <= 1.1e-4
    notes = read_item(store, scene)["properties"]["terrazzo:notes"]
    assert any("contradictory" in n and "both" in n for n in notes)


@pytest.mark.parametrize("said", [(-0.1, None), (-0.05, -0.05), (0.1, 0.1)])
def test_offsets_of_files_that_no_product_carries_or_that_differ_are_refused(tmp_path, said):
    make_world(tmp_path, dates=1, size=(96, 96), bands=FOUR)
    paths = {b: str(tmp_path / NAME / f"{b}.tif") for b in ("B02", "B03")}
    for path, offset in zip(paths.values(), said, strict=True):
        change(Path(path), lambda v: v, offset=offset)
    with pytest.raises(ProductError, match=r"offset of .*products carry 0 or −0\.1"):
        declared_offset(paths)


def test_a_file_and_an_item_that_contradict_each_other_settle_nothing_where_pixels_do_not():
    bright = np.full((40, 40), 3000, np.uint16)
    claims = {"raster_offset": 0.0, "file_offset": -0.1}
    with pytest.raises(ProductError, match="says both"):
        decide_offset(bright, xml_offset=None, claims=claims, baseline="0509")


def test_a_product_without_a_valid_pixel_is_left_out_in_words(tmp_path):
    make_world(tmp_path / "p", dates=1, size=(96, 96))
    for path in (tmp_path / "p" / NAME).glob("B0*.tif"):
        change(path, np.zeros_like)
    with pytest.raises(NothingUsable, match=r"not one pixel with data.*leave it out"):
        precompute(tmp_path / "p", tmp_path / "s")


def test_a_band_without_a_valid_pixel_and_images_of_two_kinds_are_left_out_in_words(tmp_path):
    make_world(tmp_path / "p", dates=1, size=(96, 96))
    path = tmp_path / "p" / NAME / "B03.tif"
    change(path, lambda v: np.where(v == 0, -32768, v.astype(int) - 1000).astype("int16"), nodata=-32768)
    with pytest.raises(NothingUsable, match=r"1000 may have been taken out of some alone"):
        precompute(tmp_path / "p", tmp_path / "s")
    change(path, lambda v: np.zeros(v.shape, np.uint16), nodata=0)
    with pytest.raises(NothingUsable, match=r"not one pixel with data in B03; fetch it again"):
        precompute(tmp_path / "p", tmp_path / "s")


@pytest.mark.slow
def test_a_product_that_is_nearly_all_cloud_says_so(tmp_path):
    make_world(tmp_path / "p", seed=2, dates=2, size=(192, 192), weather=Weather(cloud=0.9))
    for scene in (tmp_path / "p").glob("*_L2A"):
        change(scene / "SCL.tif", lambda v: np.where(v > 0, 9, 0).astype(np.uint8))
        for path in scene.glob("B0*.tif"):
            change(path, lambda v: np.where(v > 0, 9000, 0).astype(np.uint16))
    done, _ = precompute(tmp_path / "p", tmp_path / "s")
    assert any("nearly all cloud: 0.0% of it is clear" in n for n in done.notes), done.notes
