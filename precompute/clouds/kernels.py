"""Compiled parts of the classifier. They compute what numpy and its BLAS compute, to the last bit where sums are in the same order."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

TILE = 512
"""Pixels for which a layer's nodes are computed at a time: their inputs fit in the processor's inner cache."""

Array = NDArray[np.float32]


def outputs(x: Array, weights: tuple[Array, ...], biases: tuple[Array, ...]) -> Array:
    """(class, pixel) outputs of a perceptron for (input, pixel); what is below 0 is 0 between its layers.

    Sums run over the inputs in their order, each term added without rounding its product, as BLAS libraries do for so few inputs.

    Args:
        weights: (input, node) of each layer, two nodes at least.
        biases: (node) of each.
    """
    out = np.empty((weights[-1].shape[1], x.shape[1]), np.float32)
    most = max(max(w.shape) for w in weights)
    before, after = np.empty((2, most, TILE), np.float32)
    _outputs(np.ascontiguousarray(x), weights, biases, before, after, out)
    return out


@njit(cache=True, nogil=True)
def _outputs(x, weights, biases, before, after, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    for a in range(0, x.shape[1], TILE):
        n = min(a + TILE, x.shape[1]) - a
        before[: len(x), :n] = x[:, a : a + n]
        for k in range(len(weights)):
            least = np.float32(0 if k < len(weights) - 1 else -np.inf)
            _layer(before, weights[k], biases[k], least, n, after)
            before, after = after, before
        out[:, a : a + n] = before[: len(out), :n]


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _layer(x, weights, bias, least, n, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Writes `n` pixels of a layer's nodes, two of them and four inputs at a time: so the processor multiplies as often as it loads."""
    inputs, nodes = weights.shape
    fours = inputs - inputs % 4
    for pair in range(0, nodes, 2):
        # Of an odd number the last pair begins with the node before the last, which comes out the same again.
        i = min(pair, nodes - 2)
        j = i + 1
        s, t, first, second = out[i, :n], out[j, :n], bias[i], bias[j]
        s[:] = 0
        t[:] = 0
        for k in range(0, fours, 4):
            v0, v1, v2, v3 = weights[k, i], weights[k + 1, i], weights[k + 2, i], weights[k + 3, i]
            w0, w1, w2, w3 = weights[k, j], weights[k + 1, j], weights[k + 2, j], weights[k + 3, j]
            x0, x1, x2, x3 = x[k, :n], x[k + 1, :n], x[k + 2, :n], x[k + 3, :n]
            for p in range(n):
                s[p] = s[p] + v0 * x0[p] + v1 * x1[p] + v2 * x2[p] + v3 * x3[p]
                t[p] = t[p] + w0 * x0[p] + w1 * x1[p] + w2 * x2[p] + w3 * x3[p]
        for k in range(fours, inputs):
            v0, w0, x0 = weights[k, i], weights[k, j], x[k, :n]
            for p in range(n):
                s[p] += v0 * x0[p]
                t[p] += w0 * x0[p]
        for p in range(n):
            s[p] = max(s[p] + first, least)
            t[p] = max(t[p] + second, least)


@njit(cache=True, nogil=True, error_model="numpy")
def below_largest(x, temperature):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(class, pixel) outputs over the temperature, less the largest of each pixel, in place."""
    largest = np.empty(x.shape[1], np.float32)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            x[k, p] /= temperature
            largest[p] = x[k, p] if k == 0 or x[k, p] > largest[p] else largest[p]
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            x[k, p] -= largest[p]


@njit(cache=True, nogil=True, error_model="numpy")
def bring_to_one(x):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Divides (class, pixel) numbers by their sum over the classes, in place."""
    total = x[0].copy()
    for k in range(1, x.shape[0]):
        for p in range(x.shape[1]):
            total[p] += x[k, p]
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            x[k, p] /= total[p]


@njit(cache=True, nogil=True)
def clipped(rho, low, high, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Writes (band, pixel) reflectance between two bounds; NaN stays."""
    for k in range(rho.shape[0]):
        for p in range(rho.shape[1]):
            v = np.float32(rho[k, p])
            v = low if v < low else v
            out[k, p] = high if v > high else v


@njit(cache=True, nogil=True, error_model="numpy")
def normalized_difference(a, b, even, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Writes the difference of two bands over the sum of their sizes and `even`."""
    for p in range(len(out)):
        out[p] = (a[p] - b[p]) / (abs(a[p]) + abs(b[p]) + even)


@njit(cache=True, nogil=True, error_model="numpy")
def whiteness(blue, green, red, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Writes by how much three bands differ, over their mean; NaN where one is."""
    third, dark = np.float32(3), np.float32(0.05)
    for p in range(len(out)):
        mean = (blue[p] + green[p] + red[p]) / third
        high, low = max(max(blue[p], green[p]), red[p]), min(min(blue[p], green[p]), red[p])
        out[p] = (high - low) / (max(mean, np.float32(0)) + dark) if mean == mean else mean
