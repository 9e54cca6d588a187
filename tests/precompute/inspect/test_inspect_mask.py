"""`terrazzo inspect mask` draws a scene's mask beside its picture, probability and weight."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from terrazzo.precompute.inspect.mask import unclear, weight
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.world.worlds import Weather, make_world

TERRAZZO = str(Path(sys.executable).parent / "terrazzo")


def test_probability_is_high_and_weight_is_nought_where_the_mask_says_cloud(tmp_path):
    make_world(tmp_path / "p", dates=2, size=(192, 192), weather=Weather(cloud=0.25))
    done, _ = precompute(tmp_path / "p", tmp_path / "s", recipe=Recipe("scl"))
    store = done.version.store
    scene = max(done.scenes, key=lambda s: s.cloud_share)
    p, w = unclear(store, scene), weight(store, scene, "mosaic")
    assert p is not None
    assert w is not None
    assert p.shape[0] > 50
    assert w.max() > 0
    blocked = w == 0
    fits = p if p.shape == w.shape else p[::2, ::2]
    assert np.nanmean(fits[blocked]) > np.nanmean(fits[~blocked]) + 0.2
    assert weight(store, scene, "none") is None

    drawn = subprocess.run(
        [TERRAZZO, "inspect", "mask", scene.id, "--store", tmp_path / "s", "-o", tmp_path / "mask.png"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "mask.png").stat().st_size > 20_000
