"""An export holds the pixels that tiles show, whole or not at all, whatever the size."""

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rio_cogeo import cog_validate

from terrazzo.cli import cli
from terrazzo.errors import OutsideCoverage
from terrazzo.export import Exported, export, export_target, windows
from terrazzo.grid import Bounds
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import PixelRequest
from terrazzo.store import Store
from terrazzo.version import open_version

BOX = Bounds(15.9, 45.75, 16.1, 45.95)


@pytest.fixture(scope="module")
def engine(sample_store):
    return Engine(open_version(Store(sample_store), "mosaic"), Blocks())


def written(engine, path, target, **asked):
    selection = engine.select(PixelRequest(bands=("B04", "B08"), **asked))
    steps = list(export(engine, selection, target, path, workers=2))
    assert isinstance(steps[-1], Exported)
    assert steps[:-1] == sorted(steps[:-1])
    return selection


def test_an_export_is_a_cog_with_names_scale_attribution_and_version(engine, tmp_path):
    target = export_target(engine.version, BOX)
    written(engine, tmp_path / "a.tif", target)
    assert cog_validate(tmp_path / "a.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.descriptions == ("B04", "B08")
        assert (file.scales, file.nodata, file.dtypes[0]) == ((1e-4, 1e-4), -32768, "int16")
        assert file.crs.to_epsg() == 32633
        assert all(v % 60 == 0 for v in file.bounds)
        assert file.tags()["TERRAZZO_VERSION"] == engine.version.name
        assert "Copernicus" in file.tags()["ATTRIBUTION"]


@pytest.mark.parametrize("crs", [None, "EPSG:3035", "EPSG:4326"])
def test_windows_of_any_size_have_the_values_of_the_whole(engine, crs):
    target = export_target(engine.version, BOX, crs=crs)
    selection = engine.select(PixelRequest(bands=("B02",)))
    whole = engine.render(selection, target).values
    parts = np.full_like(whole, 1)
    for window, part in windows(target, 100):
        rows, cols = window.toslices()
        parts[:, rows, cols] = engine.render(selection, part).values
    assert (parts == whole).all()


def test_an_export_holds_the_engines_pixels(engine, tmp_path):
    target = export_target(engine.version, BOX, crs="EPSG:3857", resolution=100)
    selection = written(engine, tmp_path / "a.tif", target, method="robust")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read() == engine.render(selection, target).values).all()


def test_classes_keep_their_numbers_in_overviews(engine, tmp_path):
    target = export_target(engine.version, engine.version.bounds)
    written(engine, tmp_path / "a.tif", target, stage="mask")
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {-32768, *range(1, 9)}


def test_a_box_without_data_is_told_and_leaves_no_file(engine, tmp_path):
    target = export_target(engine.version, Bounds(14.0, 45.0, 14.1, 45.1))
    with pytest.raises(OutsideCoverage, match="covers"):
        written(engine, tmp_path / "a.tif", target)
    assert list(tmp_path.iterdir()) == []


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
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]
