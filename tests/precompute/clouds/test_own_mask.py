"""`--mask asset:NAME`: a user's own mask, an asset of the Item, is the scene's mask."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from terrazzo.bands import MaskClass
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute, stored
from tests.world.worlds import make_world

TERRAZZO = str(Path(sys.executable).parent / "terrazzo")


def add_mask(item: Path, classes: np.ndarray) -> None:
    """Adds a mask of 20 m to an Item whose bands have 10 m."""
    document = json.loads(item.read_text())
    folder = item.with_suffix("")
    with rasterio.open(folder / "B02.tif") as band:
        profile, transform = band.profile, band.transform @ Affine.scale(2)
    profile.update(
        dtype="uint8", nodata=None, transform=transform, height=len(classes), width=classes.shape[1]
    )
    with rasterio.open(folder / "mine.tif", "w", **profile) as target:
        target.write(classes, 1)
    document["assets"]["my-mask"] = {"href": f"{folder.name}/mine.tif"}
    item.write_text(json.dumps(document))


@pytest.fixture
def item(tmp_path):
    make_world(tmp_path / "p", dates=1, size=(128, 128))
    return next((tmp_path / "p").glob("*.json"))


def test_the_scene_has_the_users_classes(item, tmp_path):
    classes = np.full((64, 64), MaskClass.LAND, np.uint8)
    classes[:10, :20] = MaskClass.CLOUD
    classes[30:34, 40:] = MaskClass.TERRAIN_SHADOW
    add_mask(item, classes)
    done, _ = precompute(tmp_path / "p", tmp_path / "s", normalize=False, recipe=Recipe("asset:my-mask"))
    scene = done.scenes[0]
    made = stored(done.version.store, scene, "mask")
    seen = made[made != MaskClass.NODATA].reshape(128, 128)
    assert (seen == classes.repeat(2, axis=0).repeat(2, axis=1)).all()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("asset:theirs", 1, "no asset theirs.*my-mask"), ("asset:my-mask", 99, "holds 99.*4 cloud")],
)
def test_a_mask_that_is_missing_or_no_mask_is_reported(item, tmp_path, name, value, told):
    add_mask(item, np.full((64, 64), value, np.uint8))
    done = subprocess.run(
        [TERRAZZO, "precompute", tmp_path / "p", "--store", tmp_path / "s", "--mask", name, "--workers", "1", "--bands", "B02,B03,B04,B08"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert told.split(".*")[0] in (done.stdout + done.stderr).replace("\n", " ")
    assert told.split(".*")[1] in (done.stdout + done.stderr).replace("\n", " ")


def test_another_word_is_refused_with_the_ones_there_are(tmp_path):
    done = subprocess.run(
        [TERRAZZO, "precompute", tmp_path, "--store", tmp_path / "s", "--mask", "asset"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "fused, scl, model or asset:" in done.stderr
