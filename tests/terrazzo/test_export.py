"""An export holds the pixels that tiles show, whole or not at all, whatever the size."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rio_cogeo import cog_validate

from terrazzo.bands import NODATA
from terrazzo.bulk.windows import sheets, windows
from terrazzo.errors import InvalidRequest
from terrazzo.export.pieces import encode
from terrazzo.export.run import export
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.origin import ORIGINS, Rendering
from tests.terrazzo.exports import BOX, SMALL, expected, ordered, read, target_of, written


def test_an_export_is_a_cog_with_names_scale_statistics_attribution_version_and_lock(engine, tmp_path):
    found = written(engine, tmp_path / "a.tif")
    assert cog_validate(tmp_path / "a.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.descriptions == ("B04", "B08")
        assert (file.scales, file.offsets, file.nodata) == ((1e-4, 1e-4), (0.0, 0.0), -32768)
        assert file.dtypes[0] == "int16"
        assert file.crs.to_epsg() == 32633
        assert all(v % 60 == 0 for v in file.bounds)
        tags, values = file.tags(), file.read(2, masked=True).compressed().astype(float)
        told = file.tags(2)
    assert tags["TERRAZZO_VERSION"] == engine.version.name
    assert (
        tags["ATTRIBUTION"] == tags["TIFFTAG_COPYRIGHT"] == "Contains modified Copernicus Sentinel data 2023"
    )
    lock = (tmp_path / "a.lock.json").read_bytes()
    assert tags["TERRAZZO_LOCK"] == f"sha256:{hashlib.sha256(lock).hexdigest()}"
    assert {s["id"] for p in json.loads(lock)["periods"] for s in p["scenes"]} >= set(found.scenes)
    assert float(told["STATISTICS_MINIMUM"]) == values.min()
    assert float(told["STATISTICS_MEAN"]) == pytest.approx(values.mean(), rel=1e-6)
    assert float(told["STATISTICS_STDDEV"]) == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("crs", [None, "EPSG:3035", "EPSG:4326"])
def test_windows_of_any_size_have_the_values_of_the_whole(engine, crs):
    order = ordered(engine, crs=crs, bands="B02")
    target = target_of(engine, order)
    whole = expected(engine, order).values
    parts = np.full_like(whole, 1)
    for window, part in windows(target, 100):
        rows, cols = window.toslices()
        parts[:, rows, cols] = engine.render(engine.select(order.pixels), part).values
    assert (parts == whole).all()


def test_an_export_holds_the_engines_pixels(engine, tmp_path):
    asked = {"crs": "EPSG:3857", "resolution": 100, "method": "robust"}
    written(engine, tmp_path / "a.tif", **asked)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == expected(engine, ordered(engine, **asked)).values).all()


@pytest.mark.parametrize(
    ("encoding", "step"),
    [
        ({"dtype": "float32"}, 1e-7),
        ({"dtype": "uint16"}, 1e-9),
        ({"dtype": "uint8", "scale": 0.002}, 0.001),
        ({"dtype": "int16", "scale": 0.001, "nodata": -1, "compression": "zstd"}, 0.0005),
    ],
)
def test_scale_and_offset_give_the_reflectance_back(engine, tmp_path, encoding, step):
    written(engine, tmp_path / "a.tif", bbox=SMALL, **encoding)
    truth = expected(engine, ordered(engine, bbox=SMALL)).values
    with rasterio.open(tmp_path / "a.tif") as file:
        values = file.read(masked=True)
        back = values * np.array(file.scales)[:, None, None] + np.array(file.offsets)[:, None, None]
    assert (np.ma.getmaskarray(values) == (truth == NODATA)).all()
    shown = np.clip(truth * 1e-4, 0, 0.5 if encoding["dtype"] == "uint8" else 9)
    assert np.abs(back - shown).max() <= step * 1.01


def test_what_would_be_taken_for_nodata_is_moved_by_one_step(engine):
    order = ordered(engine, bbox=SMALL, dtype="uint8", scale=0.002)
    stored = encode(np.array([[[0, 10, 20, 9999, NODATA, -50]]], np.int16), order.encoding)
    assert stored.tolist() == [[[1, 1, 1, 255, 0, 1]]]
    order = ordered(engine, bbox=SMALL, dtype="float32", nodata=0)
    none, least, unchanged = encode(np.array([[[np.nan, 0.5, 0]]], np.float32), order.encoding)[0, 0]
    assert (none, least) == (0, 0.5)
    assert 0 < unchanged < 1e-30


def test_where_pixels_come_from_lies_beside_the_bands(engine, tmp_path):
    names = tuple(ORIGINS)
    found = written(engine, tmp_path / "a.tif", bbox=SMALL, extras=names, method="geomedian")
    assert (
        {p.name for p in found.files}
        == {"a.tif", "a.lock.json", *(f"a_{n}.tif" for n in names)}
        == set(os.listdir(tmp_path))
    )
    order = ordered(engine, bbox=SMALL, method="geomedian")
    image = engine.render(engine.select(order.pixels), target_of(engine, order), count_to=ALL)
    made = Rendering(engine, engine.select(order.pixels), target_of(engine, order), image)
    for name in names:
        assert cog_validate(tmp_path / f"a_{name}.tif", strict=True)[0]
        with rasterio.open(tmp_path / f"a_{name}.tif") as file:
            stored = ORIGINS[name].stored(made).values
            np.testing.assert_array_equal(file.read(), stored)
            # Standard errors are reflectance, which has no unit.
            unit = None if stored.dtype.kind == "f" else ORIGINS[name].unit
            assert file.units == (unit,) * len(stored)


def test_an_export_shows_no_pixel_below_the_score_that_was_asked_for(engine, tmp_path):
    lowest = []
    for number, asked in enumerate(({}, {"min_score": 98})):
        path = tmp_path / f"{number}.tif"
        written(engine, path, resolution=60, resampling="nearest", extras=("score",), **asked)
        score = read(path.with_name(f"{number}_score.tif"))[0]
        assert (score.mask == read(path).mask[0]).all()
        lowest.append(score.min())
    assert lowest[0] < 98 <= lowest[1]


@pytest.mark.parametrize(
    ("stage", "how", "tolerance"), [("merged", Resampling.average, 1), ("mask", Resampling.nearest, 0)]
)
def test_overviews_are_gdals_means_of_reflectance_and_picks_of_classes(
    engine, tmp_path, stage, how, tolerance
):
    box = [500_040, 5_036_040, 580_020, 5_121_000]
    written(engine, tmp_path / "a.tif", bbox=box, bbox_crs="EPSG:32633", bands=["B04"], stage=stage)
    assert cog_validate(tmp_path / "a.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.width % 2 == 1
        rasterio.shutil.copy(file, tmp_path / "gdal.tif", driver="GTiff", copy_src_overviews=False)
    with rasterio.open(tmp_path / "gdal.tif", "r+") as file:
        file.build_overviews([2], how)
    ours, theirs = (rasterio.open(tmp_path / f"{n}.tif", overview_level=0) for n in ("a", "gdal"))
    with ours, theirs:
        assert np.abs(ours.read(1).astype(int) - theirs.read(1)).max() <= tolerance


def test_a_divided_export_is_one_picture_by_its_vrt_and_described_by_its_item(engine, tmp_path):
    found = written(engine, tmp_path / "a.tif", split=512, extras="quality")
    truth = expected(engine, ordered(engine)).values
    with rasterio.open(tmp_path / "a.vrt") as whole:
        assert (whole.read() == truth).all()
        assert whole.descriptions == ("B04", "B08")
        assert whole.scales == (1e-4, 1e-4)
    for path in found.files:
        if path.suffix == ".tif":
            assert cog_validate(path, strict=True)[0]
            with rasterio.open(path) as file:
                assert max(file.shape) <= 512
    item = pystac.Item.from_file(str(tmp_path / "a.json"))
    # The core schema lies with pystac; extensions would be fetched.
    item.stac_extensions = []
    item.validate()
    assert {Path(a.href).name for a in item.assets.values()} == {p.name for p in found.files} - {"a.json"}
    assert all((tmp_path / a.href).exists() for a in item.assets.values())


def test_neighbouring_exports_share_their_squares(engine):
    for box in (BOX, (15.8, 45.7, 16.05, 45.9)):
        target = target_of(engine, ordered(engine, bbox=box))
        side = 64 * target.resolution[0]
        for sheet in sheets(target, 64):
            b = sheet.target.bounds
            inner = (set(b) - set(target.bounds)) or {0.0}
            assert {v % side for v in inner} == {0.0}
            assert max(sheet.target.shape) <= 64


def test_classes_keep_their_numbers_in_overviews(engine, tmp_path):
    written(engine, tmp_path / "a.tif", bbox=tuple(engine.version.bounds), stage="mask")
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {-32768, *range(1, 9)}


INDEX = "(B08-B04)/(B08+B04)"
LATER, EARLIER = "2023-08-18", "2023-08-13"


def test_a_change_is_the_difference_of_two_exports(engine, tmp_path):
    whole = {"bands": None, "expression": INDEX, "extras": "quality,date", "fill": "none"}
    written(engine, tmp_path / "later.tif", **whole, datetime=LATER)
    written(engine, tmp_path / "earlier.tif", **whole, datetime=EARLIER)
    found = written(
        engine, tmp_path / "change.tif", **{**whole, "fill": None}, datetime=LATER, baseline=EARLIER
    )
    later, earlier, change = (read(tmp_path / f"{n}.tif")[0] for n in ("later", "earlier", "change"))
    assert change.dtype == np.float32
    assert (change.mask == (later.mask | earlier.mask)).all()
    assert 0 < change.count() < change.size
    np.testing.assert_allclose(change.compressed(), (later - earlier).compressed(), atol=1e-6)
    assert (read(tmp_path / "change_date.tif")[0].mask == change.mask).all()
    with rasterio.open(tmp_path / "change.tif") as file:
        assert file.descriptions == (INDEX,)
        assert f"baseline={EARLIER}" in file.tags()["TERRAZZO_REQUEST"]
    lock = json.loads((tmp_path / "change.lock.json").read_text())
    scenes = {s["id"] for p in lock["periods"] for s in p["scenes"]}
    days = {s.split("_")[2] for s in found.scenes}
    assert days == {"20230813", "20230818"}
    assert scenes >= set(found.scenes)


def test_a_change_of_bands_keeps_its_sign_whatever_the_dtype(engine, tmp_path):
    dates = {"bands": ["B04"], "datetime": LATER, "baseline": EARLIER}
    written(engine, tmp_path / "counts.tif", **dates)
    written(engine, tmp_path / "bytes.tif", **dates, dtype="uint8", scale=0.004, offset=-0.5)
    counts, packed = read(tmp_path / "counts.tif")[0], read(tmp_path / "bytes.tif")[0]
    assert counts.min() < 0 < counts.max()
    assert np.abs(counts * 1e-4 - (packed * 0.004 - 0.5)).max() < 0.0021
    with pytest.raises(InvalidRequest, match="a change has a sign"):
        ordered(engine, **dates, dtype="uint16")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"expression": INDEX}, "expression and bands contradict"),
        ({"expression": INDEX, "bands": None, "stage": "raw"}, "expression and stage=raw contradict"),
        ({"expression": "sum(B04)", "bands": None}, "function sum"),
        ({"baseline": EARLIER, "stage": "mask"}, "contradict"),
        ({"expression": "B04;;B99/2", "bands": None}, None),
    ],
)
def test_what_cannot_be_measured_is_refused(engine, asked, told):
    with pytest.raises(InvalidRequest, match=told):
        engine.select(ordered(engine, **asked).pixels)


def test_the_nodata_of_a_file_is_that_of_its_pixels_to_the_last_digit(engine, tmp_path):
    ring = [[15.95, 45.8], [15.98, 45.8], [15.98, 45.82], [15.95, 45.8]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    for number, nodata in enumerate((-3.4028234663852886e38, -1234567.25)):
        order = ordered(engine, geometry=geometry, bands=["B04"], dtype="float32", nodata=nodata)
        *_, done = export(engine, order, tmp_path / f"{number}.tif")
        with rasterio.open(done.path) as file:
            values = file.read(1)
            assert file.nodata == nodata
            assert (file.read_masks(1) == 0).sum() == (values < -1).sum() > 0
