"""A scene's Item says where its mask cannot be relied on."""

import numpy as np
import pytest

from terrazzo.bands import SCORE_NODATA, MaskClass
from terrazzo.precompute.scene.notes import doubts_of_classifier, doubts_of_mask

FOUR, SIX = ("B02", "B03", "B04", "B08"), ("B02", "B03", "B04", "B08", "B11", "B12")


@pytest.mark.parametrize(
    ("bands", "sun_zenith", "words"),
    [
        (SIX, 40.0, []),
        (FOUR, 40.0, ["snow and cloud"]),
        (SIX, 80.0, ["80° from the zenith"]),
        (FOUR, 80.0, ["snow and cloud", "80° from the zenith"]),
        (SIX, 91.0, ["below the horizon"]),
        ((), 80.0, []),
    ],
    ids=["all is known", "no short-wave infrared", "low sun", "both", "night", "a mask of one's own"],
)
def test_the_notes_name_what_the_mask_cannot_decide(bands, sun_zenith, words):
    notes = doubts_of_classifier(bands, sun_zenith)
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert word in note


def test_a_scene_says_that_its_mask_is_not_sure():
    classes = np.full((10, 10), MaskClass.LAND, np.uint8)
    score = np.full((10, 10), 97, np.uint8)
    assert not doubts_of_mask(classes, score, 45.0)
    score[:4] = 55
    assert "uncertain in 40%" in doubts_of_mask(classes, score, 45.0)[0]
    score[:] = SCORE_NODATA
    assert not doubts_of_mask(classes, score, 45.0)


@pytest.mark.parametrize(("latitude", "notes"), [(70.0, 1), (-70.0, 1), (45.0, 0)])
def test_ice_beside_water_is_doubtful_where_the_sea_freezes(latitude, notes):
    classes = np.full((10, 10), MaskClass.WATER, np.uint8)
    classes[:2] = MaskClass.SNOW
    assert len(doubts_of_mask(classes, np.full((10, 10), 97, np.uint8), latitude)) == notes
