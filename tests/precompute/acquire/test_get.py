"""An area and dates become a GeoTIFF in one go, and a second call reuses what is there."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import obstore
import pytest
import rasterio
import shapely
import xarray
from click.testing import CliRunner
from pyproj import Transformer

from terrazzo.bands import NODATA
from terrazzo.cli import cli
from terrazzo.precompute import sample
from terrazzo.precompute.products.globe import cut
from terrazzo.store import StoreConfig, create_store
from tests.chain import FOUR
from tests.waiting import held_by_another
from tests.world import archive as world
from tests.world.archive import Archive
from tests.world.faults import proxy
from tests.world.worlds import make_world

pytestmark = pytest.mark.clients
Terrazzo = Callable[..., CompletedProcess[str]]
CORNERS = [(15.95, 45.75), (16.05, 45.76), (16.03, 45.85)]
DAY = ("--datetime", "2023-08-13")
BEYOND = (15.3075, 46.0466, 15.4269, 46.0871)


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A field in Croatia's own coordinate system."""
    to_file = Transformer.from_crs(4326, 3765, always_xy=True)
    ring = [to_file.transform(*corner) for corner in (*CORNERS, CORNERS[0])]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3765"}}
    path = tmp_path / "field.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    return path


def of_field(store: Path, archive: Archive, field: Path) -> tuple[object, ...]:
    """The command that fetches the field for a store, without what it becomes."""
    return (
        "get",
        "--store",
        store,
        "--archive",
        archive.stac,
        "--geom",
        field,
        *DAY,
        "--yes",
        "--workers",
        1,
    )


@pytest.mark.slow
def test_a_field_becomes_a_file_and_other_bands_come_from_the_store(
    archive: Archive, terrazzo: Terrazzo, field: Path, tmp_path: Path
) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    config = StoreConfig(120.0, 120.0, 64, FOUR)
    create_store(store, config)
    create_store(other, config)
    command = of_field(store, archive, field)
    first = terrazzo(*command, "--bands", "B04,B03", "-o", tmp_path / "red.tif")
    assert first.returncode == 0, first.stderr
    assert "1 product, 0.6 MB" in first.stderr
    with proxy(archive.s3) as s3:
        second = terrazzo(*command, "--bands", "B08", "-o", tmp_path / "nir.tif", s3=s3.address)
        assert second.returncode == 0, second.stderr
        assert not s3.seen
    item = sample.path() / "S2B_33TWL_20230813_0_L2A.json"
    with rasterio.open(tmp_path / "red.tif") as red, rasterio.open(tmp_path / "nir.tif") as nir:
        assert red.descriptions == ("B04", "B03")
        assert nir.descriptions == ("B08",)
        west, south, east, north = rasterio.warp.transform_bounds(red.crs, "EPSG:4326", *red.bounds)
        assert west <= 15.95
        assert south <= 45.75
        assert east >= 16.05
        assert north >= 45.85
        values, bounds = np.concatenate([red.read(), nir.read()]), red.bounds
    made = terrazzo("precompute", item, "--store", other, "--workers", 1)
    assert made.returncode == 0, made.stderr
    box = ("--bbox", *bounds, "--bbox-crs", "EPSG:32633", "--bands", "B04,B03,B08")
    terrazzo("export", "--store", other, *box, "-o", tmp_path / "same.tif")
    with rasterio.open(tmp_path / "same.tif") as same:
        assert np.array_equal(values, same.read())


@pytest.mark.slow
def test_a_scene_that_reaches_beyond_its_part_is_not_fetched_again(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    # The products' pixels of 120 m overlap the part that was asked for, so that scenes lie in more windows than it does.
    create_store(tmp_path / "store", StoreConfig(60.0, 60.0, 16, FOUR))
    command = ("get", "--store", tmp_path / "store", "--archive", archive.stac, "--bbox", *BEYOND, "--yes")
    command = (*command, *DAY, "--until-clear", 0, "--workers", 1)
    first = terrazzo(*command, "-o", tmp_path / "first.tif")
    assert first.returncode == 0, first.stderr
    with proxy(archive.s3) as s3:
        second = terrazzo(*command, "-o", tmp_path / "second.tif", s3=s3.address)
        assert second.returncode == 0, second.stderr
        assert not s3.seen
    with rasterio.open(tmp_path / "first.tif") as one, rasterio.open(tmp_path / "second.tif") as two:
        assert np.array_equal(one.read(), two.read())


def test_nothing_is_fetched_when_the_answer_is_no(
    archive: Archive, terrazzo: Terrazzo, field: Path, tmp_path: Path
) -> None:
    create_store(tmp_path / "store", StoreConfig(120.0, 120.0, 64, sample.BANDS))
    command = ("get", "--store", tmp_path / "store", "--archive", archive.stac, "--geom", field, *DAY)
    with proxy(archive.s3) as s3:
        asked = terrazzo(*command, "-o", tmp_path / "x.tif", s3=s3.address)
        assert not [seen for seen in s3.seen if seen.method == "GET"]
    assert asked.returncode == 1
    assert "Go on?" in asked.stderr
    assert not (tmp_path / "store-products").exists()


def test_a_band_that_a_store_cannot_have_is_refused_before_anything_is_asked(
    archive: Archive, terrazzo: Terrazzo, field: Path, tmp_path: Path
) -> None:
    create_store(tmp_path / "store", StoreConfig(120.0, 120.0, 64, sample.BANDS))
    command = ("get", "--store", tmp_path / "store", "--archive", archive.stac, "--geom", field, *DAY)
    told = terrazzo(*command, "--bands", "B11", "-o", tmp_path / "x.tif")
    assert told.returncode == 1
    assert "name another store" in told.stderr


@pytest.mark.slow
def test_an_export_outside_the_coverage_answers_with_the_command_that_fills_it(
    terrazzo: Terrazzo, sample_store: Path, tmp_path: Path
) -> None:
    told = terrazzo("export", "--store", sample_store, "--bbox", 20, 50, 20.1, 50.1, "-o", tmp_path / "x.tif")
    assert told.returncode == 1
    assert f"terrazzo get --store {sample_store}" in told.stderr
    assert "--bbox 20.00000 50.00000 20.10000 50.10000" in told.stderr


@pytest.fixture
def over_180(archive: Archive, tmp_path: Path) -> Iterator[str]:
    """A STAC API whose one product lies on both sides of the 180° line."""
    where = ("60KYF", 32760, 8_142_000.0, 818_600.0)
    made = make_world(tmp_path / "world", where=where, dates=1, size=(96, 240)).folder
    (path,) = made.glob("*.json")
    item = json.loads(path.read_text())
    for asset in item["assets"].values():
        key = f"over/{asset['href'].removeprefix('./')}"
        obstore.put(world.bucket(archive.s3), key, (made / asset["href"]).read_bytes())
        asset["href"] = f"s3://{world.BUCKET}/{key}"
    item["geometry"] = json.loads(shapely.to_geojson(cut(shapely.geometry.shape(item["geometry"]))))
    with world.stac_server(tmp_path, [item]) as stac:
        yield stac


@pytest.mark.slow
def test_a_box_across_the_180_degree_line_is_planned_fetched_and_exported(
    over_180: str, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    box = (179.995, -16.789, -179.995, -16.785)
    config = tmp_path / "line.toml"
    config.write_text(f"bounds = [{', '.join(map(str, box))}]\n")
    bands = ("--bands", ",".join(FOUR))
    plan = terrazzo("plan", config, "--archive", over_180, "--datetime", "2023-08", "--json", *bands)
    assert plan.returncode == 0, plan.stderr
    assert json.loads(plan.stdout)["scenes"] == {"all": 1}
    create_store(tmp_path / "store", StoreConfig(10.0, 20.0, 64, FOUR))
    asked = ("--archive", over_180, "--store", tmp_path / "store", "--datetime", "2023-08", "--bbox", *box)
    dry = terrazzo("acquire", *asked, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert len(dry.stdout.splitlines()) == 1
    got = terrazzo("get", *asked, "--yes", "--workers", 1, "--crs", "EPSG:32760", "-o", tmp_path / "line.tif")
    assert got.returncode == 0, got.stderr
    with rasterio.open(tmp_path / "line.tif") as file:
        to_zone = Transformer.from_crs(4326, 32760, always_xy=True)
        places = [to_zone.transform(lon, -16.787) for lon in (179.997, -179.997)]
        assert all((values != NODATA).all() for values in file.sample(places))
        assert file.width * 10 < 2000


@pytest.mark.parametrize(
    ("output", "more", "reason"),
    [
        ("a.jp2", (), "a.jp2"),
        ("", (), "is a folder"),
        ("none/a.tif", (), "does not exist"),
        ("there.tif", (), "--overwrite"),
        ("there.zarr", (), "is no Zarr"),
        ("a.gpkg", (), "one or three bands"),
        ("a.gpkg", ("--bands", "B04", "--crs", "EPSG:3035"), "crs"),
        ("a.tif", ("--crs", "EPSG:1"), "crs"),
        ("a.tif", ("--resolution", "0"), "above 0"),
        ("a.zarr", ("--resolution", "-10"), "above 0"),
        ("a.lock.json", (), "exports are written as"),
        ("held.tif", (), "held.lock.json exists"),
        ("held.gpkg", ("--bands", "B04"), "held.gpkg.lock.json exists"),
        ("held.zarr", (), "held.zarr.lock.json exists"),
        ("a.tif", ("--live", "--mosaic", "other"), "--live shows the mosaic"),
        ("layers.tif", (), "layers_quality.tif exists"),
        ("a.tif", ("--method", "best"), "method"),
    ],
)
def test_what_the_export_would_refuse_is_refused_before_anything_is_asked(
    tmp_path: Path, output: str, more: tuple[str, ...], reason: str
) -> None:
    beside = ("held.lock.json", "held.gpkg.lock.json", "held.zarr.lock.json", "layers_quality.tif")
    for name in ("there.tif", "there.zarr", *beside):
        (tmp_path / name).write_text("mine")
    nobody = ("--archive", "http://127.0.0.1:9", "--store", str(tmp_path / "s"), "--yes")
    box = ("--bbox", "15.95", "45.75", "16.05", "45.85")
    done = CliRunner().invoke(cli, ["get", *nobody, *box, *DAY, *more, "-o", str(tmp_path / output)])
    assert done.exit_code != 0
    assert reason in done.output
    assert "127.0.0.1" not in done.output


@pytest.mark.parametrize("output", ["a.zarr", "a.tif"])
def test_a_second_run_for_a_file_is_refused_before_anything_is_asked(tmp_path: Path, output: str) -> None:
    nobody = ("--archive", "http://127.0.0.1:9", "--store", str(tmp_path / "s"), "--yes")
    box = ("--bbox", "15.95", "45.75", "16.05", "45.85")
    command = ["get", *nobody, *box, *DAY, "-o", str(tmp_path / output)]
    with held_by_another(tmp_path / output):
        done = CliRunner().invoke(cli, command)
    assert done.exit_code != 0
    assert "wait until it ends, or name another output" in done.output
    assert "127.0.0.1" not in done.output
    # Whoever ended holds nothing.
    assert "127.0.0.1" in CliRunner().invoke(cli, command).output


@pytest.mark.slow
def test_a_field_becomes_a_zarr_that_xarray_reads(
    archive: Archive, terrazzo: Terrazzo, field: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    create_store(store, StoreConfig(120.0, 120.0, 64, FOUR))
    command = of_field(store, archive, field)
    done = terrazzo(*command, "--bands", "B04,B08", "-o", tmp_path / "field.zarr")
    assert done.returncode == 0, done.stderr
    same = terrazzo(*command, "--bands", "B04,B08", "-o", tmp_path / "field.tif")
    assert same.returncode == 0, same.stderr
    with (
        xarray.open_zarr(tmp_path / "field.zarr", consolidated=False, mask_and_scale=False) as cube,
        rasterio.open(tmp_path / "field.tif") as image,
    ):
        assert {"B04", "B08", "quality", "date"} <= set(cube.data_vars)
        assert np.array_equal(np.stack([cube["B04"], cube["B08"]]), image.read())
        assert (image.read() != NODATA).any()
        assert cube.x.values[0] == pytest.approx(image.xy(0, 0)[0])
        assert cube.y.values[-1] == pytest.approx(image.xy(image.height - 1, 0)[1])
    assert not list(tmp_path.glob(".field*"))
