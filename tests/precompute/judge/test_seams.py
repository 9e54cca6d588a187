"""Seam figures, reference and solver on arrays of known truth."""

import warnings
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from terrazzo.edges import EDGES, SEGMENTS
from terrazzo.precompute.judge.seams import SeamPlaces, error_step, step_ratio, window_grid
from terrazzo.precompute.normalize import composite, solve

SHAPE = (5, 6)


def observations(scale: dict[int, float]) -> solve.Observations:
    """Strips of a 4 × 5 grid of windows that scenes 0, 1, … see with a factor each."""
    rng = np.random.default_rng(1)
    land = rng.uniform(0.02, 0.2, (SHAPE[0] - 1, SHAPE[1] - 1, len(EDGES), SEGMENTS))
    wy, wx, edge, segment = (v.ravel() for v in np.indices(land.shape))
    corner = wy * SHAPE[1] + wx
    n, count = land.size, len(scale)
    corners = np.stack([corner, corner + 1, corner + SHAPE[1], corner + SHAPE[1] + 1], axis=1)
    return solve.Observations(
        scene=np.repeat(np.arange(count), n),
        strip=np.tile(np.arange(n), count),
        corners=np.tile(corners, (count, 1)),
        hats=np.tile(solve.strip_hats(64, 8)[edge, segment], (count, 1)),
        m=np.concatenate([land.ravel() * f for f in scale.values()]),
        r=np.tile(land.ravel(), count),
        weight=np.ones(n * count),
    )


def solved(obs: solve.Observations, clarity: list[float], band: str) -> list[solve.Field]:
    return solve.solve_fields(
        obs,
        shapes=[SHAPE] * len(clarity),
        prior=solve.prior(np.array(clarity), band, 3840.0),
        free=np.ones(len(clarity), bool),
    )


def test_identical_scenes_get_gain_one_and_offset_zero() -> None:
    for field in solved(observations({0: 1.0, 1: 1.0, 2: 1.0}), [1.0, 0.7, 0.4], "B02"):
        assert np.abs(field.gain - 1).max() <= 1e-3
        assert np.abs(field.offset).max() <= 2e-4


def test_a_hazy_scene_moves_to_the_clear_one_and_not_the_other_way() -> None:
    obs = observations({0: 1.0, 1: 0.98})
    hazes = 0.03 * (obs.scene == 1)
    clear, hazy = solved(replace(obs, m=obs.m + hazes), [1.0, 0.3], "B02")
    land = obs.m[obs.scene == 0]
    moved = np.abs(clear.gain.mean() * land + clear.offset.mean() - land).mean()
    left = np.abs(hazy.gain.mean() * (0.98 * land + 0.03) + hazy.offset.mean() - land).mean()
    assert moved < 0.02 * land.mean()
    assert left < 0.05 * 0.03


def test_light_of_haze_comes_off_as_an_offset_and_contrast_stays() -> None:
    obs = observations({0: 1.0, 1: 1.0, 2: 1.0})
    light = np.array([0.0, 0.01, 0.03])[obs.scene]
    dimmed = np.array([1.0, 0.995, 0.985])[obs.scene]
    rng = np.random.default_rng(3)
    obs = replace(obs, m=dimmed * obs.m + light + rng.normal(0, 0.0005, len(obs.m)))
    for number, field in enumerate(solved(obs, [1.0, 0.8, 0.3], "B02")):
        o = obs.scene == number
        gain, offset = (
            (v.ravel()[obs.corners[o]] * obs.hats[o]).sum(axis=1) for v in (field.gain, field.offset)
        )
        slope, level = np.polyfit(obs.r[o], gain * obs.m[o] + offset, 1)
        assert abs(slope - 1) < 0.01
        assert abs(level) < 0.001


def test_a_strip_half_under_clouds_is_compared_on_what_is_clear() -> None:
    obs = observations({0: 1.0, 1: 1.0, 2: 1.0})
    # In the last scene clouds hide the darker half: it shows brighter pixels, and so does the reference there.
    brighter = np.where(obs.scene == 2, 1.3, 1.0)
    obs = replace(obs, m=brighter * obs.m, r=brighter * obs.r, weight=np.where(obs.scene == 2, 0.5, 1.0))
    for field in solved(obs, [1.0, 0.9, 0.9], "B04"):
        assert np.abs(field.gain * 0.1 + field.offset - 0.1).max() < 0.001


def test_ground_that_changes_in_clear_scenes_is_not_normalized_away() -> None:
    obs = observations({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0})
    row, col = np.divmod(obs.corners[:, 0], SHAPE[1])
    harvested = (obs.scene >= 2) & (row >= 1) & (col >= 2)
    fields = solved(replace(obs, m=obs.m + 0.04 * harvested), [1.0] * 4, "B04")
    for field in fields:
        assert np.abs(field.gain * 0.1 + field.offset - 0.1).max() < 0.0015


def test_scenes_reach_the_level_of_another_composite_however_clear_they_are() -> None:
    obs = observations({0: 1.1, 1: 1.1})
    obs = replace(obs, m=obs.m + 0.01)
    fields = solve.solve_fields(
        obs,
        shapes=[SHAPE] * 2,
        prior=solve.prior(np.zeros(2), "B04", 3840.0),
        free=np.ones(2, bool),
        known=True,
    )
    for field in fields:
        assert np.abs(field.gain * (1.1 * 0.1 + 0.01) + field.offset - 0.1).max() < 0.001
        assert np.abs(field.gain - 1 / 1.1).max() < 0.02


def test_gains_are_the_same_bits_on_any_number_of_processors() -> None:
    obs = observations({i: 1 + 0.001 * i for i in range(400)})
    obs = replace(obs, m=obs.m * np.random.default_rng(2).normal(1, 0.02, obs.m.size))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            found.append(np.stack([f.gain for f in solved(obs, [0.9] * 400, "B02")]))
    assert np.array_equal(*found)


def test_the_weighted_median_moves_continuously_when_a_scene_enters() -> None:
    values = np.array([0.1, 0.2, 0.9], np.float32)[:, None, None]
    weights = np.array([1.0, 1.0, 0.0], np.float32)[:, None, None]
    without = composite.weighted_median(values, weights)[0, 0]
    weights[2] = 1e-4
    assert abs(composite.weighted_median(values, weights)[0, 0] - without) < 1e-3
    assert np.isnan(composite.weighted_median(values, 0 * weights)).all()


def test_a_missed_shadow_does_not_pass_for_the_clearest_date() -> None:
    shape = (4, 20, 20)
    blue = np.full(shape, 0.06, np.float32)
    red, nir = np.full(shape, 0.09, np.float32), np.full(shape, 0.33, np.float32)
    spot = (3, slice(5, 15), slice(5, 15))
    blue[spot], red[spot], nir[spot] = 0.002, 0.012, 0.05
    stack = composite.Stack(
        blue, red, nir, np.ones(shape, bool), np.ones(shape, np.float32), np.arange(4, dtype=np.int64)
    )
    weights = composite.date_weights(stack)
    # The shadow's smoothed rim still lies a little below the other dates.
    assert weights[:3].min() > 0.7
    assert weights[spot].max() < 0.1
    reference = np.stack([composite.weighted_median(v, weights) for v in (blue, red, nir)])
    assert not composite.outliers(blue[0], red[0], nir[0], reference).any()
    assert composite.outliers(blue[3], red[3], nir[3], reference)[8:12, 8:12].all()


def test_a_day_under_cloud_is_never_taken_for_the_land_that_a_shadow_lies_on() -> None:
    hot = np.array([0.01, 0.2, 0.25], np.float32)[:, None, None]
    blue = np.array([0.04, 0.4, 0.5], np.float32)[:, None, None]
    nir = np.array([0.3, 0.6, 0.7], np.float32)[:, None, None]
    assert not composite.shaded(hot, blue, nir).any()


def test_the_error_step_is_the_seam_and_not_the_field_edge_it_lies_on() -> None:
    rng = np.random.default_rng(2)
    land = np.full((1, 40, 40), 0.05, np.float32)
    land[:, :, 20:] = 0.12
    days = {d: (land + rng.normal(0, 1e-4, land.shape)).astype(np.float32) for d in "abc"}
    region = np.zeros((40, 40), bool)
    region[:, 20:] = True
    dr, dc = (v.ravel() for v in np.meshgrid(np.arange(-7, 9), np.arange(-7, 9), indexing="ij"))
    rows, cols = np.array([[12], [20], [28]]) + dr, np.full((3, 1), 20) + dc
    where = SeamPlaces(rows, cols, region[rows, cols])
    for seam in (0.0, 0.002, 0.01):
        shown = land.copy()
        shown[:, region] += np.float32(seam)
        found = error_step(where, dict.fromkeys(days, shown), days)
        assert abs(found.error[0] - seam) < 1e-4
        assert found.single[0] < 1e-4


def test_a_single_day_has_no_error_steps_for_nothing_judges_it() -> None:
    land = np.full((2, 8, 8), 0.1, np.float32)
    where = SeamPlaces(np.array([[2, 2, 5, 5]]), np.array([[2, 5, 2, 5]]), np.ones((1, 4), bool))
    found = error_step(where, {"2023-08-13": land}, {"2023-08-13": land})
    assert found.count == 0
    assert np.isnan(found.error).all()


def test_the_step_ratio_is_1_without_a_seam_and_grows_with_it() -> None:
    rng = np.random.default_rng(4)
    land = np.kron(rng.uniform(0.03, 0.15, (1, 12, 12)), np.ones((1, 5, 5))).astype(np.float32)
    region = np.zeros((60, 60), bool)
    region[:, 30:] = True
    dr, dc = (v.ravel() for v in np.meshgrid(np.arange(-7, 9), np.arange(-7, 9), indexing="ij"))
    rows, cols = np.arange(10, 50, 5)[:, None] + dr, np.full((8, 1), 30) + dc
    where = SeamPlaces(rows, cols, region[rows, cols])
    found = []
    for seam in (0.0, 0.1, 0.2):
        shown = land.copy()
        shown[:, region] += np.float32(seam)
        found.append(float(step_ratio(where, shown, {"a": land, "b": land})[0]))
    assert abs(found[0] - 1) < 1e-6
    assert 1 < found[1] < found[2]
    assert np.isnan(step_ratio(where, np.full_like(land, np.nan), {"a": land})).all()


def test_the_window_grid_shows_where_there_is_one() -> None:
    rng = np.random.default_rng(5)
    picture = rng.normal(0.1, 0.01, (2, 128, 128)).astype(np.float32)
    assert np.abs(window_grid(picture, 16) - 1).max() < 0.05
    level = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((16, 16))).astype(np.float32)
    assert (window_grid(picture + 0.01 * level, 16) > 1.1).all()
    assert np.isnan(window_grid(np.full_like(picture, np.nan), 16)).all()


def test_a_band_without_data_or_of_one_number_has_no_window_grid_and_takes_none_from_others() -> None:
    picture = np.random.default_rng(5).normal(0.1, 0.01, (3, 128, 128)).astype(np.float32)
    picture[1], picture[2] = np.nan, 3.2767
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ratio = window_grid(picture, 16)
    assert abs(ratio[0] - 1) < 0.05
    assert np.isnan(ratio[1:]).all()
