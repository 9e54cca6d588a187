"""Which offset a product's numbers carry: a question of what is physically possible, not of dates.

Since baseline 04.00 ESA adds 1000 to the numbers; before it, never. Copies differ: some took the addition out again,
and what their writers say of it may be wrong. So what is impossible is ruled out first, and what nothing settles is
left out. The verdict and the evidence are on the scene's Item.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrazzo.errors import ProductError, UnreadableAsset
from terrazzo.precompute.products.files import read_xml
from terrazzo.precompute.products.product import USER_MADE

ADDED = -1000
"""Offset in counts of a product whose numbers carry ESA's addition."""
IMPOSSIBLE = 700
"""Count that with 1000 added would mean a reflectance below −0.03: dark water may come out at −0.01, not there."""
DARK = (900, 1200)
"""Counts between which a scene's darkest pixels lie when 1000 were added: reflectances −0.01 to 0.02."""
FEWEST = 400
"""Fewest pixels that decide."""

ADDED_CIRRUS = 600
"""Median count of B10 above which 1000 was added."""


@dataclass(frozen=True)
class Offset:
    """The offset to add to a product's counts, what speaks for it, and what speaks against it.

    Attributes:
        verdict: why it is that, in words.
    """

    value: int
    decided_by: str
    evidence: Mapping[str, Any]
    conflicts: tuple[str, ...]
    verdict: str = ""


def decide_offset(
    darkest: NDArray[np.uint16],
    *,
    xml_offset: int | None,
    claims: Mapping[str, Any],
    baseline: str,
    cirrus: NDArray[np.integer] | None = None,
    untouched: bool = False,
    swir: bool = True,
) -> Offset:
    """Decides on the offset of a product.

    In this order: a baseline below 04.00 carries none; ESA's own metadata beside ESA's own files stand; pixels that
    1000 would make darker than anything rule the addition out; then what the Item and the metadata say, where neither
    each other nor the pixels speak against it. Pixels that look as if 1000 were added prove nothing: thick haze looks so.

    Args:
        darkest: (row, col) lowest count over the bands of each pixel, 0 = no data.
        xml_offset: BOA_ADD_OFFSET or RADIO_ADD_OFFSET of ESA's metadata, which describe the product before a copy was
            made of it; None where they name none.
        claims: `boa_offset_applied`, `raster_offset` of the STAC Item and `file_offset` of the images (reflectance):
            one witness, the copy's writer, who may contradict himself.
        baseline: processing baseline, four digits; empty if unknown.
        cirrus: counts of an L1C product's B10, which sees no ground: without high cloud its median is far below
            1000, with ESA's addition above it.
        untouched: the images are ESA's own files.
        swir: `darkest` is over B11 or B12 too. Haze lifts all other bands to where ESA's addition would.

    Raises:
        ProductError: nothing decides it, or the metadata name an offset that no product has.
    """
    item, says_both = _item(claims)
    share, shown = pixel_opinion(darkest)
    high = cirrus[cirrus > 0] if cirrus is not None else np.empty(0)
    if high.size:
        shown = ADDED if np.median(high) > ADDED_CIRRUS else 0
    writer = "files" if set(claims) == {"file_offset"} else "Item"
    stated = {"product metadata": xml_offset, writer: item, "pixels": shown}
    opinions = {who: value for who, value in stated.items() if value is not None}
    for who, value in opinions.items():
        if value not in (0, ADDED):
            raise ProductError(
                f"{who} says an offset of {value}; products carry 0 or {ADDED}. Correct it, or fetch the product again"
            )
    if baseline and baseline != USER_MADE:
        opinions["baseline"] = 0 if baseline < "0400" else ADDED
    evidence: dict[str, Any] = {"share_below_700": share, **opinions}
    if says_both:
        evidence[writer] = "0 and -1000"
    value, decided_by, verdict = _verdict(
        opinions, says_both, untouched=untouched, swir=swir, cirrus=bool(high.size), share=share
    )
    conflicts = tuple(f"{who} says {v}" for who, v in opinions.items() if v != value)
    if says_both:
        conflicts = (*conflicts, "the Item says both 0 and -1000")
    return Offset(value, decided_by, evidence, conflicts, verdict)


def _verdict(
    opinions: Mapping[str, int],
    says_both: bool,
    *,
    untouched: bool,
    swir: bool,
    cirrus: bool,
    share: float | None,
) -> tuple[int, str, str]:
    """The offset, who decided it, and why.

    Raises:
        ProductError: nothing settles it.
    """
    xml, item, pixels, baseline = (
        opinions.get(who) for who in ("product metadata", "Item", "pixels", "baseline")
    )
    writer, says = "Item", "the Item says"
    if "files" in opinions:
        item, writer, says = opinions["files"], "files", "the files say"
    if baseline == 0:
        return 0, "baseline", "baselines below 04.00 have nothing added"
    if untouched and xml is not None:
        return xml, "product metadata", "ESA's metadata lie beside ESA's own files"
    if pixels == 0:
        if share is None or share < 0.01:
            return 0, "pixels", "with an offset of -1000 the median of B10 would be below -0.04"
        return 0, "pixels", f"with an offset of -1000, {share:.0%} of the pixels would be below -0.03"
    if item == 0 and (pixels is None or not swir):
        return 0, writer, f"{says} that nothing was added, and no pixel contradicts it"
    if item == ADDED:
        return ADDED, writer, f"{says} that 1000 were added, and no pixel contradicts it"
    if item is None and not says_both:
        if xml is not None:
            return xml, "product metadata", "ESA's metadata say so, and nothing contradicts it"
        if pixels == ADDED and (cirrus or baseline == ADDED):
            return (
                ADDED,
                "pixels",
                "the darkest pixels lie just above 1000, and nothing states that it was subtracted",
            )
        if untouched and baseline is not None:
            return baseline, "baseline", "ESA's own files of this baseline have it"
    said = ", ".join(f"{who} says {v}" for who, v in opinions.items()) or "nothing states it"
    raise ProductError(
        f"nothing settles whether 1000 were added to its numbers ({said}{', the Item says both' if says_both else ''});"
        " fetch its product metadata, B11 and B12 too, or the product from another archive"
    )


def _item(claims: Mapping[str, Any]) -> tuple[int | None, bool]:
    """What the Item and the files say, and whether they say both."""
    offsets = set()
    if "boa_offset_applied" in claims:
        offsets.add(0 if claims["boa_offset_applied"] else ADDED)
    for key in ("raster_offset", "file_offset"):
        if key in claims:
            offsets.add(round(claims[key] * 10_000))
    return (offsets.pop(), False) if len(offsets) == 1 else (None, len(offsets) > 1)


def pixel_opinion(darkest: NDArray[np.uint16]) -> tuple[float | None, int | None]:
    """What the darkest pixels show: their share below `IMPOSSIBLE`, and the offset that follows, None if none does.

    Without the addition vegetation, water and shadow lie at a few hundred counts; with it hardly a pixel can
    lie below 900, and dark ones crowd just above. A scene that is bright everywhere, all desert, snow or
    cloud, proves nothing; nor do a few pixels.
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
    if below[-1] < FEWEST:
        return round(share, 5), None
    if share >= 0.01:
        return round(share, 5), 0
    return round(share, 5), ADDED if share < 1e-4 and low >= DARK[0] and dark <= DARK[1] else None


def read_xml_offset(path: str | Path) -> int | None:
    """The offset that a product's own metadata (MTD_MSIL1C.xml, MTD_MSIL2A.xml) name; None where they name none.

    Raises:
        UnreadableAsset: no such file, not XML, or bands with different offsets.
    """
    root = read_xml(str(path))
    names = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
    try:
        offsets = {int(float(e.text or "")) for e in root.iter() if e.tag.split("}")[-1] in names}
    except (ValueError, OverflowError):
        offsets = {0, 1}
    if len(offsets) > 1:
        raise UnreadableAsset(f"product metadata {path}: bands have no offset in common; fetch it again")
    return offsets.pop() if offsets else None
