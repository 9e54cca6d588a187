"""A scene's correction is applied and undone."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from terrazzo.bands import NODATA, MaskClass
from terrazzo.correction import (
    PLANES,
    Coefficients,
    Correction,
    corrected,
    correction_arrays,
    counts,
    read_correction,
)
from terrazzo.grid import Grid, PixelBox

pytestmark = pytest.mark.pythons

GRID = Grid(32633, 10.0, 512)
BOX = PixelBox(-500_000, 50_000, -500_000 + 60, 50_000 + 80)
LEFT, _, _, TOP = GRID.bounds(BOX)


def coefficients(seed: int, detectors: tuple[int, ...] = (4, 5)) -> Coefficients:
    """Coefficients as of a blue band under thin to thick air, each node and detector its own."""
    rng = np.random.default_rng(seed)
    shape = (len(detectors), 4, 5)
    planes = {
        "xa": rng.uniform(1.05, 1.6, shape),
        "xb": rng.uniform(0.01, 0.2, shape),
        "xc": rng.uniform(0.02, 0.25, shape),
        "factor": rng.uniform(0.9, 1.1, shape),
    }
    values = np.stack([planes[p] for p in PLANES]).astype(np.float32)
    return Coefficients(LEFT - 100, TOP + 100, 250.0, np.array(detectors, np.uint8), values)


def classes_and_detectors(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.choice([MaskClass.LAND, MaskClass.WATER, MaskClass.CLOUD], BOX.shape).astype(np.uint8)
    return classes, rng.choice([0, 4, 5, 9], BOX.shape).astype(np.uint8)


@given(
    numbers=hnp.arrays(np.uint16, BOX.shape, elements=st.integers(0, 12_000)),
    offset=st.sampled_from([0, -1000]),
    seed=st.integers(0, 1000),
)
def test_counts_come_back_within_one(numbers: np.ndarray, offset: int, seed: int) -> None:
    classes, detector = classes_and_detectors(seed)
    correction = Correction(offset, detector, {"B02": coefficients(seed)})
    rho = corrected(numbers, classes == MaskClass.LAND, detector, correction, "B02", GRID, BOX)
    back = counts(rho, classes, detector, correction, "B02", GRID, BOX)
    assert ((rho == NODATA) == (numbers == 0)).all()
    # Bright land under thick air goes past the range of the store's int16, 3.2767.
    there = (numbers > 0) & (np.abs(rho.astype(int)) < 32767)
    assert np.abs(back[there].astype(int) - numbers[there]).max(initial=0) <= 1
    assert (back[numbers == 0] == NODATA).all()


def test_the_kernel_computes_the_stated_formula() -> None:
    classes, detector = classes_and_detectors(3)
    c = coefficients(3, detectors=(4,))
    numbers = np.random.default_rng(0).integers(1, 9000, BOX.shape).astype(np.uint16)
    correction = Correction(-1000, detector, {"B03": c})
    found = corrected(numbers, classes == MaskClass.LAND, detector, correction, "B03", GRID, BOX)
    row = (c.top - (TOP - (np.arange(BOX.height) + 0.5) * 10)) / c.step
    col = ((LEFT + (np.arange(BOX.width) + 0.5) * 10) - c.left) / c.step
    hats_row = np.maximum(1 - np.abs(np.clip(row, 0, 3)[:, None] - np.arange(4)), 0)
    hats_col = np.maximum(1 - np.abs(np.clip(col, 0, 4)[:, None] - np.arange(5)), 0)
    xa, xb, xc, factor = (hats_row @ c.values[p, 0].astype(float) @ hats_col.T for p in range(4))
    y = xa * (numbers.astype(float) - 1000) * 1e-4 - xb
    rho = y / (1 + xc * y) * np.where(classes == MaskClass.LAND, factor, 1)
    np.testing.assert_allclose(found, rho * 1e4, atol=0.51)
    assert found.min() < 0, "negative reflectances are kept"


@pytest.mark.parametrize("larger", [2, 1, 0.5])
@given(
    numbers=hnp.arrays(np.uint16, BOX.shape, elements=st.integers(0, 65_535), fill=st.just(900))
    | hnp.arrays(np.float32, BOX.shape, elements=st.floats(0, 20_000, width=32), fill=st.just(0.5)),
    seed=st.integers(0, 1000),
    air=st.booleans(),
)
def test_runs_of_pixels_get_what_each_pixel_by_itself_gets(
    larger: float, numbers: np.ndarray, seed: int, air: bool
) -> None:
    """Equal to the last bit, with land and detectors on pixels of any size."""
    rng = np.random.default_rng(seed)
    on_mask = tuple(int(n / larger) for n in BOX.shape)
    land, detector = rng.random(on_mask) < 0.7, rng.choice([0, 4, 5], on_mask).astype(np.uint8)
    c = coefficients(seed)
    if not air:
        c.values[0], c.values[1], c.values[2] = 1, 0, 0
    found = corrected(numbers, land, detector, Correction(-1000, detector, {"B02": c}), "B02", GRID, BOX)
    if larger == 2:
        land, detector = (a.repeat(2, 0).repeat(2, 1) for a in (land, detector))
    small = int(max(1 / larger, 1))
    land, detector = land[::small, ::small], detector[::small, ::small]
    np.testing.assert_array_equal(found, pixel_by_pixel(numbers, land, detector, c))


def pixel_by_pixel(
    numbers: np.ndarray, land: np.ndarray, detector: np.ndarray, c: Coefficients
) -> np.ndarray:
    """Reflectance of float32 operations in the order of the module's equations, offset −1000."""
    one, scale, step = np.float32(1), np.float32(1e-4), GRID.pixel / c.step
    row = np.clip((c.top - TOP) / c.step + step / 2 + np.arange(BOX.height) * step, 0, 3)[:, None]
    col = np.clip((LEFT - c.left) / c.step + step / 2 + np.arange(BOX.width) * step, 0, 4)[None]
    i, j = np.minimum(row.astype(int), 2), np.minimum(col.astype(int), 3)
    t, s = (row - i).astype(np.float32), (col - j).astype(np.float32)
    values = np.concatenate([c.values, c.values.mean(axis=1, keepdims=True)], axis=1)
    d = np.where(detector == 4, 0, np.where(detector == 5, 1, 2))

    def between(plane: int) -> np.ndarray:
        left, right = (
            values[plane][d, i, k] * (one - t) + values[plane][d, i + 1, k] * t for k in (j, j + 1)
        )
        return left + s * (right - left)

    xa, xb, xc, factor = map(between, range(4))
    y = xa * ((numbers.astype(np.float32) - np.float32(1000)) * scale) - xb
    rho = y / (one + xc * y) * np.where(land, factor, one)
    stored = np.rint(np.clip(rho * np.float32(1 / 1e-4), -32767, 32767)).astype(np.int16)
    return np.where(numbers > 0, stored, NODATA)


def test_a_band_without_coefficients_gets_the_offset_only() -> None:
    classes, detector = classes_and_detectors(1)
    correction = Correction(-1000, detector, {})
    numbers = np.full(BOX.shape, 1234, np.uint16)
    rho = corrected(numbers, classes == MaskClass.LAND, detector, correction, "B12", GRID, BOX)
    assert (rho == 234).all()
    assert (counts(rho, classes, detector, correction, "B12", GRID, BOX) == 1234).all()


def test_an_unknown_detector_gets_the_mean_of_all() -> None:
    c = coefficients(5)
    mean = Coefficients(c.left, c.top, c.step, np.array([9], np.uint8), c.values.mean(axis=1, keepdims=True))
    numbers, land = np.full(BOX.shape, 3000, np.uint16), np.ones(BOX.shape, bool)
    unknown = np.full(BOX.shape, 9, np.uint8)
    one = corrected(numbers, land, unknown, Correction(0, unknown, {"B02": c}), "B02", GRID, BOX)
    other = corrected(numbers, land, unknown, Correction(0, unknown, {"B02": mean}), "B02", GRID, BOX)
    assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("air", [True, False])
def test_what_is_stored_is_what_is_read(air: bool) -> None:
    c = coefficients(7)
    if not air:
        c.values[0], c.values[1], c.values[2] = 1, 0, 0
    written = Correction(-1000, np.ones((3, 4), np.uint8), {"B02": c})
    arrays = correction_arrays(written)
    assert ("B02_xa" in arrays) == air
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    read = read_correction(buffer.getvalue(), "correction.npz")
    assert read.offset == -1000
    np.testing.assert_array_equal(read.bands["B02"].values, c.values)
    np.testing.assert_array_equal(read.bands["B02"].detectors, c.detectors)
    assert (read.bands["B02"].left, read.bands["B02"].step) == (c.left, c.step)


def test_a_part_of_a_box_gets_the_same_pixels_as_the_whole() -> None:
    classes, detector = classes_and_detectors(2)
    numbers = np.random.default_rng(4).integers(1, 9000, BOX.shape).astype(np.uint16)
    correction = Correction(0, detector, {"B02": coefficients(2)})
    land = classes == MaskClass.LAND
    whole = corrected(numbers, land, detector, correction, "B02", GRID, BOX)
    part = PixelBox(BOX.row0 + 20, BOX.col0 + 30, BOX.row0 + 50, BOX.col0 + 70)
    inside = part.within(BOX)
    alone = corrected(numbers[inside], land[inside], detector[inside], correction, "B02", GRID, part)
    assert np.abs(alone.astype(int) - whole[inside]).max() <= 1
