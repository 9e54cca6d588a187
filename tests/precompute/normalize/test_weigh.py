"""Weights that two workers write at once."""

import shutil

import numpy as np
import rasterio

from terrazzo.precompute.normalize import weigh
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.golden.make import STORE


def test_a_scene_that_a_second_worker_writes_meanwhile_is_whole(tmp_path, monkeypatch):
    store = Store(shutil.copytree(STORE, tmp_path / "s"))
    scene = open_version(store, "mosaic").entries("all")[0].scene
    weight = np.full(scene.box.coarser(store.mask_factor).shape, 7, np.uint8)
    key, real, second = f"mosaics/mosaic/weights/x/{scene.id}.tif", weigh.write_cog, [True]

    def meanwhile(*args, **options):
        real(*args, **options)
        if second and second.pop():
            weigh._write_weight(store, scene, weight, key)

    monkeypatch.setattr(weigh, "write_cog", meanwhile)
    weigh._write_weight(store, scene, weight, key)
    with rasterio.open(store.raster_path(key)) as dataset:
        assert (dataset.read(1) == 7).all()
    assert not list(store.scratch().iterdir())
