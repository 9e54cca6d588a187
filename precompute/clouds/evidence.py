"""The archives' own masks as evidence: how probable each of their values is for each true class."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

SCL_GIVEN_CLASS = np.array(
    # value of the scene classification: 1 satur., 2 dark, 3 shadow, 4 veg., 5 bare, 6 water, 7 unclass.,
    # 8 cloud medium, 9 cloud high, 10 cirrus, 11 snow
    [
        [0.003, 0.020, 0.010, 0.600, 0.280, 0.010, 0.050, 0.007, 0.002, 0.015, 0.003],  # land
        [0.003, 0.040, 0.030, 0.010, 0.010, 0.860, 0.020, 0.007, 0.003, 0.015, 0.002],  # water
        [0.010, 0.010, 0.010, 0.005, 0.040, 0.010, 0.050, 0.060, 0.060, 0.030, 0.715],  # snow
        [0.010, 0.003, 0.005, 0.010, 0.030, 0.002, 0.040, 0.300, 0.550, 0.030, 0.020],  # cloud
        [0.004, 0.010, 0.010, 0.120, 0.030, 0.010, 0.130, 0.270, 0.080, 0.331, 0.005],  # thin cloud
        [0.003, 0.150, 0.580, 0.120, 0.030, 0.030, 0.060, 0.012, 0.005, 0.008, 0.002],  # shadow
    ],
    np.float32,
)
"""Confusion of Sen2Cor's scene classification as its validation reports describe it, rounded, rows sum to 1."""

CLASSI_GIVEN_CLASS = np.array(
    # value of an L1C product's own mask: 0 nothing, 1 opaque cloud, 2 cirrus, 3 snow
    [
        [0.95, 0.02, 0.02, 0.01],  # land
        [0.95, 0.01, 0.03, 0.01],  # water
        [0.27, 0.20, 0.03, 0.50],  # snow
        [0.27, 0.68, 0.04, 0.01],  # cloud
        [0.70, 0.12, 0.17, 0.01],  # thin cloud
        [0.95, 0.02, 0.02, 0.01],  # shadow
    ],
    np.float32,
)
"""The same of the mask an L1C product brings (MSK_CLASSI): our estimate, that it finds two thirds of the clouds and few that are thin, and
no shadows."""
TRUST = 0.8
"""Exponent on the archives' evidence: its errors are not independent of the spectrum the model sees."""


def scl_likelihood(scl: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(class, …) likelihood of a scene classification; 1 where its value says nothing."""
    table = np.ones((6, 256), np.float32)
    table[:, 1:12] = SCL_GIVEN_CLASS**TRUST
    return table[:, scl]


def classi_likelihood(classes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(class, …) likelihood of an L1C product's own mask; 1 where its value says nothing."""
    table = np.ones((6, 256), np.float32)
    table[:, :4] = CLASSI_GIVEN_CLASS**TRUST
    return table[:, classes]


def cloud_probability_likelihood(percent: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(class, …) likelihood of Sen2Cor's cloud probability; values above 100 count as 100.

    Clear pixels have a probability of about 0; thin clouds anything; snow is often taken for cloud.
    """
    p = np.minimum(percent, 100) / np.float32(100)
    out = np.empty((6, *percent.shape), np.float32)
    out[:] = np.exp(-6 * p)
    out[2] = 0.4
    out[3] = 0.08 + 0.92 * p
    out[4] = 0.08 + 0.6 * p
    return np.asarray(out**TRUST, np.float32)


@njit(cache=True, nogil=True)
def multiply(p, table, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Multiplies (class, row, col) probabilities in place with the likelihood (class, 256) of each pixel's value."""
    for k in range(p.shape[0]):
        for r in range(p.shape[1]):
            for c in range(p.shape[2]):
                p[k, r, c] *= table[k, values[r, c]]
