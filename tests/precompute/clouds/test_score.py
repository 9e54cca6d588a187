"""The clear score: per cent likely that a pixel is clear, beside its class."""

import numpy as np

from terrazzo.bands import SCORE_NODATA, MaskClass
from terrazzo.precompute.clouds.mask import FULL, UNKNOWN, Mask
from terrazzo.precompute.clouds.model import CLASSES
from terrazzo.precompute.clouds.score import clear_score, score_of_classes, unsure_share


def mask_of(classes: list[int], ground: list[int]) -> Mask:
    """A mask of one row: classes, and probabilities of land, 0–250, the rest of which is cloud; 255 is unknown."""
    p = np.zeros((len(CLASSES), 1, len(classes)), np.uint8)
    p[CLASSES.index(MaskClass.LAND), 0] = ground
    p[CLASSES.index(MaskClass.CLOUD), 0] = np.maximum(FULL - np.array(ground), 0)
    p[:, 0, np.array(ground) == UNKNOWN] = UNKNOWN
    return Mask(np.array([classes], np.uint8), p)


def test_a_score_rises_with_the_probability_of_ground_and_falls_where_the_mask_flags():
    ground = list(range(0, FULL + 1, 10))
    clear, flagged = (
        clear_score(mask_of([c] * len(ground), ground))[0].astype(int)
        for c in (MaskClass.LAND, MaskClass.THIN_CLOUD)
    )
    for score in (clear, flagged):
        assert (np.diff(score) >= 0).all()
        assert score.min() >= 0
        assert score.max() < 100
        assert len(np.unique(score)) > 15
    assert (flagged < clear).all()


def test_nothing_is_scored_without_data_and_saturated_pixels_have_0():
    score = clear_score(mask_of([MaskClass.NODATA, MaskClass.DEFECTIVE], [UNKNOWN, 200]))
    assert score.tolist() == [[SCORE_NODATA, 0]]


def test_a_users_own_mask_knows_no_doubt():
    score = score_of_classes(np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8]], np.uint8))
    assert score.tolist() == [[SCORE_NODATA, 100, 100, 100, 0, 0, 0, 0, 100]]
    assert unsure_share(score) == 0


def test_the_unsure_share_counts_pixels_with_data():
    assert unsure_share(np.array([[SCORE_NODATA, 10, 50, 90]], np.uint8)) == 1 / 3
    assert unsure_share(np.full((2, 2), SCORE_NODATA, np.uint8)) == 0
