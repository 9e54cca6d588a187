"""One real picture as truth, the sample's real masks, known gains and haze: what normalization gives back."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from terrazzo.bands import NODATA, SCALE
from terrazzo.cog import write_cog
from terrazzo.config import ALL, Period, read_config
from terrazzo.mosaic.engine import Image
from terrazzo.precompute.judge.seams import View, read_scenes
from terrazzo.precompute.normalize.stage import normalize_period
from terrazzo.precompute.versions.write import PeriodContent, publish
from terrazzo.raster import reflectance
from terrazzo.scene import Scene, list_scenes
from terrazzo.store import Store
from terrazzo.version import Version, open_version

GAIN = {"0813": 0.98, "0815": 1.02, "0820": 1.03, "0818": 0.96, "0810": 1.04}
HAZE = {"0813": 0.0, "0815": 0.0, "0820": 0.006, "0818": 0.018, "0810": 0.012}
"""Reflectance added to the blue band by day; less in the others.

The gains of the clear days cancel: relative normalization takes its level from them, and nothing in the scenes
could tell it a common error of theirs. Those of the hazy days do not, and must not move it.
"""
SPECTRUM = {"B02": 1.0, "B03": 0.6, "B04": 0.4, "B08": 0.15}
CLEAR = ("0813", "0815")


def day_of(scene_id: str) -> str:
    return scene_id.split("_2023")[1][:4]


@pytest.fixture(scope="module")
def truth(sample_store: Path) -> Image:
    version = open_version(Store(sample_store), "mosaic")
    return View(version, ALL, version.zones[0]).composite("feather", "normalized")


@pytest.fixture(scope="module")
def disturbed(sample_store: Path, truth: Image, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version made of the truth as ten scenes would show it through known gains and haze."""
    root = tmp_path_factory.mktemp("semisynthetic") / "store"
    root.mkdir()
    shutil.copytree(sample_store / "scenes", root / "scenes")
    shutil.copy(sample_store / "store.json", root)
    store = Store(root)
    original = open_version(Store(sample_store), "mosaic")
    view = View(original, ALL, original.zones[0])
    scenes = sorted(list_scenes(store), key=lambda s: s.id)
    for scene in scenes:
        disturb(store, scene, view, truth)
    days = [s.datetime.date() for s in scenes]
    normalized = normalize_period(store, "mosaic", scenes)
    content = PeriodContent(Period(ALL, min(days), max(days)), tuple(scenes), normalized)
    return publish(store, read_config(store, "mosaic"), [content], {})


def disturb(store: Store, scene: Scene, view: View, truth: Image) -> None:
    """Rewrites a scene's bands: gain · truth + haze that grows by half from west to east."""
    grid, box = store.grid(scene.epsg), scene.box
    cut = box.within(view.full)
    east = np.linspace(0.75, 1.25, box.width)[None, :]
    for k, band in enumerate(view.bands):
        values = truth.values[k][cut]
        rho = values * SCALE * GAIN[day_of(scene.id)] + HAZE[day_of(scene.id)] * SPECTRUM[band] * east
        path = Path(store.raster_path(scene.band_key(band)))
        path.unlink()
        write_cog(
            path,
            np.where(values == NODATA, NODATA, np.rint(rho / SCALE)).astype(np.int16),
            grid.transform(box),
            f"EPSG:{scene.epsg}",
            nodata=NODATA,
            overview="average",
            levels=grid.window.bit_length() - 1,
            scale=SCALE,
        )


def rmse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(band,) root mean square difference of two pictures where both are."""
    return np.asarray(np.sqrt(np.nanmean((reflectance(a) - reflectance(b)) ** 2, axis=(1, 2))))


@pytest.mark.slow
def test_no_band_and_no_clear_scene_comes_out_worse_than_off(disturbed: Version, truth: Image) -> None:
    view = View(disturbed, ALL, disturbed.zones[0])
    for method in ("feather", "robust"):
        off, on = (rmse(view.composite(method, s).values, truth.values) for s in ("merged", "normalized"))
        print(method, np.round(1e4 * off, 1), np.round(1e4 * on, 1))
        assert (on <= off).all(), (method, off, on)
    off_scenes, on_scenes = read_scenes(view, "merged", "normalized")
    for i, entry in enumerate(view.entries):
        off, on = (rmse(s.values[i], truth.values) for s in (off_scenes, on_scenes))
        print(entry.scene.id, np.round(1e4 * off, 1), np.round(1e4 * on, 1))
        if day_of(entry.scene.id) in CLEAR:
            assert (on <= off).all(), (entry.scene.id, off, on)
