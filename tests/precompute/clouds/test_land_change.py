"""New land cover is no cloud and no shadow: what two dates show is kept, what one shows alone is not."""

import numpy as np
import pytest

from terrazzo.precompute.normalize.composite import (
    Stack,
    by_date,
    date_weights,
    lasting,
    outliers,
    weighted_median,
)

BEFORE = (0.035, 0.03, 0.38)
"""Blue, red and near infrared of a crop."""
AFTER = {
    "harvested": (0.085, 0.14, 0.24),
    "flooded, turbid": (0.085, 0.09, 0.05),
    "flooded, clear": (0.03, 0.02, 0.02),
    "burnt": (0.03, 0.035, 0.10),
}
CLOUD, SHADOW = (0.10, 0.09, 0.45), (0.02, 0.015, 0.2)
SIDE, PATCH = 40, np.s_[10:25, 12:30]


def series(changed: dict[int, tuple[float, float, float]], dates: int = 6) -> Stack:
    """Dates of one crop, all of them clear by their masks, with other values in a patch on some."""
    rng = np.random.default_rng(3)
    bands = np.empty((3, dates, SIDE, SIDE), np.float32)
    for d in range(dates):
        for band, value in zip(bands, BEFORE, strict=True):
            band[d] = value
        for band, value in zip(bands, changed.get(d, BEFORE), strict=True):
            band[d][PATCH] = value
    bands *= rng.normal(1, 0.01, bands.shape).astype(np.float32)
    clear = np.ones(bands.shape[1:], bool)
    return Stack(*bands, clear, np.ones(bands.shape[1:], np.float32), np.arange(dates))


def kept(stack: Stack) -> np.ndarray:
    """(date,) share of the patch that stays in use."""
    usable = np.where(stack.clear, stack.weight, 0).astype(np.float32)
    weights = date_weights(stack)
    reference = np.stack(
        [weighted_median(by_date(v, usable, stack.date), weights) for v in (stack.blue, stack.red, stack.nir)]
    )
    out = np.stack(
        [outliers(*three, reference) for three in zip(stack.blue, stack.red, stack.nir, strict=True)]
    )
    keep = stack.clear & (~out | lasting(stack, reference, np.argsort(np.unique(stack.date))))
    return np.array([k[PATCH].mean() for k in keep])


@pytest.mark.parametrize("what", AFTER)
@pytest.mark.parametrize("since", [2, 3, 4])
def test_a_change_that_stays_is_kept(what: str, since: int) -> None:
    assert (kept(series(dict.fromkeys(range(since, 6), AFTER[what])))[since:] > 0.98).all()


@pytest.mark.parametrize("value", [CLOUD, SHADOW])
def test_what_one_date_shows_alone_is_dropped(value: tuple[float, float, float]) -> None:
    share = kept(series({3: value}))
    assert share[3] < 0.05
    assert (np.delete(share, 3) > 0.98).all()


def test_a_flood_that_runs_off_is_kept_on_both_its_dates() -> None:
    share = kept(series({2: AFTER["flooded, clear"], 3: AFTER["flooded, clear"]}))
    assert (share > 0.98).all()


def test_two_clouds_one_after_the_other_are_dropped() -> None:
    share = kept(series({2: (0.10, 0.09, 0.45), 3: (0.16, 0.15, 0.52)}))
    assert (share[2:4] < 0.05).all()
