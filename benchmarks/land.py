"""Synthetic land for benchmarks: texture at all scales, parcels with sharp edges, water, clouds, sensor noise.

Values depend on the pixel of the zone grid and the scene's own numbers alone, so scenes of one place show one
land. The grain is calibrated so that a file compresses as real imagery of 10 m does (about 9 bit a pixel).
"""

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

PERIOD = 4096
"""Side in pixels after which the fine texture repeats; parcels and the coarse texture do not repeat with it."""
SPECTRA = {"B02": (250, 900, 350), "B03": (420, 1150, 300), "B04": (300, 1700, 220), "B08": (3900, 2300, 130)}
"""Counts of the greenest parcel, the barest parcel and water."""
OTHER = (1200, 2200, 200)


@cache
def fractal(side: int, seed: int) -> NDArray[np.float32]:
    """(side, side) float32 periodic field with a power spectrum of 1/f², mean 0, standard deviation 1."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    f[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / f
    field: NDArray[np.float32] = np.fft.irfft2(spectrum, (side, side)).astype(np.float32)
    return (field - field.mean()) / field.std()


@njit(cache=True, nogil=True)
def _mix(a, b, seed):  # pragma: no cover
    """Pseudo-random number in [0, 1) of two integers."""
    h = np.uint64(a * 73856093) ^ np.uint64(b * 19349663) ^ np.uint64(seed * 83492791)
    h = (h ^ (h >> np.uint64(15))) * np.uint64(0x2C1B3C6D)
    h = (h ^ (h >> np.uint64(12))) * np.uint64(0x297A2D39)
    h = h ^ (h >> np.uint64(15))
    return np.float32(h & np.uint64(0xFFFFFF)) / np.float32(0x1000000)


@njit(cache=True, nogil=True)
def paint(
    out, row0, col0, texture, classes, factor, spectrum, noise, seed, gain, offset, slope
):  # pragma: no cover
    """Fills (row, col) int16 counts of one band of one scene.

    Args:
        classes: (row / factor, col / factor) uint8 mask classes; 0 stays no data.
        spectrum: green, bare and water counts.
        noise: half range of the sensor's noise in counts.
        gain, offset, slope: what the scene adds to the land: factor, counts, and counts across its width.
    """
    n = texture.shape[0]
    green, bare, water = spectrum
    height, width = out.shape
    for i in range(height):
        r = row0 + i
        for j in range(width):
            c = col0 + j
            k = classes[i // factor, j // factor]
            if k == 0:
                out[i, j] = -32768
                continue
            fine = texture[r % n, c % n]
            coarse = texture[(r // 23) % n, (c // 23) % n]
            if coarse < -1.5:
                v = water * (1.0 + 0.05 * fine)
            else:
                # Parcels: cells of about 300 × 500 m whose borders wander with the texture.
                a = _mix((r + int(9 * coarse)) // 31, (c + int(11 * coarse)) // 53, 1)
                v = (green + (bare - green) * a * a) * (1.0 + 0.16 * fine + 0.12 * coarse)
            v = v * gain + offset + slope * j / width
            if k == 4 or k == 5:
                v += (3500.0 if k == 4 else 700.0) * (1.0 + 0.3 * coarse)
            elif k == 6:
                v *= 0.55
            v += noise * (_mix(r, c, seed) + _mix(r, c, seed + 7) - 1.0)
            out[i, j] = max(-900, min(16000, int(v)))


def clouds(
    shape: tuple[int, int], place: tuple[int, int], share: float, seed: int, texture: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """(row, col) uint8 mask classes on the mask grid: land, water, cloud, thin cloud, shadow.

    Args:
        place: row and column of the first pixel.
        share: of cloud, 0–1; shadows and thin rims come on top.
    """
    n = len(texture)
    rows, cols = np.arange(shape[0]) + place[0], np.arange(shape[1]) + place[1]
    coarse = texture[np.ix_((2 * rows // 23) % n, (2 * cols // 23) % n)]
    classes = np.where(coarse < -1.5, 2, 1).astype(np.uint8)
    if share <= 0:
        return classes
    shift = np.random.default_rng(seed).integers(0, n, 2)
    # Clouds of some kilometres with ragged rims: the texture stretched, and a little of itself unstretched.
    big = texture[np.ix_((rows // 3 + shift[0]) % n, (cols // 3 + shift[1]) % n)]
    height = big + 0.1 * texture[np.ix_((rows + shift[1]) % n, (cols + shift[0]) % n)]
    cloud, thin = height > np.quantile(height, 1 - share), height > np.quantile(height, 1 - 1.15 * share)
    shadow = np.roll(cloud, (-18, 11), (0, 1))
    classes[shadow] = 6
    classes[thin] = 5
    classes[cloud] = 4
    return classes
