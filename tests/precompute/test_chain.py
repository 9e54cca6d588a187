"""What holds for any mosaic, shown on a simulated world and on the real sample."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.bands import CLEAR, CLOUDED, NODATA, MaskClass
from terrazzo.correction import counts, read_correction
from terrazzo.mosaic.engine import LAST_RESORT
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.raster import read_on_grid
from terrazzo.precompute.scene.counts import REMAINS
from terrazzo.scene import CORRECTION, read_item
from tests.chain import native, on_box, stored, weight_of

pytestmark = pytest.mark.slow
METHODS = ["feather", "first", "mean", "median", "robust"]


def test_a_cloud_or_shadow_weighs_nothing_but_where_all_dates_agree_on_it(chain):
    store, shape = chain.store, chain.box.shape
    blue = np.full((len(chain.entries), *shape), np.inf, np.float32)
    for number, entry in enumerate(chain.entries):
        values = stored(store, entry.scene, "B02", chain.box).astype(np.float32)
        blue[number] = np.where(values == NODATA, np.inf, values * 1e-4)
    lowest = blue.min(axis=0)
    some = False
    for number, entry in enumerate(chain.entries):
        classes = on_box(stored(store, entry.scene, "mask"), entry.scene, chain.box, 0)
        weight = on_box(weight_of(store, entry), entry.scene, chain.box, 0)
        assert (weight[classes == MaskClass.NODATA] == 0).all()
        kept = np.isin(classes, [int(c) for c in CLOUDED]) & (weight > 1)
        # Pixels of the mask's size agree; a single one of the four below may differ a little more.
        assert (blue[number][kept] - lowest[kept] < 0.02).mean() > 0.95 if kept.any() else True
        some |= bool((weight[np.isin(classes, [int(c) for c in CLEAR])] > 200).any())
    assert some


@pytest.mark.parametrize("method", METHODS)
def test_a_scene_under_cloud_never_contributes(chain, method):
    version, epsg = chain.version, chain.version.zones[0]
    image = native(version, chain.box, epsg, method=method, resampling="nearest", fill="none", snow="keep")
    everywhere = np.zeros(chain.box.shape, bool)
    for number, entry in enumerate(image.entries):
        weight = on_box(weight_of(chain.store, entry), entry.scene, chain.box, 0)
        assert (weight[image.provenance == number] > 1).all(), entry.scene.id
        everywhere |= weight > 1
    assert ((image.values[0] != NODATA) == everywhere).all()
    assert ((image.provenance >= 0) == everywhere).all()


def test_where_no_date_is_clear_the_last_resort_shows_and_is_flagged(chain):
    image = native(chain.version, chain.box, chain.version.zones[0], resampling="nearest")
    flagged = image.quality & LAST_RESORT > 0
    best = np.zeros(chain.box.shape, np.uint8)
    for entry in chain.entries:
        best = np.maximum(best, on_box(weight_of(chain.store, entry), entry.scene, chain.box, 0))
    assert (flagged == (best == 1)).all()
    assert (image.values[0][flagged] != NODATA).all()


def test_off_first_nearest_is_the_corrected_scene_bit_for_bit(chain):
    version, epsg = chain.version, chain.version.zones[0]
    image = native(
        version,
        chain.box,
        epsg,
        method="first",
        normalize=False,
        resampling="nearest",
        fill="none",
        snow="keep",
    )
    compared = 0
    for number, entry in enumerate(image.entries):
        mine = image.provenance == number
        for k, band in enumerate(version.bands):
            assert (image.values[k][mine] == stored(chain.store, entry.scene, band, chain.box)[mine]).all()
        compared += mine.sum()
    assert compared > 10_000


def test_the_correction_can_be_undone_to_one_count(chain):
    products = {p.id: p for p in find_products(chain.folder).products}
    for entry in chain.entries:
        scene, store = entry.scene, chain.store
        correction = read_correction(store.read_bytes(scene.key(CORRECTION)), scene.key(CORRECTION))
        factor = store.mask_factor
        detector = correction.detector.repeat(factor, axis=0).repeat(factor, axis=1)
        classes = stored(store, scene, "mask")
        grid = store.grid(scene.epsg)
        for band in chain.version.bands:
            delivered = read_on_grid(products[scene.id].asset(band), grid, scene.box, "reflectance").array
            values = stored(store, scene, band)
            back = counts(values, classes, detector, correction, band, grid, scene.box)
            valid = back != NODATA
            assert (delivered[valid] > 0).all()
            # Beyond the swath a lossy codec left some counts: one pixel in a hundred of the sample, at most.
            assert ((delivered > 0) & ~valid).mean() < 0.015
            assert delivered[~valid].max() < REMAINS + 1
            assert np.abs(back[valid] - delivered[valid].astype(float)).max() <= 1.5


def test_an_item_names_the_checksums_of_what_it_was_made_of(chain):
    for entry in chain.entries:
        item = read_item(chain.store, entry.scene)
        (link,) = [x for x in item["links"] if x["rel"] == "derived_from"]
        folder = Path(chain.folder) / entry.scene.id
        for name, checksum in link["terrazzo:checksums"].items():
            assert checksum == "1220" + hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for key, asset in item["assets"].items():
            data = chain.store.read_bytes(f"{entry.scene.prefix}/{asset['href']}".replace("/./", "/"))
            assert asset["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest(), key
            assert asset["file:size"] == len(data)


def test_the_lock_lists_every_scene_with_its_revision_and_weight(chain):
    lock = chain.version.lock
    listed = {s["id"]: s for p in lock["periods"] for s in p["scenes"]}
    assert set(listed) == {json.loads(f.read_text())["id"] for f in Path(chain.folder).glob("*.json")}
    for entry in chain.entries:
        assert listed[entry.scene.id]["rev"] == entry.scene.rev
        assert len(listed[entry.scene.id]["weight"]) == 32


def test_every_raster_is_whole_windows_of_the_zone_grid(chain):
    for entry in chain.entries:
        grid = chain.store.grid(entry.scene.epsg)
        for name in (*chain.version.bands, "mask"):
            with rasterio.open(chain.store.raster_path(entry.scene.key(f"{name}.tif"))) as dataset:
                assert tuple(dataset.bounds) == tuple(grid.bounds(grid.pad(entry.scene.box)))
                assert dataset.overviews(1)[-1] * dataset.res[0] >= grid.window * grid.pixel


def test_the_order_of_scenes_is_one_for_all_places(chain):
    version, epsg = chain.version, chain.version.zones[0]
    image = native(version, chain.box, epsg, method="first", resampling="nearest", fill="none", snow="keep")
    assert [e.rank for e in image.entries] == sorted(e.rank for e in image.entries)
    best = np.full(chain.box.shape, 10_000)
    for number, entry in enumerate(image.entries):
        weight = on_box(weight_of(chain.store, entry), entry.scene, chain.box, 0)
        best = np.where((weight > 1) & (best > number), number, best)
    shown = image.provenance >= 0
    assert (image.provenance[shown] == best[shown]).all()
