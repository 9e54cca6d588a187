"""Solves gains and offsets on window corners from strips of many scenes.

Pass A finds, jointly for all scenes, log gains h that make the same strip look alike in every scene; what
they agree on is the consensus. Pass B fits each scene to that consensus by a gain and an offset. Both are
regularized least squares with Huber's weights, iterated (IRLS); A by conjugate gradients without forming the
normal matrix, B one small sparse system a scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg, spsolve

from terrazzo.edges import EDGES, SEGMENTS

FLOOR = 0.01
"""Reflectance added before logarithms: keeps dark water from ruling the fit."""
NOISE = 0.02
"""Standard deviation of a strip's log difference."""
GRADIENT = 0.012
"""Standard deviation of the change of log gain from one window corner to the next."""
PRIOR_VISIBLE, PRIOR_INFRARED = (0.25, 0.02), (0.05, 0.03)
"""Standard deviation of the log gain of a hazy and of a clear scene; haze hardly reaches the infrared."""
HAZY, CLEAR = 0.80, 0.98
"""Clarity at and below which a scene is hazy, at and above which it is clear."""
GAIN_PRIOR, GAIN_SMOOTH, OFFSET_SMOOTH = 0.05, 0.03, 0.1
"""Pass B: standard deviation of the gain about 1, and changes of gain and of offset (times the mean
reflectance) over `SMOOTH_LENGTH`."""
SMOOTH_LENGTH = 7700.0
HUBER = 1.345
ROUNDS = 5
TOLERANCES = (1e-2, 1e-2, 1e-3, 1e-3, 1e-4)
"""Relative residuals at which pass A's rounds end: weights are still moving in the first ones."""
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


def strip_hats(window: int, depth: int) -> NDArray[np.float64]:
    """(edge, segment, 4) bilinear weights of a window's corners NW, NE, SW, SE at the middle of its strips."""
    out = np.empty((len(EDGES), SEGMENTS, 4))
    inner = depth / 2 / window
    for e, name in enumerate(EDGES):
        for s in range(SEGMENTS):
            along = (s + 0.5) / SEGMENTS
            y, x = {
                "N": (inner, along),
                "E": (along, 1 - inner),
                "S": (1 - inner, along),
                "W": (along, inner),
            }[name]
            out[e, s] = [(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x]
    return out


def prior_width(clarity: NDArray[np.float64], band: str) -> NDArray[np.float64]:
    """(scene,) standard deviation of the log gain: clear scenes anchor the consensus, hazy ones may move.

    Args:
        clarity: (scene,) mean haze weight over the scene's clear pixels, 0–1.
    """
    loose, tight = PRIOR_VISIBLE if band in VISIBLE else PRIOR_INFRARED
    t = np.clip((clarity - HAZY) / (CLEAR - HAZY), 0, 1)
    return np.asarray(loose * (tight / loose) ** t)


def neighbours(ny: int, nx: int) -> NDArray[np.int64]:
    """(pair, 2) numbers of corners next to each other on a grid of ny × nx corners."""
    n = np.arange(ny * nx).reshape(ny, nx)
    across = np.stack([n[:, :-1].ravel(), n[:, 1:].ravel()], axis=1)
    down = np.stack([n[:-1].ravel(), n[1:].ravel()], axis=1)
    return np.concatenate([across, down])


def solve_joint(
    obs: Observations,
    *,
    shapes: Sequence[tuple[int, int]],
    prior: NDArray[np.float64],
    free: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Pass A: the consensus of every strip, once all scenes' log gains agree on it as well as they can.

    Args:
        shapes: (scene,) rows and columns of corners of each scene's own grid.
        prior: (scene,) standard deviation of the log gain about 0.
        free: (scene,) False keeps a scene's log gain at 0.

    Returns:
        U (strip,): log ratio to the reference.
    """
    sizes = np.array([ny * nx for ny, nx in shapes])
    first = np.concatenate([[0], np.cumsum(sizes)])
    unknowns = int(first[-1])
    corners = (first[obs.scene, None] + obs.corners).astype(np.int32)
    hats = obs.hats * free[obs.scene, None]
    y = np.log(np.maximum(obs.m, 1e-4 - FLOOR) + FLOOR) - np.log(np.maximum(obs.r, 1e-4 - FLOOR) + FLOOR)
    strips = int(obs.strip.max()) + 1
    pairs = np.concatenate([f + neighbours(*s) for f, s in zip(first[:-1], shapes, strict=True)])
    step = sparse.csr_array(
        (np.tile([1.0, -1.0], len(pairs)), pairs.ravel(), np.arange(0, 2 * len(pairs) + 1, 2)),
        shape=(len(pairs), unknowns),
    )
    smooth = (step.T @ step).tocsr() / GRADIENT**2
    shrink = np.repeat(1 / prior**2, sizes)
    h = np.zeros(unknowns)
    u = np.zeros(strips)
    weight = obs.weight / NOISE**2
    for tolerance in TOLERANCES:
        fit = y + _at_strips(h, corners, hats)
        u = _mean(fit, weight, obs.strip, strips)
        residual = np.abs(fit - u[obs.strip]) / NOISE
        weight = obs.weight / NOISE**2 * np.minimum(1, HUBER / np.maximum(residual, 1e-9))
        total = np.maximum(np.bincount(obs.strip, weight, strips), 1e-30)

        def normal(
            x: NDArray[np.float64], w: NDArray[np.float64] = weight, t: NDArray[np.float64] = total
        ) -> NDArray[np.float64]:
            centred = _to_corners(_at_strips(x, corners, hats), corners, hats, obs.strip, w, t, unknowns)
            return np.asarray(centred + shrink * x + smooth @ x)

        diagonal = np.bincount(corners.ravel(), (hats**2 * weight[:, None]).ravel(), unknowns)
        diagonal += shrink + smooth.diagonal()
        operator = LinearOperator((h.size, h.size), matvec=normal)
        jacobi = LinearOperator((h.size, h.size), matvec=lambda x, d=diagonal: x / d)
        right = -_to_corners(y, corners, hats, obs.strip, weight, total, unknowns)
        h, _ = cg(operator, right, x0=h, rtol=tolerance, maxiter=600, M=jacobi)
    return _mean(y + _at_strips(h, corners, hats), weight, obs.strip, strips)


@njit(cache=True, nogil=True)
def _at_strips(x, corners, hats):  # pragma: no cover
    """(obs,) values at strips of a field on corners."""
    out = np.empty(len(corners))
    for i in range(len(corners)):
        total = 0.0
        for k in range(4):
            total += hats[i, k] * x[corners[i, k]]
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def _to_corners(v, corners, hats, strip, weight, total, unknowns):  # pragma: no cover
    """(unknowns,) the transpose of `_at_strips` for weighted values less their mean over each strip's scenes."""
    mean = np.zeros(len(total))
    for i in range(len(v)):
        mean[strip[i]] += weight[i] * v[i]
    mean /= total
    out = np.zeros(unknowns)
    for i in range(len(v)):
        rest = weight[i] * (v[i] - mean[strip[i]])
        for k in range(4):
            out[corners[i, k]] += hats[i, k] * rest
    return out


def _mean(
    v: NDArray[np.float64], w: NDArray[np.float64], strip: NDArray[np.int64], strips: int
) -> NDArray[np.float64]:
    total = np.bincount(strip, w, strips)
    return np.asarray(np.bincount(strip, w * v, strips) / np.where(total > 0, total, 1))


def target(r: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """The consensus reflectance of strips whose reference is r and whose log ratio to it is u."""
    return np.asarray((r + FLOOR) * np.exp(u) - FLOOR)


def solve_scene(
    m: NDArray[np.float64],
    goal: NDArray[np.float64],
    weight: NDArray[np.float64],
    corners: NDArray[np.int64],
    hats: NDArray[np.float64],
    *,
    shape: tuple[int, int],
    spacing: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Pass B: gain and offset of one scene and band on corners.

    Args:
        m, goal, weight: (obs,) the scene's median, the consensus, its weight 0–1.
        spacing: distance of corners in metres.

    Returns:
        gain (ny, nx), offset (ny, nx) in reflectance, weighted RMS residual in reflectance.
    """
    size = shape[0] * shape[1]
    if not len(m):
        return np.ones(shape), np.zeros(shape), float("nan")
    n = len(m)
    rows = np.repeat(np.arange(n), 4)
    hat = sparse.csr_array((hats.ravel(), (rows, corners.ravel())), shape=(n, size))
    design = sparse.hstack([sparse.diags_array(m) @ hat, hat]).tocsr()
    mean = max(float(np.average(goal, weights=weight)), 0.005)
    pairs = neighbours(*shape)
    index = np.repeat(np.arange(len(pairs)), 2)
    sign = np.tile([1.0, -1.0], len(pairs))
    gradient = sparse.csr_array((sign, (index, pairs.ravel())), shape=(len(pairs), size))
    laplace = gradient.T @ gradient
    length = np.sqrt(spacing / SMOOTH_LENGTH)
    one, zero = np.ones(size), np.zeros(size)
    gain_scale, offset_scale = 1 / (GAIN_SMOOTH * length) ** 2, 1 / (OFFSET_SMOOTH * mean * length) ** 2
    ridge = np.concatenate([one / GAIN_PRIOR**2, one / mean**2])
    prior = sparse.block_diag([laplace * gain_scale, laplace * offset_scale]) + sparse.diags_array(ridge)
    start = np.concatenate([one, zero])
    x, sd = start, NOISE * (np.maximum(goal, 0) + FLOOR)
    w = weight / sd**2
    for _ in range(ROUNDS):
        normal = (design.T @ sparse.diags_array(w) @ design + prior).tocsc()
        x = spsolve(normal, design.T @ (w * goal) + ridge * start)
        residual = np.abs(design @ x - goal)
        w = weight / sd**2 * np.minimum(1, HUBER / np.maximum(residual / sd, 1e-9))
    rms = float(np.sqrt(np.average((design @ x - goal) ** 2, weights=weight)))
    return x[:size].reshape(shape), x[size:].reshape(shape), rms
