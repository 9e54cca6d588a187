"""Statistics of values that come block by block, in bounded memory."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_VALUES = 1 << 20
"""Distinct values that are kept; stored counts of 16 bits have 65,536."""


class Tally:
    """The same of weighted values as `zonal.summaries`, in any number of parts.

    Count, mean, deviation and ends are exact. So are quantiles while there are at most `MOST_VALUES` distinct values, as
    there always are of bands. Past that, as of expressions over large areas, neighbouring values are joined to their mean,
    each of at most 2 / `MOST_VALUES` of all values, and a quantile lies so near to its place in the order, four
    millionths of the pixels.
    """

    def __init__(self) -> None:
        self._weight = self._mean = self._squares = 0.0
        self._low, self._high = np.inf, -np.inf
        # Distinct values in order; of each how many there are, their weights' sum, the least and the greatest of them.
        self._table = (np.zeros(0),) * 5

    def add(self, values: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        """Adds values.

        Args:
            values: (n,) those that are no finite number count as nothing.
            weights: (n,) above 0.
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
        more = (x, np.ones(len(x)), w, w, w)
        self._join(*(np.concatenate(pair) for pair in zip(self._table, more, strict=True)))

    def row(self, quantiles: Sequence[float]) -> NDArray[np.float64]:
        """(5 + quantile,) count, mean, std, min, max and quantiles; NaN but for the count without values."""
        out = np.full(5 + len(quantiles), np.nan)
        out[0] = self._weight
        if self._weight > 0:
            out[1:5] = self._mean, np.sqrt(self._squares / self._weight), self._low, self._high
            out[5:] = self._quantiles(np.asarray(quantiles, np.float64))
        return out

    def _join(self, *table: NDArray[np.float64]) -> None:
        order = np.argsort(table[0], kind="stable")
        table = tuple(column[order] for column in table)
        self._keep(np.flatnonzero(np.diff(table[0], prepend=np.nan) != 0), table)
        numbers = self._table[1]
        if len(numbers) > MOST_VALUES:
            middles = np.cumsum(numbers) - numbers / 2
            part = (middles * (MOST_VALUES // 2) / numbers.sum()).astype(np.int64)
            self._keep(np.flatnonzero(np.diff(part, prepend=-1)), self._table)

    def _keep(self, starts: NDArray[np.int64], table: tuple[NDArray[np.float64], ...]) -> None:
        """Joins the rows of a table from one start to the next."""
        x, numbers, weights, least, most = table
        sums = np.add.reduceat(weights, starts)
        equal = x[starts] == x[np.append(starts[1:], len(x)) - 1]
        self._table = (
            np.where(equal, x[starts], np.add.reduceat(x * weights, starts) / sums),
            np.add.reduceat(numbers, starts),
            sums,
            np.minimum.reduceat(least, starts),
            np.maximum.reduceat(most, starts),
        )

    def _quantiles(self, quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
        x, numbers, weights, least, most = self._table
        n, before, behind = numbers.sum(), np.cumsum(weights) - weights, np.cumsum(numbers)
        # Where the first and the last of equal values lie.
        first = (behind - numbers) * least + (n - 1) * before
        last = (behind - 1) * most + (n - 1) * (before + weights - most)
        places = np.column_stack([first, last]).ravel()
        return np.asarray(np.interp(quantiles * (n - 1) * weights.sum(), places, np.repeat(x, 2)))
