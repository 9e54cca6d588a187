"""The reference of a square, compared whole and in parts."""

import shutil

import numpy as np

from terrazzo.places import PLACES
from terrazzo.precompute.normalize import reference
from terrazzo.store import Store
from terrazzo.version import open_version


def test_a_square_compared_in_parts_has_the_same_files_as_one_compared_whole(
    sample_store, tmp_path, monkeypatch
):
    store = Store(shutil.copytree(sample_store, tmp_path / "store"))
    scenes = [e.scene for e in open_version(store, "mosaic").entries("all")]

    def files(folder):
        square = next(iter(reference.chunks(store, scenes, scenes, folder, {})))
        reference.make_chunk(square)
        names = (PLACES, "reference.npz.zst", "verdict.npz.zst")
        return {name: store.read_arrays(f"{square.prefix}/{name}") for name in names}

    whole = files("whole")
    looked_at = []
    monkeypatch.setattr(reference, "MOST_PIXELS", len(scenes) * 128 * 448)
    real = reference._look
    monkeypatch.setattr(reference, "_look", lambda *a: looked_at.append(a[3].box) or real(*a))
    parts = files("parts")

    assert len(looked_at) > 4
    assert max(b.height * b.width for b in looked_at) <= 128 * 448
    for name, arrays in whole.items():
        assert arrays.keys() == parts[name].keys()
        for key, array in arrays.items():
            assert array.dtype == parts[name][key].dtype
            np.testing.assert_array_equal(array, parts[name][key], f"{name} {key}")
    assert whole["verdict.npz.zst"]["keep"].any()
    assert (whole["reference.npz.zst"]["B02"] > 0).any()
