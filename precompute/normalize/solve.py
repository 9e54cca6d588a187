"""Solves gains and offsets on window corners from strips of many scenes.

What a scene shows of a strip is m = α·T + β + noise: T is the reflectance of the ground, unknown and common to all scenes; α and β vary
smoothly over each scene. All scenes of a band are solved for together, T eliminated strip by strip: regularized least squares with Huber's
weights, iterated (Gauss–Newton, IRLS), by conjugate gradients without forming the normal matrix. The way back normalizes a scene: gain 1/α,
offset −β/α. The noise is that of what scenes show: a fit of T to m would flatten the contrast of every scene, and logarithms of haze, which
adds light, would too.

It is relative radiometric normalization (Yuan and Elvidge 1996, doi 10.1016/0924-2716(96)00018-4; Canty and Nielsen 2008, doi
10.1016/j.rse.2007.07.013), of all scenes at once and without choosing invariant pixels: strips that changed lose their weight. Weights: Huber 1964
(doi 10.1214/aoms/1177703732), with Cauchy's beyond, iterated as by Holland and Welsch 1977 (doi 10.1080/03610927708827533). Conjugate
gradients: Hestenes and Stiefel 1952 (doi 10.6028/jres.049.044).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg
from threadpoolctl import threadpool_limits

from terrazzo.bands import BANDS
from terrazzo.edges import EDGES, SEGMENTS

FLOOR = 0.01
"""Reflectance added before shares of it are taken: keeps dark water from ruling the fit."""
NOISE = 0.02
"""Standard deviation of what a scene shows of a strip, as a share of its reflectance."""
GAIN_VISIBLE, GAIN_INFRARED = (0.1, 0.04), (0.2, 0.1)
"""Standard deviation of α about 1 in a hazy and in a clear scene; haze hardly matters in the infrared."""
OFFSET = (0.16, 0.004)
"""Standard deviation of β at B02 in a hazy and in a clear scene; at other bands it falls as the light of haze does."""
HAZY, CLEAR = 0.80, 0.98
"""Clarity at and below which a scene is hazy, at and above which it is clear."""
GAIN_SMOOTH, OFFSET_SMOOTH = 0.02, 0.012
"""Standard deviation of the change of α, and of β at B02, over `SMOOTH_LENGTH`."""
SMOOTH_LENGTH = 7700.0
HAZE_EXPONENT = 1.9
"""Power of the wavelength by which the light of haze falls."""
HUBER = 1.345
"""Misfit in standard deviations from which a strip pulls no harder; costs 5 % of the precision where noise is Gaussian (Holland and Welsch)."""
CHANGE, AIR = 2.0, 0.5
"""Misfit at which a strip counts half, in standard deviations of noise and of this share of β's own: what differs by more than air explains
is true change, and pulls no gain."""
TOLERANCES = (1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4)
"""Relative residuals at which the rounds end: weights are still moving in the first ones."""
LEAST = 0.3
"""α below which nothing is believed."""
VISIBLE = ("B01", "B02", "B03", "B04")


@dataclass(frozen=True)
class Observations:
    """The strips of one band in which scenes can be compared.

    Attributes:
        scene: (obs,) row of the scene.
        strip: (obs,) number of the strip.
        corners: (obs, 4) corners of the scene's own grid, hats: (obs, 4) their weights, sum 1.
        m: (obs,) median of the scene, r: (obs,) that of the reference on the same pixels.
        weight: (obs,) 0–1.
    """

    scene: NDArray[np.int64]
    strip: NDArray[np.int64]
    corners: NDArray[np.int64]
    hats: NDArray[np.float64]
    m: NDArray[np.float64]
    r: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """What is known of scenes before they are compared.

    Attributes:
        gain, offset: (scene,) standard deviations of α about 1 and of β about 0.
        gain_step, offset_step: those of their changes from one window corner to the next.
    """

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    gain_step: float
    offset_step: float


@dataclass(frozen=True)
class Field:
    """Gain and offset of a scene on its corners, (ny, nx), and its weighted RMS residual in reflectance, NaN without strips."""

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    rms: float


def strip_middles(window: int, depth: int) -> NDArray[np.float64]:
    """(edge, segment, 2) row and column of the middle of a window's strips, in shares of its side."""
    out = np.empty((len(EDGES), SEGMENTS, 2))
    inner = depth / 2 / window
    for e, name in enumerate(EDGES):
        for s in range(SEGMENTS):
            along = (s + 0.5) / SEGMENTS
            out[e, s] = {
                "N": (inner, along),
                "E": (along, 1 - inner),
                "S": (1 - inner, along),
                "W": (along, inner),
            }[name]
    return out


def bilinear(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(…, 4) weights of a square's corners NW, NE, SW, SE at shares y and x of its side."""
    return np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], axis=-1)


def strip_hats(window: int, depth: int) -> NDArray[np.float64]:
    """(edge, segment, 4) bilinear weights of a window's corners NW, NE, SW, SE at the middle of its strips."""
    middles = strip_middles(window, depth)
    return bilinear(middles[..., 0], middles[..., 1])


def prior(clarity: NDArray[np.float64], band: str, spacing: float) -> Prior:
    """What is known of scenes by their clarity: clear ones anchor the level of all, hazy ones may move.

    Args:
        clarity: (scene,) mean haze weight over the scene's clear pixels, 0–1.
        spacing: distance of corners in metres.
    """
    t = np.clip((clarity - HAZY) / (CLEAR - HAZY), 0, 1)

    def between(hazy: float, clear: float) -> NDArray[np.float64]:
        return np.asarray(hazy * (clear / hazy) ** t)

    haze = min(1.0, (BANDS["B02"].centre_nm[0] / BANDS[band].centre_nm[0]) ** HAZE_EXPONENT)
    step = float(np.sqrt(spacing / SMOOTH_LENGTH))
    gain = GAIN_VISIBLE if band in VISIBLE else GAIN_INFRARED
    return Prior(
        between(*gain),
        haze * between(*OFFSET),
        step * GAIN_SMOOTH,
        step * haze * OFFSET_SMOOTH,
    )


def neighbours(ny: int, nx: int) -> NDArray[np.int64]:
    """(pair, 2) numbers of corners next to each other on a grid of ny × nx corners."""
    n = np.arange(ny * nx).reshape(ny, nx)
    across = np.stack([n[:, :-1].ravel(), n[:, 1:].ravel()], axis=1)
    down = np.stack([n[:-1].ravel(), n[1:].ravel()], axis=1)
    return np.concatenate([across, down])


def solve_fields(
    obs: Observations,
    *,
    shapes: Sequence[tuple[int, int]],
    prior: Prior,
    free: NDArray[np.bool_],
    known: bool = False,
) -> list[Field]:
    """Gain and offset of each scene, so that all show the same ground.

    Args:
        shapes: (scene,) rows and columns of corners of each scene's own grid.
        free: (scene,) False leaves a scene as it is; it holds the others in place.
        known: the ground is the reference; otherwise it is what the scenes agree on.
    """
    first = np.concatenate([[0], np.cumsum([ny * nx for ny, nx in shapes])])
    unknowns = int(first[-1])
    # β is counted in `unit`, so that one smoothness holds for both, and the system is well scaled.
    unit = prior.offset_step / prior.gain_step
    shrink = np.repeat(np.stack([prior.gain**-2, (prior.offset / unit) ** -2], -1), np.diff(first), axis=0)
    smooth = _roughness(first, shapes) / prior.gain_step**2
    start = np.tile([1.0, 0.0], (unknowns, 1))
    at = _Places((first[obs.scene, None] + obs.corners).astype(np.int32), obs.hats * free[obs.scene, None])
    strips = int(obs.strip.max(initial=-1)) + 1
    moves = free[obs.scene]
    # Scenes see a strip's pixels but for their own clouds: the reference gives the difference between those and all visible pixels.
    total = np.bincount(obs.strip, obs.weight, strips)
    ground = np.bincount(obs.strip, obs.weight * obs.r, strips) / np.maximum(total, 1e-30)
    share = (np.maximum(obs.r, -FLOOR / 2) + FLOOR) / (np.maximum(ground[obs.strip], -FLOOR / 2) + FLOOR)

    def shown(ground: NDArray[np.float64]) -> NDArray[np.float64]:
        return obs.r if known else share * (ground[obs.strip] + FLOOR) - FLOOR

    x, alpha, beta = start, np.ones(len(obs.m)), np.zeros(len(obs.m))
    for tolerance in TOLERANCES:
        t = shown(ground)
        weight = _weights(obs, obs.m - alpha * t - beta, t, prior)
        slope = alpha * share
        own = np.maximum(np.bincount(obs.strip, weight * slope**2, strips), 1e-30)
        system = _System(at, t, unit, obs.strip, weight, slope, np.full_like(own, np.inf) if known else own)
        right = system.transpose(np.where(moves, obs.m, obs.m - t), unknowns) + shrink * start
        x = _solved(system, right, x, shrink, smooth, tolerance)
        alpha = np.where(moves, np.maximum(_at_strips(x, *at, np.ones_like(t), 0.0), LEAST), 1)
        beta = _at_strips(x, *at, np.zeros_like(t), unit)
        # The ground that explains best what scenes show, their fields as they are now: one unknown a strip, solved by itself.
        left, slope = obs.m - beta - alpha * FLOOR * (share - 1), alpha * share
        own = np.maximum(np.bincount(obs.strip, weight * slope**2, strips), 1e-30)
        ground = np.bincount(obs.strip, weight * slope * left, strips) / own
    # In reflectance of the ground, so that scenes of different α can be compared.
    residual = (obs.m - beta) / alpha - shown(ground)
    used = np.bincount(obs.scene, obs.weight, len(shapes))
    with np.errstate(invalid="ignore"):
        rms = np.sqrt(np.bincount(obs.scene, obs.weight * residual**2, len(shapes)) / used)
    a, b = np.maximum(x[:, 0], LEAST), unit * x[:, 1]
    return [
        Field((1 / a[i:j]).reshape(shape), (-b[i:j] / a[i:j]).reshape(shape), float(v))
        for i, j, shape, v in zip(first[:-1], first[1:], shapes, rms, strict=True)
    ]


def _weights(
    obs: Observations, misfit: NDArray[np.float64], t: NDArray[np.float64], prior: Prior
) -> NDArray[np.float64]:
    """(obs,) weights that follow from the last round's misfit: Huber's for noise, and Cauchy's for what neither noise nor air
    explains.

    Args:
        misfit, t: (obs,) what a scene shows beyond what it should, and the ground that it should show.
    """
    misfit, sd = np.abs(misfit), NOISE * (np.maximum(t, 0) + FLOOR)
    weight = obs.weight / sd**2 * np.minimum(1, HUBER * sd / np.maximum(misfit, 1e-12))
    weight /= 1 + (misfit / (CHANGE * np.hypot(sd, AIR * prior.offset[obs.scene]))) ** 2
    return np.asarray(weight)


class _Places(NamedTuple):
    """(obs, 4) corners, numbered over all scenes, and the weights by which their values make that of a strip."""

    corners: NDArray[np.int32]
    hats: NDArray[np.float64]


@dataclass(frozen=True)
class _System:
    """A round's equations for (α, β / unit) on corners.

    Attributes:
        t: (obs,) reflectance of the ground that a scene should show.
        slope: (obs,) by which what a scene shows changes with the ground of a strip.
        own: (strip,) weight of the ground of a strip.
    """

    at: _Places
    t: NDArray[np.float64]
    unit: float
    strip: NDArray[np.int64]
    weight: NDArray[np.float64]
    slope: NDArray[np.float64]
    own: NDArray[np.float64]

    def transpose(self, v: NDArray[np.float64], unknowns: int) -> NDArray[np.float64]:
        """(unknowns, 2) weighted values of strips on corners, less what the ground explains."""
        corners = _to_corners(
            v, *self.at, self.t, self.unit, self.strip, self.weight, self.slope, self.own, unknowns
        )
        return np.asarray(corners)

    def normal(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(unknowns, 2) the normal matrix times x."""
        return self.transpose(_at_strips(x, *self.at, self.t, self.unit), len(x))


def _solved(
    system: _System,
    right: NDArray[np.float64],
    x: NDArray[np.float64],
    shrink: NDArray[np.float64],
    smooth: sparse.csr_array,
    tolerance: float,
) -> NDArray[np.float64]:
    """(unknowns, 2) by conjugate gradients from x, with the 2 × 2 blocks of corners as preconditioner (block Jacobi)."""
    aa, ab, bb = _blocks(*system.at, system.t, system.unit, system.weight, len(x)).T
    aa, bb = aa + shrink[:, 0] + smooth.diagonal(), bb + shrink[:, 1] + smooth.diagonal()
    inverse = np.stack([bb, -ab, aa], -1) / (aa * bb - ab**2)[:, None]

    def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
        v = v.reshape(-1, 2)
        return np.asarray(system.normal(v) + shrink * v + smooth @ v).ravel()

    def near(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(_times(inverse, v.reshape(-1, 2))).ravel()

    operators = (LinearOperator((x.size, x.size), matvec=f, dtype=np.float64) for f in (product, near))
    a, m = operators
    # Sums over all unknowns are split by threads: with another number of processors gains would be others.
    with threadpool_limits(1, "blas"):
        solution, _ = cg(a, right.ravel(), x0=x.ravel(), rtol=tolerance, maxiter=600, M=m)
    return np.asarray(solution).reshape(-1, 2)


def _roughness(first: NDArray[np.int64], shapes: Sequence[tuple[int, int]]) -> sparse.csr_array:
    """Matrix of the sum of squared differences between neighbouring corners of each scene."""
    pairs = np.concatenate([f + neighbours(*s) for f, s in zip(first[:-1], shapes, strict=True)])
    step = sparse.csr_array(
        (np.tile([1.0, -1.0], len(pairs)), pairs.ravel(), np.arange(0, 2 * len(pairs) + 1, 2)),
        shape=(len(pairs), int(first[-1])),
    )
    return (step.T @ step).tocsr()


@njit(cache=True, nogil=True)
def _at_strips(x, corners, hats, t, unit):  # pragma: no cover
    """(obs,) α·t + β at strips of fields on corners."""
    out = np.empty(len(corners))
    for i in range(len(corners)):
        total = 0.0
        for k in range(4):
            c = corners[i, k]
            total += hats[i, k] * (x[c, 0] * t[i] + x[c, 1] * unit)
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def _to_corners(v, corners, hats, t, unit, strip, weight, slope, own, unknowns):  # pragma: no cover
    """(unknowns, 2) the transpose of `_at_strips` for weighted values less what the ground of each strip explains.

    Taking the ground out strip by strip (a Schur complement) leaves a few unknowns a scene instead of one a strip.
    """
    ground = np.zeros(len(own))
    for i in range(len(v)):
        ground[strip[i]] += weight[i] * slope[i] * v[i]
    ground /= own
    out = np.zeros((unknowns, 2))
    for i in range(len(v)):
        rest = weight[i] * (v[i] - slope[i] * ground[strip[i]])
        for k in range(4):
            c = corners[i, k]
            out[c, 0] += hats[i, k] * rest * t[i]
            out[c, 1] += hats[i, k] * rest * unit
    return out


@njit(cache=True, nogil=True)
def _blocks(corners, hats, t, unit, weight, unknowns):  # pragma: no cover
    """(unknowns, 3) of the normal matrix α by α, α by β and β by β of each corner by itself."""
    out = np.zeros((unknowns, 3))
    for i in range(len(t)):
        for k in range(4):
            c, w = corners[i, k], weight[i] * hats[i, k] ** 2
            out[c, 0] += w * t[i] * t[i]
            out[c, 1] += w * t[i] * unit
            out[c, 2] += w * unit * unit
    return out


@njit(cache=True, nogil=True)
def _times(blocks, v):  # pragma: no cover
    """(unknowns, 2) symmetric blocks, as of `_blocks`, times v."""
    out = np.empty_like(v)
    for i in range(len(v)):
        out[i, 0] = blocks[i, 0] * v[i, 0] + blocks[i, 1] * v[i, 1]
        out[i, 1] = blocks[i, 1] * v[i, 0] + blocks[i, 2] * v[i, 1]
    return out
