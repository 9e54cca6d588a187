"""Which offset a product's numbers carry, decided by evidence and never by date.

Since baseline 04.00 ESA adds 1000 to the numbers. Copies differ: some took the addition out again, and their
metadata may say both. So metadata that agree decide; where they contradict each other or say nothing, the
pixels do. Who disagrees is recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.errors import UnreadableAsset
from terrazzo.precompute.products.files import read_xml

ADDED = -1000
"""Offset in counts of a product whose numbers carry ESA's addition."""
IMPOSSIBLE = 700
"""Count that with 1000 added would mean a reflectance below −0.03: dark water may come out at −0.01, not there."""
DARK = (900, 1200)
"""Counts between which a scene's darkest pixels lie when 1000 were added: reflectances −0.01 to 0.02."""

ADDED_CIRRUS = 600
"""Median count of B10 above which 1000 was added."""


@dataclass(frozen=True)
class Offset:
    """The offset to add to a product's counts, what speaks for it, and what speaks against it."""

    value: int
    decided_by: str
    evidence: Mapping[str, Any]
    conflicts: tuple[str, ...]


def decide_offset(
    darkest: NDArray[np.uint16],
    *,
    xml_offset: int | None,
    claims: Mapping[str, Any],
    baseline: str,
    cirrus: NDArray[np.integer] | None = None,
) -> Offset:
    """Decides on the offset of a product.

    The product's own metadata, then the Item's, when all of them agree; else the pixels; else what the copy
    says was done to it, as the product's metadata describe the numbers before that; else the baseline.

    Args:
        darkest: (row, col) lowest count over the bands of each pixel, 0 = no data.
        xml_offset: BOA_ADD_OFFSET or RADIO_ADD_OFFSET of the product's own metadata.
        claims: `boa_offset_applied`, `raster_offset` (reflectance) of the STAC Item.
        baseline: processing baseline, four digits.
        cirrus: counts of an L1C product's B10, which sees no ground: without high cloud its median is far below
            1000, with ESA's addition above it.
    """
    told: dict[str, int] = {}
    if xml_offset is not None:
        told["product metadata"] = xml_offset
    if "boa_offset_applied" in claims:
        told["boa_offset_applied"] = 0 if claims["boa_offset_applied"] else ADDED
    if "raster_offset" in claims:
        told["raster offset"] = round(claims["raster_offset"] * 10_000)
    share, shown = pixel_opinion(darkest)
    high = cirrus[cirrus > 0] if cirrus is not None else np.empty(0)
    if high.size:
        shown = ADDED if np.median(high) > ADDED_CIRRUS else 0
    opinions = told | ({} if shown is None else {"pixels": shown})
    opinions["baseline"] = ADDED if baseline >= "0400" else 0
    agreed = len(set(told.values())) == 1
    order = [*told] if agreed else ["pixels", "boa_offset_applied", *told, "baseline"]
    decided_by = next(who for who in order if who in opinions)
    value = opinions[decided_by]
    conflicts = tuple(f"{who} says {v}" for who, v in opinions.items() if v != value)
    return Offset(value, decided_by, {"share_below_700": share, **opinions}, conflicts)


def pixel_opinion(darkest: NDArray[np.uint16]) -> tuple[float | None, int | None]:
    """What the darkest pixels show: their share below `IMPOSSIBLE`, and the offset that follows, None if none does.

    Without the addition vegetation, water and shadow lie at a few hundred counts; with it hardly a pixel can
    lie below 900, and dark ones crowd just above. A scene that is bright everywhere, all desert, snow or
    cloud, tells nothing.
    """
    histogram = np.zeros(1 << 16, np.int64)
    for rows in np.array_split(darkest, max(1, len(darkest) // 512)):
        histogram += np.bincount(rows.ravel(), minlength=len(histogram))
    histogram[0] = 0
    below = histogram.cumsum()
    if not below[-1]:
        return None, None
    share = float(below[IMPOSSIBLE - 1] / below[-1])
    low, dark = np.searchsorted(below, below[-1] * np.array([0.001, 0.01]), side="right")
    if share >= 0.01:
        return round(share, 5), 0
    return round(share, 5), ADDED if share < 1e-4 and low >= DARK[0] and dark <= DARK[1] else None


def read_xml_offset(path: str | Path) -> int:
    """The offset that a product's own metadata (MTD_MSIL1C.xml, MTD_MSIL2A.xml) name; 0 where they name none.

    Raises:
        UnreadableAsset: no such file, not XML, or bands with different offsets.
    """
    root = read_xml(str(path))
    names = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
    try:
        found = {int(float(e.text or "")) for e in root.iter() if e.tag.split("}")[-1] in names}
    except ValueError:
        found = {0, 1}
    if len(found) > 1:
        raise UnreadableAsset(f"product metadata {path}: bands have no offset in common; fetch it again")
    return found.pop() if found else 0
