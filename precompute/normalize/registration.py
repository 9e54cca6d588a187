"""How far a scene lies off the reference, in pixels.

On squares of clear, textured ground the shift is fitted together with a gain and an offset by least squares on image gradients
(Lucas and Kanade 1981), iterated from a start by phase correlation; the scene's shift is the median of its squares.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.precompute.scene.shift import Shift

SIDE = 128
"""Side in pixels of the squares that are compared."""
ROUNDS = 5
FAR = 0.5
"""Pixels off the reference beyond which a scene weighs less."""
LEAST_CLEAR = 0.5
"""Share of a square that must be comparable."""
LEAST_TEXTURE = 0.004
"""Standard deviation of the gradients in reflectance a pixel, below which a square has no texture to match."""
FARTHEST = 4.0
"""Pixels beyond which a square has found something else than a shift."""
LEAST_LIKENESS = 0.6
"""Correlation with the reference after the shift, below which the ground itself has changed."""


def far_off(shift: Shift) -> bool:
    """Whether a scene lies certainly more than half a pixel off."""
    return shift.length - 3 * shift.spread > FAR


def square_shifts(
    image: NDArray[np.float32], reference: NDArray[np.float32], most: int
) -> list[tuple[float, float]]:
    """The shifts of a picture's squares, see `square_shift`; at most `most` of them, evenly spread."""
    places = [
        (r, c)
        for r in range(0, image.shape[0] - SIDE + 1, SIDE)
        for c in range(0, image.shape[1] - SIDE + 1, SIDE)
    ]
    spread = (
        [places[i] for i in np.unique(np.linspace(0, len(places) - 1, most).astype(int))] if places else []
    )
    cuts = [(slice(r, r + SIDE), slice(c, c + SIDE)) for r, c in spread]
    shifts = [square_shift(image[cut], reference[cut]) for cut in cuts]
    return [t for t in shifts if t is not None]


def square_shift(image: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[float, float] | None:
    """(rows, columns) by which the image's ground lies too far down and right; None where a square has too little texture.

    Args:
        image, reference: (row, col) reflectance, NaN where not comparable.
    """
    clear = np.isfinite(image) & np.isfinite(reference)
    if clear.mean() < LEAST_CLEAR:
        return None
    level = float(np.median(reference[clear]))
    # Holes are filled with the reference's own level in both: they add nothing.
    ref = ndimage.gaussian_filter(np.where(clear, reference, level), 1)
    own = ndimage.gaussian_filter(np.where(clear, image, np.median(image[clear])), 1)
    inside = ndimage.binary_erosion(clear, iterations=6, border_value=0)
    if inside.sum() < 0.3 * clear.size or np.std(np.gradient(ref)[0][inside]) < LEAST_TEXTURE / 4:
        return None
    shift = np.array(_whole_shift(own, ref), float)
    moved = own
    for _ in range(ROUNDS):
        moved = ndimage.shift(own, -shift, order=3, mode="nearest")
        down, right = np.gradient(moved)
        # To first order ref = gain · (moved + along · ∂moved/∂row + across · ∂moved/∂col) + offset: linear in four unknowns.
        design = np.stack(
            [moved[inside], down[inside], right[inside], np.ones(inside.sum(), np.float32)], axis=1
        )
        gain, along, across, _ = np.linalg.lstsq(design, ref[inside], rcond=None)[0]
        if gain <= 0:
            return None
        step = np.clip(np.array([along, across]) / gain, -1, 1)
        shift += step
        if np.abs(step).max() < 0.005:
            break
    if np.abs(shift).max() > FARTHEST or np.corrcoef(moved[inside], ref[inside])[0, 1] < LEAST_LIKENESS:
        return None
    return float(shift[0]), float(shift[1])


def _whole_shift(image: NDArray[np.float32], reference: NDArray[np.float32]) -> tuple[int, int]:
    """The shift in whole pixels by phase correlation."""
    taper = np.outer(*(np.hanning(n) for n in image.shape))
    a, b = (np.fft.rfft2((v - v.mean()) * taper) for v in (image, reference))
    cross = a * np.conj(b)
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-12), s=image.shape)
    near = int(FARTHEST)
    rows, cols = (np.r_[0 : near + 1, -near:0] for _ in range(2))
    highest = np.unravel_index(np.argmax(peak[np.ix_(rows, cols)]), (len(rows), len(cols)))
    return int(rows[highest[0]]), int(cols[highest[1]])


def scene_shift(squares: list[tuple[float, float]]) -> Shift | None:
    """The shift of a scene from those of its squares, (rows, columns) each; None from fewer than three."""
    if len(squares) < 3:
        return None
    down, right = np.array(squares).T
    # 1.4826 makes a median absolute deviation a standard deviation, √(π/2) that of a mean one of a median.
    spread = [1.4826 * np.median(np.abs(v - np.median(v))) for v in (down, right)]
    error = 1.2533 * max(spread) / np.sqrt(len(squares))
    return Shift(float(np.median(right)), -float(np.median(down)), float(error), len(squares))
