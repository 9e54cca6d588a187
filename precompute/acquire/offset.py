"""Which offset a product's numbers carry, decided by evidence and never by date.

Since baseline 04.00 ESA adds 1000 to the numbers. Copies differ: some took the offset out again, and their
metadata may say both. What the pixels show decides where they can; metadata decide where they cannot.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ADDED = -1000
"""Offset in counts of a product whose numbers carry ESA's addition."""
DARK = 950
"""Count below which land and water lie in the red, and which hardly any pixel reaches with 1000 added."""


@dataclass(frozen=True)
class Offset:
    """The offset to add to a product's counts, what speaks for it, and what speaks against it."""

    value: int
    decided_by: str
    evidence: Mapping[str, Any]
    conflicts: tuple[str, ...]


def decide_offset(
    counts: NDArray[np.uint16], *, xml_offset: int | None, claims: Mapping[str, Any], baseline: str
) -> Offset:
    """Decides on the offset of a product.

    Args:
        counts: (row, col) counts of B04, 0 = no data.
        xml_offset: BOA_ADD_OFFSET or RADIO_ADD_OFFSET of the product's own metadata.
        claims: `boa_offset_applied`, `raster_offset` (reflectance) of the STAC Item.
        baseline: processing baseline, four digits.
    """
    valid = counts[counts > 0]
    dark = float((valid < DARK).mean()) if valid.size else float("nan")
    opinions: dict[str, int] = {}
    if dark >= 0.01:
        opinions["pixels"] = 0
    elif valid.size and dark < 1e-4 and np.percentile(valid, 1) < 2 * -ADDED:
        opinions["pixels"] = ADDED
    if xml_offset is not None:
        opinions["product metadata"] = xml_offset
    if "boa_offset_applied" in claims:
        opinions["boa_offset_applied"] = 0 if claims["boa_offset_applied"] else ADDED
    if "raster_offset" in claims:
        opinions["raster offset"] = round(claims["raster_offset"] * 10_000)
    opinions["baseline"] = ADDED if baseline >= "0400" else 0
    decided_by, value = next(iter(opinions.items()))
    conflicts = tuple(f"{who} says {v}" for who, v in opinions.items() if v != value)
    evidence = {"share_below_950": None if np.isnan(dark) else round(dark, 5), **opinions}
    return Offset(value, decided_by, evidence, conflicts)
