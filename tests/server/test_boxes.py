"""Sizes of boxes as TiTiler users write them, and how a point was read."""

import io

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rio_tiler.utils import output_size

from terrazzo.server.boxes import size_of

BOX = "/mosaics/mosaic/bbox/580000,5080000,583000,5081200"
METRES = {"bbox_crs": "EPSG:32633"}
sides = st.integers(1, 5000)


@given(sides, sides, st.none() | sides, st.none() | sides, st.none() | sides)
def test_sizes_are_those_of_rio_tiler(across, up, width, height, most):
    alone = None if width or height else most
    theirs = output_size(
        dataset_height=up, dataset_width=across, output_height=height, output_width=width, max_size=alone
    )
    assert size_of(across, up, width, height, most) == theirs[::-1]


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, (50, 20)),
        ({"width": 100, "height": 30}, (100, 30)),
        ({"width": 25}, (25, 10)),
        ({"height": 5}, (13, 5)),
        ({"max_size": 25}, (25, 10)),
        ({"max_size": 1024}, (50, 20)),
        ({"max_size": 7, "width": 40}, (40, 16)),
    ],
)
def test_a_box_has_the_size_that_is_asked_for(client, asked, size):
    answer = client.get(f"{BOX}.tif", params={**METRES, **asked})
    assert answer.status_code == 200, answer.text
    with rasterio.open(io.BytesIO(answer.content)) as file:
        assert (file.width, file.height) == size
        assert tuple(file.bounds) == (580000, 5080000, 583000, 5081200)


def test_a_size_in_the_query_gives_the_picture_of_the_size_in_the_path(client):
    query = client.get(f"{BOX}.png", params={**METRES, "width": 40, "height": 16})
    path = client.get(f"{BOX}/40x16.png", params=METRES)
    assert query.content == path.content
    assert query.headers["etag"] == path.headers["etag"]


@pytest.mark.parametrize(
    ("path", "asked", "why"),
    [
        (f"{BOX}/40x16.png", {"width": 40}, "unknown parameter width"),
        (f"{BOX}.png", {"width": 0}, "1 to 4096"),
        (f"{BOX}.png", {"max_size": "large"}, "a number"),
        (f"{BOX}.png", {"width": 5000, "height": 10}, "1 to 4096"),
        (f"{BOX}/5000x10.png", {}, "at most 4096"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(client, path, asked, why):
    answer = client.get(path, params={**METRES, **asked})
    assert answer.status_code == 400
    assert why in answer.json()["detail"]


def test_a_point_says_which_pixel_it_lies_in_and_how_it_was_read(client):
    lon, lat = 15.97, 45.8
    near, far = (
        client.get(f"/mosaics/mosaic/point/{lon},{lat}", params={"resampling": r, "bands": "B04"}).json()
        for r in ("nearest", "bilinear")
    )
    assert (near["sampling"]["resampling"], far["sampling"]["resampling"]) == ("nearest", "bilinear")
    pixel = near["sampling"]["pixel"]
    x, y = pixel["center"]
    assert near["sampling"]["pixel_size"] == 60
    assert (x, y) == ((pixel["col"] + 0.5) * 60, (-pixel["row"] - 0.5) * 60)
    # The pixel's own value, read where nothing is resampled, is what nearest gives.
    box = f"/mosaics/mosaic/bbox/{x - 30},{y - 30},{x + 30},{y + 30}.npy"
    values = np.load(io.BytesIO(client.get(box, params={**METRES, "bands": "B04"}).content))
    assert values.ravel()[0] * 1e-4 == pytest.approx(near["values"][0], abs=1e-6)
    middle = client.get(
        f"/mosaics/mosaic/point/{pixel['coordinates'][0]},{pixel['coordinates'][1]}", params={"bands": "B04"}
    ).json()
    assert middle["values"] == pytest.approx(near["values"], abs=2e-4)
    assert middle["sampling"]["pixel"] == pixel
