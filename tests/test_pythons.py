"""Two Pythons, with the packages that each of them gets, make the same mosaic of the same products."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.world.sky import View
from tests.world.worlds import Weather, make_world

pytestmark = pytest.mark.pythons


def test_two_pythons_publish_the_same_version_and_show_the_same_pixels(tmp_path):
    other = os.environ.get("TERRAZZO_OTHER_PYTHON")
    if not other:
        pytest.skip("`make newest` runs this with two Pythons; or name one in TERRAZZO_OTHER_PYTHON")
    weather = Weather(gain=0.05, haze=0.02, cloud=0.2)
    make_world(tmp_path / "products", seed=7, dates=3, size=(192, 240), weather=weather, view=View())
    told = []
    for number, python in enumerate((sys.executable, ROOT / other)):
        out = tmp_path / str(number)
        out.mkdir()
        command = [python, "-m", "tests.pixels", tmp_path / "products", out]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    print(*told)
    first, second = ((tmp_path / n / "version.txt").read_text() for n in "01")
    assert first == second
    with np.load(tmp_path / "0/pixels.npz") as one, np.load(tmp_path / "1/pixels.npz") as two:
        assert set(one.files) == set(two.files)
        assert len(one.files) > 20
        for name in one.files:
            if name == "laea.tif":
                # PROJ 9.8 places the equal-area projection half a millimetre off PROJ 9.5.
                apart = np.abs(one[name].astype(int) - two[name])
                assert apart.max() <= 1
                assert (apart > 0).mean() < 0.01
            else:
                np.testing.assert_array_equal(one[name], two[name], err_msg=name, strict=True)
