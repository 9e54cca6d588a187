"""From the map to files, in Chromium: a box is drawn or written, its cost is told, and what comes is valid and true."""

import io
import json
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from tests.clients.conftest import green

pytestmark = [pytest.mark.clients, pytest.mark.needs("Chromium")]


@pytest.fixture(scope="module")
def run(browser, address, tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    seen = json.loads(green([browser[0], Path(__file__).with_name("order.mjs"), f"{address}/", folder]))
    return seen, folder


def test_a_drawn_box_is_estimated_exported_and_valid(run, address):
    seen, folder = run
    assert seen["asked"]
    assert seen["drawn"] == pytest.approx(seen["expected"], abs=0.004)
    assert seen["cost"].endswith("s")
    assert "4 bands" in seen["cost"]
    assert "2023-08-13" in seen["days"]
    assert seen["ended"] == "successful"
    assert seen["closed"]
    assert {Path(f).suffix for f in seen["files"]} == {".tif", ".json"}
    assert cog_validate(folder / "drawn.tif", strict=True, quiet=True)[0]
    with rasterio.open(folder / "drawn.tif") as dataset:
        assert f"{dataset.width} × {dataset.height} px" in seen["cost"]
        west, south, east, north = seen["drawn"]
        left, bottom, right, top = rasterio.warp.transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
        assert left <= west < east <= right
        assert bottom <= south < north <= top
        box = ",".join(map(repr, dataset.bounds))
        query = f"{box}/{dataset.width}x{dataset.height}.npy?bands=B02,B03,B04,B08&coord_crs={dataset.crs}"
        with urlopen(f"{address}/mosaics/mosaic/bbox/{query}") as answer:
            np.testing.assert_array_equal(dataset.read(), np.load(io.BytesIO(answer.read()))[:4])


def test_a_box_is_written_with_keys_or_drawn_with_a_finger_on_a_phone(run):
    seen, folder = run
    assert seen["reached"] == ["draw", "west", "east", "south", "north", "bands", "send", "close"]
    assert seen["written"] == [15.95, 45.8, 15.98, 45.82]
    assert cog_validate(folder / "written.tif", strict=True, quiet=True)[0]
    with rasterio.open(folder / "written.tif") as dataset:
        assert dataset.descriptions == ("B04", "B08")
    assert seen["room"]
    assert seen["touched"]
    assert seen["fits"]
    assert seen["wide"] <= 375


def test_nothing_fails_and_axe_finds_nothing_wrong_in_light_and_in_dark(run):
    seen, _ = run
    assert seen["problems"] == []
    assert {name: found for name, found in seen["findings"].items() if found} == {}
    assert len(seen["findings"]) == 2 * 9
    assert seen["passed"] > 10


def test_the_map_shows_colours_steps_and_that_a_key_is_needed(run):
    seen, _ = run
    assert seen["legend"] == ["Legend: Which day", 200, "10 Aug to 20 Aug"]
    assert seen["formula"] == "(B08-B04)/(B08+B04)"
    assert "1 band" in seen["bands"]
    assert seen["steps"] == ["raw", "mask", "corrected", "merged", "normalized"]
    assert seen["stopped"] == "false"
    assert seen["locked"] == "a key is needed"
