"""An export holds the pixels that tiles show, whole or not at all, whatever the size."""

import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import pyogrio
import pystac
import pytest
import rasterio
import rasterio.shutil
import shapely
from click.testing import CliRunner
from pmtiles.reader import MmapSource, Reader
from pmtiles.tile import TileType
from rasterio.enums import Resampling
from rasterio.transform import rowcol
from rio_cogeo import cog_validate

from terrazzo.bands import NODATA
from terrazzo.bulk.area import area_of_box, area_of_geometry
from terrazzo.bulk.outlines import geojson_of_file
from terrazzo.bulk.windows import export_target, sheet_count, sheets, window_side, windows
from terrazzo.cli import cli
from terrazzo.errors import InvalidRequest, OutsideCoverage, StoreError
from terrazzo.export import tiles
from terrazzo.export.estimate import estimate
from terrazzo.export.order import parse_order
from terrazzo.export.pieces import encode, stored_values
from terrazzo.export.run import Exported, export
from terrazzo.grid import Bounds
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.origin import ORIGINS, Rendering
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.request.parameters import EXPORT
from terrazzo.store import Store
from terrazzo.version import open_version

BOX = (15.9, 45.75, 16.1, 45.95)
SMALL = (15.95, 45.8, 15.98, 45.82)


@pytest.fixture(scope="module")
def engine(sample_store):
    return Engine(open_version(Store(sample_store), "mosaic"), Blocks())


def ordered(engine, **asked):
    if "geometry" not in asked:
        asked = {"bbox": BOX, **asked}
    return parse_order({"bands": ["B04", "B08"], "extras": "none", **asked}, engine.version)


def target_of(engine, order):
    return export_target(engine.version, order.area, order.crs, order.resolution)


def written(engine, path, **asked):
    order = ordered(engine, **asked)
    steps = list(export(engine, order, path, workers=2))
    assert steps[:-1] == sorted(steps[:-1])
    assert isinstance(steps[-1], Exported)
    return steps[-1]


def read(path):
    with rasterio.open(path) as file:
        return file.read(masked=True)


def expected(engine, order):
    return engine.render(engine.select(order.pixels), target_of(engine, order))


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


OUTLINE = [[15.93, 45.80], [15.97, 45.80], [15.97, 45.83], [15.945, 45.83], [15.93, 45.82], [15.93, 45.80]]
HOLE = [[15.94, 45.81], [15.94, 45.82], [15.96, 45.82], [15.96, 45.81], [15.94, 45.81]]


def test_a_polygon_keeps_what_it_touches_and_leaves_its_hole_out(engine, tmp_path):
    polygon = {"type": "Polygon", "coordinates": [OUTLINE, HOLE]}
    written(engine, tmp_path / "a.tif", geometry=polygon)
    with rasterio.open(tmp_path / "a.tif") as file:
        held = file.read(1) != file.nodata
        to_file = transformer("EPSG:4326", file.crs.to_string())

        def has(lon, lat):
            return bool(held[rowcol(file.transform, *to_file.transform(lon, lat))])

        assert has(15.935, 45.815)
        assert has(15.95, 45.8015)
        assert not has(15.95, 45.815)
        assert not has(15.932, 45.828)


def test_a_place_is_one_pixel_and_it_is_the_points(engine, tmp_path):
    lon, lat = 15.9501, 45.8101
    written(
        engine,
        tmp_path / "a.tif",
        geometry={"type": "Point", "coordinates": [lon, lat]},
        resampling="nearest",
    )
    order = ordered(engine, resampling="nearest")
    point = engine.points(engine.select(order.pixels), "EPSG:4326", np.array([lon]), np.array([lat]))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.shape == (1, 1)
        assert (file.read()[:, 0, 0] == point.values[:, 0, 0]).all()


def test_boxes_and_polygons_across_the_antimeridian_are_narrow():
    assert area_of_box(Bounds(179.5, -17, -179.5, -16)).bounds == (179.5, -17, 180.5, -16)
    east = [[179.5, -17], [180, -17], [180, -16], [179.5, -16], [179.5, -17]]
    west = [[-180, -17], [-179.5, -17], [-179.5, -16], [-180, -16], [-180, -17]]
    both = area_of_geometry({"type": "MultiPolygon", "coordinates": [[west], [east]]})
    assert both.bounds == (179.5, -17, 180.5, -16)


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [999, 1], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[["a", 0], [9, 1], [1, 1], [0, 0]]]},
        "{broken",
        None,
        7,
    ],
)
def test_what_is_no_area_is_refused(geometry):
    with pytest.raises(InvalidRequest, match="geometry"):
        area_of_geometry(geometry)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"dtype": "int8"}, "uint16"),
        ({"dtype": "uint8"}, "scale"),
        ({"scale": 0}, "above 0"),
        ({"nodata": 1e9}, "int16"),
        ({"stage": "raw", "scale": 2}, "whole numbers"),
        ({"split": 3}, "512"),
        ({"extras": "weather"}, "quality"),
        ({"extras": "spread", "stage": "mask"}, "spread"),
        ({"compression": "jpeg"}, "deflate"),
        ({"colour": 1}, ", ".join(EXPORT)),
        ({"geometry": {"type": "Point", "coordinates": [16, 45]}, "bbox": BOX}, "either"),
        ({"bbox": "1,2,3"}, "four finite numbers"),
        ({"orbit": 900}, "143"),
    ],
)
def test_a_wrong_order_is_answered_with_what_is_right(engine, asked, told):
    with pytest.raises(InvalidRequest, match=told):
        parse_order({"bbox": BOX, **asked} if "geometry" not in asked else asked, engine.version)


def test_classes_keep_their_numbers_in_overviews(engine, tmp_path):
    written(engine, tmp_path / "a.tif", bbox=tuple(engine.version.bounds), stage="mask")
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {-32768, *range(1, 9)}


def test_a_box_without_data_is_reported_and_leaves_no_file(engine, tmp_path):
    with pytest.raises(OutsideCoverage, match="covers"):
        written(engine, tmp_path / "a.tif", bbox=(14.0, 45.0, 14.1, 45.1))
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_was_stopped_goes_on_from_its_finished_windows(engine, tmp_path, monkeypatch):
    order = ordered(engine, bbox=tuple(engine.version.bounds))
    steps = export(engine, order, tmp_path / "a.tif")
    next(steps)
    next(steps)
    with pytest.raises(StoreError, match="at work"):
        next(export(engine, order, tmp_path / "a.tif"))
    steps.close()
    assert not (tmp_path / "a.tif").exists()
    drawn = []
    render = Engine.render
    monkeypatch.setattr(Engine, "render", lambda self, s, t, **k: drawn.append(t) or render(self, s, t, **k))
    list(export(engine, order, tmp_path / "a.tif"))
    monkeypatch.undo()
    everything = sum(1 for _ in windows(target_of(engine, order)))
    assert everything - 4 <= len(drawn) <= everything - 2
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == expected(engine, order).values).all()
    assert sorted(os.listdir(tmp_path)) == ["a.lock.json", "a.tif"]


def test_an_export_that_was_stopped_goes_on_with_another_number_of_workers(engine, tmp_path):
    order = ordered(engine, bbox=tuple(engine.version.bounds), method="median")
    chosen = engine.select(order.pixels)
    assert window_side(chosen, 1) > window_side(chosen, 16)
    steps = export(engine, order, tmp_path / "a.tif", workers=1)
    next(steps)
    steps.close()
    list(export(engine, order, tmp_path / "a.tif", workers=16))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == expected(engine, order).values).all()
    assert sorted(os.listdir(tmp_path)) == ["a.lock.json", "a.tif"]


def parts(folder):
    """Finished windows of an export that is being made; none once it is written and its folder goes."""
    with suppress(FileNotFoundError):
        return list(folder.glob(".a-*.parts/0_0-*/*.done"))
    return []


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(engine, sample_store, tmp_path):
    box = map(str, engine.version.bounds)
    command = [Path(sys.executable).parent / "terrazzo", "export", "--store", sample_store, "--bbox", *box]
    command += ["--bands", "B04,B08", "--extras", "none", "-o", tmp_path / "a.tif"]
    finished, killed = 0, 0
    for _ in range(3):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while len(found := parts(tmp_path)) <= finished and running.poll() is None:
            pass
        finished, killed = len(found), killed + (running.poll() is None)
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert killed
    subprocess.run(command, check=True, capture_output=True)
    order = ordered(engine, bbox=tuple(engine.version.bounds))
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == expected(engine, order).values).all()
    assert cog_validate(tmp_path / "a.tif", strict=True)[0]
    assert sorted(os.listdir(tmp_path)) == ["a.lock.json", "a.tif"]


@pytest.mark.parametrize("compression", ["deflate", "none"])
def test_an_estimate_reports_pixels_scenes_and_about_the_size(engine, tmp_path, compression):
    asked = {"extras": ("quality",), "compression": compression, "resolution": 20}
    order = ordered(engine, **asked)
    told = estimate(engine, order)
    found = written(engine, tmp_path / "a.tif", **asked)
    target = target_of(engine, order)
    assert (told.height, told.width, told.bands, told.files) == (*target.shape, 2, 2)
    assert set(found.scenes) <= set(told.scenes)
    size = sum(p.stat().st_size for p in found.files)
    least, most = (0.99, 1.01) if compression == "none" else (0.5, 2)
    assert least * size < told.bytes < most * size


def test_a_disk_that_is_too_small_is_reported_before_anything_is_drawn(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: os.terminal_size((0, 0)) and type("U", (), {"free": 1000})()
    )
    with pytest.raises(OSError, match="disk full"):
        written(engine, tmp_path / "a.tif")
    assert not list(tmp_path.glob(".a-*.parts/0_0*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bbox", "16", "45.7", "15", "45.9"], "W below E"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--crs", "EPSG:1"], "coordinate system"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--bands", "B99"], "B02, B03, B04, B08"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--method", "magic"], "feather"),
        (["--bbox", "15.9", "45.7", "16", "45.9", "--mosaic", "none"], "terrazzo precompute"),
    ],
)
def test_a_wrong_option_is_answered_with_what_to_do(sample_store, tmp_path, arguments, told):
    result = CliRunner().invoke(
        cli, ["export", "--store", str(sample_store), "-o", str(tmp_path / "a.tif"), *arguments]
    )
    assert result.exit_code == 1
    assert told in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_file_and_says_so(sample_store, tmp_path):
    arguments = [
        "export",
        "--store",
        str(sample_store),
        "--bbox",
        *map(str, BOX),
        "-o",
        str(tmp_path / "a.tif"),
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "hold data" in result.output
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "a_quality.tif", "a_date.tif", "a.lock.json"}


def test_the_command_reports_the_cost_and_writes_nothing(sample_store, tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [OUTLINE]}))
    arguments = [
        "export",
        "--store",
        str(sample_store),
        "--geometry",
        str(tmp_path / "a.geojson"),
        "--dry-run",
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    for word in (" px, ", " MB", " scenes", " s with "):
        assert word in result.output
    assert os.listdir(tmp_path) == ["a.geojson"]


@pytest.mark.parametrize(
    ("name", "driver", "option"), [("a.gpkg", "GPKG", "--geometry"), ("a.shp", "ESRI Shapefile", "--geom")]
)
def test_an_area_may_be_any_file_that_ogr_reads(sample_store, engine, tmp_path, name, driver, option):
    shape = shapely.Polygon(OUTLINE)
    to_file = transformer("EPSG:4326", "EPSG:3035")
    turned = shapely.transform(shape, lambda xy: np.stack(to_file.transform(xy[:, 0], xy[:, 1]), -1))
    pyogrio.raw.write(
        tmp_path / name,
        geometry=np.array([shapely.to_wkb(turned)]),
        field_data=[np.array(["a"])],
        fields=["name"],
        geometry_type="Polygon",
        crs="EPSG:3035",
        driver=driver,
    )
    dry = ["export", "--store", str(sample_store), option, str(tmp_path / name), "--dry-run"]
    result = CliRunner().invoke(cli, dry)
    assert result.exit_code == 0, result.output
    area = area_of_geometry(json.loads(geojson_of_file(tmp_path / name)))
    assert np.allclose(area.bounds, shape.bounds, atol=2e-3)


@pytest.mark.parametrize("command", ["export", "series", "statistics", "get", "acquire", "watch"])
def test_every_command_calls_the_file_of_an_area_alike(command):
    options = {name for p in cli.get_command(click.Context(cli), command).params for name in p.opts}
    assert {"--geom", "--geometry"} <= options


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


@pytest.mark.parametrize("kind", ["gpkg", "mbtiles"])
def test_a_picture_for_tablets_opens_with_the_pixels_that_tiles_show(engine, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    order = parse_order({"bbox": BOX, "format": kind}, engine.version)
    assert isinstance(list(export(engine, order, path, workers=2))[-1], Exported)
    assert order.picture.zoom == 11
    expected = stored_values(expected_values(engine, order), order)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 3857
        assert file.count == 4
        assert file.overviews(1)[0] == 2
        target = target_of(engine, order)
        window = rasterio.windows.from_bounds(*target.bounds, file.transform).round_offsets().round_lengths()
        found = file.read(window=window, boundless=True, fill_value=0)
        if kind == "mbtiles":
            assert "Copernicus" in file.tags()["attribution"]
            assert file.tags()["terrazzo_version"] == engine.version.name
        else:
            assert "Copernicus" in file.tags()["ATTRIBUTION"]
    seen = expected[3] == 255
    assert seen.any()
    assert (found[3] == expected[3]).all()
    assert (found[:, seen] == expected[:, seen]).all()
    assert not list(tmp_path.glob(".*"))


def expected_values(engine, order):
    return engine.render(engine.select(order.pixels), target_of(engine, order)).values


def test_pmtiles_hold_the_tiles_of_mbtiles(engine, tmp_path):
    asked = {"bbox": BOX, "bands": ["B08"], "rescale": "0,0.5"}
    for kind in ("mbtiles", "pmtiles"):
        order = parse_order({**asked, "format": kind}, engine.version)
        list(export(engine, order, tmp_path / f"a.{kind}"))
    with sqlite3.connect(tmp_path / "a.mbtiles") as file:
        tiles = file.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles").fetchall()
    assert {z for z, *_ in tiles} == {10, 11}
    with (tmp_path / "a.pmtiles").open("rb") as file:
        reader = Reader(MmapSource(file))
        assert (reader.header()["max_zoom"], reader.header()["tile_type"]) == (11, TileType.PNG)
        assert "Copernicus" in reader.metadata()["attribution"]
        for z, x, row, data in tiles:
            assert reader.get(z, x, 2**z - 1 - row) == data
            with rasterio.open(io.BytesIO(data)) as picture:
                assert picture.shape == (256, 256)


def test_pictures_of_one_name_do_not_meet_while_they_are_written(engine, tmp_path, monkeypatch):
    asked = {"bbox": SMALL, "bands": ["B08"], "rescale": "0,0.5"}
    first, second = (
        parse_order({**asked, "format": kind}, engine.version) for kind in ("pmtiles", "mbtiles")
    )
    copy = tiles.copy_raster

    def interrupted(*arguments, **options):
        monkeypatch.undo()
        copy(*arguments, **options)
        list(export(engine, second, tmp_path / "a.mbtiles"))

    monkeypatch.setattr(tiles, "copy_raster", interrupted)
    list(export(engine, first, tmp_path / "a.pmtiles"))
    assert sorted(os.listdir(tmp_path)) == [
        *("a.mbtiles", "a.mbtiles.lock.json", "a.pmtiles", "a.pmtiles.lock.json")
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"format": "jpeg"}, "tif, gpkg, mbtiles, pmtiles"),
        ({"format": "gpkg", "dtype": "int16"}, "format=gpkg and dtype contradict"),
        ({"zoom": 9}, "format=tif and zoom contradict"),
        ({"format": "gpkg", "style": "ndvi"}, "natural"),
        ({"format": "gpkg", "bands": ["B02", "B03"]}, "one or three bands"),
        ({"format": "gpkg", "rescale": "3,1"}, "min below max"),
        ({"format": "mbtiles", "stage": "mask"}, "reflectance"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(engine, asked, told):
    with pytest.raises(InvalidRequest, match=told):
        parse_order({"bbox": BOX, **asked}, engine.version)


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


def test_files_of_a_division_are_counted_without_being_made():
    target = Target("EPSG:32633", Bounds(-5_003_210, 1_000, 2_777_770, 900_010), 89_901, 778_098)
    for side in (None, 512, 5000, 65536):
        assert sheet_count(target, side) == len(sheets(target, side))
    fine = Target("EPSG:4326", Bounds(-180, -90, 180, 90), 1_800_000_000, 3_600_000_000)
    assert sheet_count(fine, 512) > 2e13
