"""Runs that are killed or divided come to the same version as one run on one machine."""

import numpy as np
import pytest

from benchmarks import interruptions
from terrazzo.errors import InvalidRequest, StoreError
from terrazzo.precompute.work.executor import Shard
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.chain import precompute
from tests.world.worlds import TYPICAL, make_world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "products"
    make_world(folder, seed=3, dates=2, size=(96, 96), weather=TYPICAL, neighbour=True)
    return folder


def test_the_run_after_one_that_was_killed_completes_to_the_same_pixels(products, tmp_path):
    seconds = interruptions.undisturbed(products, tmp_path / "calm")
    calm = open_version(Store(tmp_path / "calm"), "mosaic")
    moments = np.random.default_rng().uniform(0.3 * seconds, seconds, 2).tolist()
    version = interruptions.interrupted(products, tmp_path / "killed", moments)
    assert version.name == calm.name, moments
    assert (interruptions.pixels(version) == interruptions.pixels(calm)).all(), moments


def test_parts_of_a_step_make_what_one_run_makes(products, tmp_path):
    whole, _ = precompute(products, tmp_path / "whole", window=32)
    for step in ("strips", "reference", "weigh"):
        for number in (3, 1, 2):
            precompute(products, tmp_path / "parts", window=32, only=step, shard=Shard(number, 3))
    parts, printed = precompute(products, tmp_path / "parts", window=32)
    assert parts.version.name == whole.version.name
    assert (interruptions.pixels(parts.version) == interruptions.pixels(whole.version)).all()
    assert "scenes 1/" not in printed


def test_weights_need_the_whole_reference(products, tmp_path):
    precompute(products, tmp_path / "s", window=32, only="strips")
    with pytest.raises(StoreError, match="--only reference first"):
        precompute(products, tmp_path / "s", window=32, only="weigh", shard=Shard(1, 2))


def test_only_steps_of_single_scenes_and_squares_can_be_divided(products, tmp_path):
    with pytest.raises(InvalidRequest, match="--only"):
        precompute(products, tmp_path / "s", window=32, shard=Shard(1, 2))
