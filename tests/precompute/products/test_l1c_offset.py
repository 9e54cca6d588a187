"""The offset of real L1C crops is read from their pixels, snow and cloud included."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.precompute.products.offset import decide_offset


@pytest.mark.parametrize("crop", ["282D_485L_3_3", "433D_629L_3_1", "609U_541L_3_0"])
def test_the_added_thousand_is_seen_in_the_cirrus_band(data: Path, crop: str) -> None:
    with rasterio.open(data / f"labelled/terramind/S2L1C_{crop}.tif") as dataset:
        red, cirrus = dataset.read(4).astype(np.uint16), dataset.read(11).astype(np.uint16)
    offset = decide_offset(red, xml_offset=None, claims={}, baseline="", cirrus=cirrus)
    assert (offset.value, offset.decided_by) == (-1000, "pixels")


@pytest.mark.parametrize(
    ("crop", "value"), [("282D_485L_3_3", 0), ("433D_629L_3_1", -1000), ("609U_541L_3_0", 0)]
)
def test_the_offset_of_l2a_crops_is_read_from_their_darkest_band_over_snow_too(
    data: Path, crop: str, value: int
) -> None:
    with rasterio.open(data / f"labelled/terramind/S2L2A_{crop}.tif") as dataset:
        darkest = dataset.read([2, 3, 4, 8, 11, 12]).min(axis=0).astype(np.int32)
    offset = decide_offset(darkest, xml_offset=None, claims={}, baseline="0400")
    assert (offset.value, offset.decided_by) == (value, "pixels")


def test_a_cirrus_band_without_the_thousand_says_so(data: Path) -> None:
    folder = data / "imagery/scene_l1c_31TDH_native"
    bands = []
    for band in ("B04", "B10"):
        with rasterio.open(next(folder.glob(f"*_{band}.jp2"))) as dataset:
            bands.append(dataset.read(1))
    offset = decide_offset(bands[0], xml_offset=None, claims={}, baseline="", cirrus=bands[1])
    assert (offset.value, offset.decided_by) == (0, "pixels")
