"""How likely a pixel is clear, 0 to 100: the classifier's probability as it comes true on places that it has not seen."""

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import CLOUDED, SCORE_NODATA, MaskClass
from terrazzo.precompute.clouds.mask import FULL, Mask
from terrazzo.precompute.clouds.model import CLASSES

GROUND = (MaskClass.LAND, MaskClass.WATER, MaskClass.SNOW)
KNOTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Probabilities of ground, the pixel's own, between which scores are linear."""
AS_CLEAR, AS_FLAGGED = (3, 73, 75, 92, 99, 99), (1, 18, 28, 66, 95, 95)
"""Per cent of the pixels with these probabilities that are clear, where the mask calls them so and where it flags them: by what lies around
them, by objects and by rays to the sun the mask knows more than the pixel does. Measured under simulated skies, each place by a classifier
fitted without it, all numbers of bands alike."""
UNSURE = (20, 80)
"""Scores between which a pixel is unsure."""


def clear_score(mask: Mask) -> NDArray[np.uint8]:
    """(row, col) per cent likely that a pixel is clear, `SCORE_NODATA` without data; 0 where a band is saturated."""
    known = mask.classes != MaskClass.NODATA
    ground = mask.probabilities[[CLASSES.index(c) for c in GROUND]].sum(axis=0, dtype=np.uint16)
    at = np.minimum(ground, FULL)
    table = np.stack(
        [np.interp(np.arange(FULL + 1) / FULL, KNOTS, knots) for knots in (AS_CLEAR, AS_FLAGGED)]
    )
    score = np.rint(table).astype(np.uint8)[np.isin(mask.classes, CLOUDED).astype(np.uint8), at]
    score[mask.classes == MaskClass.DEFECTIVE] = 0
    return np.where(known, score, np.uint8(SCORE_NODATA))


def score_of_classes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The score of a user's own mask, which knows no doubt: 100 for ground, 0 for the rest."""
    ground = np.isin(classes, (*GROUND, MaskClass.TERRAIN_SHADOW))
    return np.where(classes == MaskClass.NODATA, SCORE_NODATA, np.where(ground, 100, 0)).astype(np.uint8)


def unsure_share(score: NDArray[np.uint8]) -> float:
    """Share of the pixels with data whose score lies within `UNSURE`, 0 without any."""
    known = score != SCORE_NODATA
    low, high = UNSURE
    return float(((score >= low) & (score <= high))[known].mean()) if known.any() else 0.0
