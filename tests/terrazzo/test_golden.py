"""The golden store: made once by an earlier release, opened and served by this one with the values it had then."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio

from terrazzo.scene import list_scenes
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.chain import ROOT_DOCS, native
from tests.golden.make import HERE, PLACE, STORE

pytestmark = pytest.mark.pythons

KNOWN = json.loads((HERE / "values.json").read_text())


@pytest.fixture(scope="module")
def version():
    return open_version(Store(STORE), "mosaic")


def test_it_opens(version):
    assert version.name == KNOWN["version"]
    assert version.bands == ("B02", "B03", "B04", "B08")
    assert [s.id for s in list_scenes(version.store)] == [
        "S2A_33TWL_20230803_0_L2A",
        "S2B_33TWL_20230808_0_L2A",
    ]


@pytest.mark.parametrize("asked", KNOWN["values"])
def test_it_gives_the_values_it_gave(version, asked):
    method, normalize = asked.split()
    box = version.entries("all")[0].scene.box
    image = native(version, box, 32633, method=method, normalize=normalize == "on")
    assert image.values[:, *PLACE].tolist() == KNOWN["values"][asked]


def test_every_file_of_it_is_one_that_the_page_describes():
    page = (ROOT_DOCS / "reference" / "store.md").read_text()
    layout = set(re.search(r"```\n(store\.json.*?)```", page, re.DOTALL)[1].split())
    for file in (p for p in STORE.rglob("*") if p.is_file()):
        name = re.sub(r"^S2\w+-[0-9a-f]{12}", "<scene>-<rev>", file.name)
        name = re.sub(r"^B\d[\dA]\.tif$", "B02.tif", name)
        if file.parent.parent.name == "gains":
            name = "gains/<period>/<tile>.npy"
        if file.suffix == ".parquet" and "differences" in file.parts:
            name = f"differences/<ref_id>/<tile>/{name}"
        assert name in layout, file.relative_to(STORE)


def test_rasters_are_as_the_page_says(version):
    scene = version.entries("all")[0].scene
    with rasterio.open(version.store.raster_path(scene.band_key("B02"))) as dataset:
        assert (dataset.dtypes, dataset.nodata, dataset.scales) == (("int16",), -32768, (1e-4,))
        assert dataset.profile["compress"].lower() == "zstd"
        assert dataset.bounds == tuple(version.store.grid(scene.epsg).bounds(scene.box))
    with rasterio.open(version.store.raster_path(scene.key("mask.tif"))) as dataset:
        assert dataset.dtypes == ("uint8",)
        assert set(np.unique(dataset.read(1))) <= set(range(9))


def test_tables_have_the_columns_the_page_names(version):
    scene = version.entries("all")[0].scene
    root = version.store.root
    strips = pq.read_table(root / scene.key("strips.parquet"))
    assert strips.column_names == ["wy", "wx", "edge", "segment", "band", "m", "n"]
    cells = pq.read_table(next(root.glob("mosaics/mosaic/versions/*/cells.parquet")))
    assert cells.column_names == ["period", "epsg", "wy", "wx", "hash"]
    differences = pq.read_table(next(root.glob("mosaics/mosaic/differences/**/*.parquet")))
    assert {"wy", "wx", "edge", "segment", "band", "d", "n"} <= set(differences.column_names)
    corners = np.load(next(root.glob("mosaics/mosaic/versions/*/gains/all/*.npy")), allow_pickle=False)
    assert corners.dtype == np.int16
    assert corners.shape[1:3] == (2, 4)
