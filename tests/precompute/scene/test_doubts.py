"""A scene's Item says where its mask cannot be relied on."""

import pytest

from terrazzo.precompute.scene.notes import doubts

FOUR, SIX = ("B02", "B03", "B04", "B08"), ("B02", "B03", "B04", "B08", "B11", "B12")


@pytest.mark.parametrize(
    ("bands", "sun_zenith", "words"),
    [
        (SIX, 40.0, []),
        (FOUR, 40.0, ["snow from cloud"]),
        (SIX, 80.0, ["80° from the zenith"]),
        (FOUR, 80.0, ["snow from cloud", "80° from the zenith"]),
        ((), 80.0, []),
    ],
    ids=["all is known", "no short-wave infrared", "low sun", "both", "a mask of one's own"],
)
def test_the_notes_name_what_the_mask_cannot_tell(bands, sun_zenith, words):
    notes = doubts(bands, sun_zenith)
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert word in note
