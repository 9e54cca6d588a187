"""Chains that the tests of precompute share."""

import fcntl
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from terrazzo.precompute import sample
from terrazzo.store import Store
from tests.chain import Chain
from tests.world.sky import View
from tests.world.worlds import TYPICAL, World, make_world


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, World]:
    """A simulated world of two tiles and four dates, precomputed by the command line."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, store, note = base / "world", base / "world-store", base / "world.pickle"
    with (base / "world.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            world = make_world(folder, seed=1, weather=TYPICAL, view=View(), neighbour=True)
            options = ["--pixel", "10", "--window", "64", "--bands", "B02,B03,B04,B08"]
            command = [Path(sys.executable).parent / "terrazzo", "precompute", folder, "--store", store]
            subprocess.run([*command, *options], check=True, capture_output=True, text=True)
            note.write_bytes(pickle.dumps(world))
    return Chain(folder, Store(store)), pickle.loads(note.read_bytes())


@pytest.fixture(scope="session", params=["simulator", "sample"])
def chain(request: pytest.FixtureRequest) -> Chain:
    """The simulated world and the sample area, one after the other."""
    if request.param == "sample":
        return Chain(sample.path(), Store(request.getfixturevalue("sample_store")))
    return request.getfixturevalue("simulated")[0]
