"""Where a shadow is believed: on the ray from a cloud, and no more of them than clouds could throw."""

import numpy as np
import pytest

from terrazzo.precompute.clouds.mask import DOUBTED, FULL, LIKELY, _needed
from terrazzo.precompute.clouds.spatial import possible_shadows

PIXEL, SUN = 40.0, (45.0, 180.0)
"""Metres; zenith and azimuth: the sun stands in the south, shadows fall north."""
CLOUD, SHADOW = np.s_[120:130, 100:130], np.s_[90:100, 100:130]


def needed_over(ground: float, shadow: float) -> tuple[np.ndarray, np.ndarray]:
    """What is needed, and what is likely, 0–250, where one cloud stands over ground of an even probability of shadow."""
    clouds = np.zeros((200, 200), bool)
    clouds[CLOUD] = True
    likely = np.full(clouds.shape, round(ground * FULL), np.uint8)
    likely[SHADOW] = round(shadow * FULL)
    return _needed(clouds, likely, PIXEL, SUN, DOUBTED), likely


def test_a_shadow_on_bright_ground_needs_little():
    needed, likely = needed_over(0.05, 0.4)
    assert (likely > needed)[SHADOW].all()
    assert needed[95, 115] == pytest.approx(LIKELY * FULL)


def test_a_dark_forest_under_a_small_cloud_is_no_shadow_but_the_cloud_s_is():
    needed, likely = needed_over(0.45, 0.7)
    seen = likely > needed
    assert seen[SHADOW].all()
    assert not seen[60:85, 105:125].any()


def test_rays_decide_where_a_shadow_can_lie():
    clouds = np.zeros((200, 200), bool)
    clouds[CLOUD] = True
    possible = possible_shadows(clouds, sun_zenith=SUN[0], sun_azimuth=SUN[1], pixel=PIXEL)
    assert (possible[SHADOW] == 2).all()
    assert (possible[:, :90] != 2).all()
    assert (possible[190:, 100:130] == 1).all()
