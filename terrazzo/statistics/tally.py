"""Statistics of values that come block by block, in bounded memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terrazzo.statistics.question import Rule

MOST_VALUES = 1 << 20
"""Distinct values that are kept; stored counts of 16 bits have 65,536."""


class Tally:
    """The same of weighted values as `zonal.summaries` gives by a rule, in any number of parts.

    Count, mean, deviation and ends are exact. So are quantiles while there are at most `MOST_VALUES` distinct values, as
    there always are of bands. Past that, as of expressions over large areas, neighbouring values are joined to their mean,
    each of at most 2 / `MOST_VALUES` of the weight, and a quantile lies so near to its place in the order, four
    millionths of the pixels.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._weight = self._mean = self._squares = 0.0
        self._low, self._high = np.inf, -np.inf
        # Distinct values in order, and the sum of weights of each.
        self._values, self._weights = np.zeros(0), np.zeros(0)

    def add(self, values: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        """Adds values.

        Args:
            values: (n,) those that are no finite number count as nothing.
            weights: (n,) above 0; 1 by the centre rule.
        """
        held = np.isfinite(values)
        x, w = values[held].astype(np.float64), weights[held]
        if not x.size:
            return
        total = float(w.sum())
        mean = float((w * x).sum() / total)
        squares, apart = float((w * (x - mean) ** 2).sum()), mean - self._mean
        both = self._weight + total
        self._squares += squares + apart**2 * self._weight * total / both
        self._mean += apart * total / both
        self._weight = both
        self._low, self._high = min(self._low, float(x.min())), max(self._high, float(x.max()))
        self._join(np.concatenate([self._values, x]), np.concatenate([self._weights, w]))

    def row(self, quantiles: Sequence[float]) -> NDArray[np.float64]:
        """(5 + quantile,) count, mean, std, min, max and quantiles; NaN but for the count without values."""
        out = np.full(5 + len(quantiles), np.nan)
        out[0] = self._weight
        if self._weight > 0:
            out[1:5] = self._mean, np.sqrt(self._squares / self._weight), self._low, self._high
            out[5:] = self._quantiles(np.asarray(quantiles, np.float64))
        return out

    def _join(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
        starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
        self._values, self._weights = values[starts], np.add.reduceat(weights, starts)
        if len(starts) > MOST_VALUES:
            middles = np.cumsum(self._weights) - self._weights / 2
            part = (middles * (MOST_VALUES // 2) / self._weight).astype(np.int64)
            starts = np.flatnonzero(np.diff(part, prepend=-1))
            sums = np.add.reduceat(self._values * self._weights, starts)
            self._weights = np.add.reduceat(self._weights, starts)
            self._values = sums / self._weights

    def _quantiles(self, quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
        before = np.cumsum(self._weights) - self._weights
        if self._rule == "centre":
            places = np.column_stack([before, before + self._weights - 1]).ravel()
            return np.interp(quantiles * (self._weight - 1), places, np.repeat(self._values, 2))
        last = len(self._values) - 1
        places = np.arange(last + 1) * self._weights + last * before
        return np.interp(quantiles * last * self._weights.sum(), places, self._values)
