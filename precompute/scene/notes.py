"""What the user should know of a scene, in words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import MaskClass
from terrazzo.precompute.clouds.score import UNSURE, unsure_share
from terrazzo.precompute.correct.brdf import COEFFICIENTS, LOWEST_SUN, SUN, Brdf
from terrazzo.precompute.correct.factors import view_of
from terrazzo.precompute.products.angles import Angles
from terrazzo.precompute.products.product import SWIR
from terrazzo.precompute.scene.prepare import Prepared
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import class_shares

DARKEST_TRAINED = 76.0
"""Degrees from the zenith of the lowest sun that the classifier of clouds was trained with."""
HORIZON = 90.0
"""Degrees from the zenith."""
MOSTLY_UNSURE = 0.25
"""Share of pixels of doubtful score from which a scene's Item says so."""
ICY_LATITUDE, ICY = 55.0, 0.05
"""Degrees from the equator beyond which the sea freezes, and share of snow and of water from which it may have."""
LITTLE = 0.01
"""Share of clear pixels below which a scene hardly shows."""


def doubts_of_classifier(bands: Sequence[str], sun_zenith: float) -> list[str]:
    """Notes on where the cloud classifier was trained little or is unreliable.

    Args:
        bands: what the mask was made from; none: the user's own.
        sun_zenith: degrees.
    """
    if not bands:
        return []
    notes = []
    if not set(SWIR) & set(bands):
        notes.append(
            "no short-wave infrared in the product, so snow and cloud cannot be distinguished: white pixels count as"
            " cloud; fetch B11 where snow matters"
        )
    if sun_zenith >= HORIZON:
        notes.append("the sun is below the horizon: there is no mask to rely on; leave the scene out")
    elif sun_zenith > DARKEST_TRAINED:
        notes.append(
            f"the sun stands {sun_zenith:.0f}° from the zenith, and the cloud classifier was trained up to {DARKEST_TRAINED:g}°:"
            " the mask is doubtful"
        )
    return notes


def doubts_of_mask(classes: NDArray[np.uint8], score: NDArray[np.uint8], latitude: float) -> list[str]:
    """What a mask shows that makes it doubtful, in words.

    Args:
        classes, score: (row, col) of the mask.
        latitude: degrees.
    """
    notes, unsure = [], unsure_share(score)
    if unsure > MOSTLY_UNSURE:
        low, high = UNSURE
        notes.append(
            f"the mask is uncertain in {unsure:.0%} of the pixels (clear score {low} to {high}); min_score leaves such pixels out"
        )
    least = ICY * np.count_nonzero(classes != MaskClass.NODATA)
    icy = all(np.count_nonzero(classes == c) > least for c in (MaskClass.SNOW, MaskClass.WATER))
    if abs(latitude) > ICY_LATITUDE and icy:
        notes.append(
            f"snow or ice beside water at {abs(latitude):.0f}° of latitude: the classifier was not trained on sea ice; thin cloud over it may count as clear"
        )
    return notes


def notes_of(prepared: Prepared, recipe: Recipe, bands: Sequence[str], latitude: float) -> list[str]:
    """Notes for the user on a scene that was computed in spite of doubts.

    Args:
        latitude: of the scene's middle, degrees.
    """
    offset, notes = prepared.offset, list(prepared.notes)
    notes += doubts_of_classifier(prepared.seen_by, prepared.angles.mean_sun[0])
    notes += doubts_of_mask(prepared.classes, prepared.score, latitude)
    clear, clouded = class_shares(dict(enumerate(np.bincount(prepared.classes.ravel()).tolist())))
    if clear < LITTLE:
        what = "nearly all cloud" if clouded > 0.5 else "few clear pixels"
        notes.append(
            f"{what}: {clear:.1%} of it is clear, {clouded:.0%} cloud or shadow; it shows only where nothing better is"
        )
    if offset.conflicts:
        notes.append(
            f"the statements on the offset are contradictory ({', '.join(offset.conflicts)}):"
            f" {offset.value} is used, by evidence of the {offset.decided_by}; `terrazzo inspect scene` shows it"
        )
    if recipe.brdf != "off" and not prepared.angles.view:
        notes.append("no angle grids (granule metadata) in the product: view angles are not corrected")
    if recipe.brdf != "off" and prepared.angles.view and not prepared.detector.any():
        notes.append(
            "no detector footprint in the product: view angles were corrected by the mean of all detectors"
        )
    lowest = float(prepared.angles.sun_zenith.max())
    if recipe.brdf != "off" and prepared.angles.view and lowest > LOWEST_SUN:
        notes.append(
            f"the sun is up to {lowest:.0f}° from the zenith: view angles were corrected as at {LOWEST_SUN:g}°"
        )
    others = {b: view_of(prepared.angles, b) for b in bands if b in COEFFICIENTS}
    lacking = [f"{b} by those of {other}" for b, other in others.items() if other and other != b]
    if recipe.brdf != "off" and lacking:
        notes.append(f"the granule metadata lack view angles of some bands: corrected {', '.join(lacking)}")
    every = {d for view in prepared.angles.view.values() for d in view}
    partly = [b for b, other in others.items() if other == b and every - set(prepared.angles.view[b])]
    if recipe.brdf != "off" and partly:
        notes.append(
            f"the granule metadata lack view angles of some detectors in {', '.join(partly)}: corrected by the mean of the others"
        )
    if recipe.shift is not None:
        s = recipe.shift
        notes.append(
            f"its ground lay {s.east:.2f} pixels too far east and {s.north:.2f} too far north (±{s.spread:.2f}):"
            " it was resampled once onto the other dates"
        )
    return notes


def brdf_line(angles: Angles, brdf: Brdf, bands: Sequence[str]) -> str:
    if brdf == "off":
        return "view angles not corrected (--brdf off)"
    if not angles.view:
        return "view angles not corrected: the product has no angle grids"
    sun = f", sun to {SUN:g}° from the zenith" if brdf == "nadir+sun" else ""
    without = [b for b in bands if b not in COEFFICIENTS]
    but = f", but not in {', '.join(without)}, which have no coefficients" if without else ""
    return f"view angles corrected to nadir{sun} over land, c-factor{but}"
