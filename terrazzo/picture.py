"""Pictures: values stretched to brightness, the same for tiles and for what is exported for tablets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pairs = tuple[tuple[float, float], ...]


def stretched(values: NDArray[Any], pairs: Sequence[tuple[float, float]], gamma: float) -> NDArray[np.uint8]:
    """(channel, row, col) brightness 0–255.

    Args:
        values: (channel, row, col) in the units of `pairs`.
        pairs: what is shown as 0 and 255, one for all channels or one for each.
        gamma: exponent of the stretch, 1 for none.
    """
    low, high = np.array([pairs[i % len(pairs)] for i in range(len(values))], np.float32).T[:, :, None, None]
    scaled = np.clip((values - low) / (high - low), 0, 1)
    if gamma != 1:
        scaled **= np.float32(1 / gamma)
    return np.asarray(np.rint(scaled * 255), np.uint8)
