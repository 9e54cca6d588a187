"""The mask of a scene does not depend on how it is cut while it is made."""

import numpy as np
import pytest
import rasterio

from terrazzo.bands import MaskClass
from terrazzo.precompute.clouds import mask
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.clouds.model import BANDS


def day(data, name):
    """(band, row, col) reflectance of a day over a forest, NaN without data."""
    with rasterio.open(data / f"imagery/stack_l1c_slovenia_10m/S2A_L1C_{name}.tif") as dataset:
        counts = dataset.read().astype(np.float32)
    return np.where((counts[:12] == 0).any(axis=0), np.nan, counts / 10_000)


@pytest.mark.parametrize(("level", "bands"), [("L1C", BANDS), ("L2A", ("B02", "B03", "B04", "B08"))])
def test_a_mask_is_the_same_however_many_rows_are_held(data, monkeypatch, level, bands):
    image = day(data, "20150711T100008")
    image[..., :45] = day(data, "20150820T100728")[..., :45]
    image[:, 40:60, 50:90] = np.nan
    rows = [BANDS.index(b) for b in bands]
    made = []
    for strip in (1024, 37):
        monkeypatch.setattr(mask, "STRIP", strip)
        made.append(
            mask_scene(
                lambda start, stop: image[rows, start:stop],
                image.shape[1:],
                bands,
                level=level,
                pixel=10.0,
                sun=(60.0, 160.0),
                choice="model",
            )
        )
    assert len(np.unique(made[0].classes)) > 2
    assert (made[0].classes[40:60, 50:90] == 0).all()
    np.testing.assert_array_equal(made[0].classes, made[1].classes)
    assert np.abs(made[0].probabilities.astype(int) - made[1].probabilities).max() <= 1


def test_the_mask_of_an_l1c_product_decides_where_the_spectrum_leaves_doubt(data):
    image = day(data, "20150711T100008")
    image[..., :45] = day(data, "20150731T100009")[..., :45]
    cloudy = []
    for value in (0, 1):
        told = np.full(image.shape[1:], value, np.uint8)
        made = mask_scene(
            lambda start, stop: image[:, start:stop],
            image.shape[1:],
            BANDS,
            level="L1C",
            pixel=10.0,
            sun=(60.0, 160.0),
            classi=told,
        )
        cloudy.append(np.isin(made.classes, (MaskClass.CLOUD, MaskClass.THIN_CLOUD)).mean())
    assert 0 < cloudy[0] < cloudy[1] < 1
