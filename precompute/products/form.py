"""How a file writes reflectance: data type, scale, no data and mask; and its numbers as ESA's counts of 1e-4."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError

from terrazzo.bands import SCALE
from terrazzo.errors import ProductError, UnreadableAsset
from terrazzo.precompute.products.files import open_raster
from terrazzo.precompute.products.product import Declared

LIFT = 1000
"""Counts that are added to numbers that may lie below zero, as ESA does since baseline 04.00."""
BRIGHTEST = (0.01, 3.0)
"""Reflectance between which the brightest hundredth of any band of any scene begins: dark water at dusk, sunlit cloud."""
DARKEST = -0.5
"""Reflectance below which a number is none, but a mark for no data that nothing declares, -9999 or -32768 say."""
SATURATED = 65535
"""Count of a pixel that was too bright to measure."""
LOOK = 512
"""Rows and columns of the picture in which the brightest pixels are looked for."""
FEWEST = 100
"""Fewest valid pixels that decide."""


@dataclass(frozen=True)
class Form:
    """How a file writes reflectance.

    Attributes:
        gain: counts of 1e-4 that one of the file's steps stands for.
        lift: counts added so that what lies below zero stays.
        nodata: number of pixels without data; None where only the mask says.
        description: the form in words; empty for ESA's own.
        signed: numbers may lie below zero.
    """

    gain: float = 1.0
    lift: int = 0
    nodata: float | None = 0.0
    description: str = ""
    signed: bool = field(default=False, repr=False)

    @property
    def plain(self) -> bool:
        """Whether the file's numbers are ESA's counts."""
        return not self.description


PLAIN = Form()


def in_counts(values: NDArray[np.generic], valid: NDArray[np.bool_] | None, form: Form) -> NDArray[np.uint16]:
    """(row, col) a file's numbers as counts of 1e-4 plus the form's lift, 0 without data.

    Args:
        valid: what the file's own mask lets through; None where it has none.
    """
    # No product writes a reflectance as an unsigned 0, whatever else the file calls no data.
    there = np.ones(values.shape, bool) if valid is None else valid.copy()
    if values.dtype.kind == "f":
        there &= np.isfinite(values)
    if form.nodata is not None and not np.isnan(form.nodata):
        there &= values != form.nodata
    if values.dtype.kind == "u":
        there &= values != 0
    # Numbers for no data of the widest types are past float32.
    scaled = np.where(there, values, 0).astype(np.float32) * np.float32(form.gain)
    there &= scaled > np.float32(DARKEST / SCALE)
    # ESA's 65535 is less after an addition was taken out; no ground is as bright.
    saturated = scaled >= SATURATED - LIFT
    if values.dtype == np.uint16:
        saturated |= values == SATURATED
    counts = np.where(saturated, SATURATED, np.clip(np.rint(scaled) + form.lift, 1, SATURATED - 1))
    return np.where(there, counts, 0).astype(np.uint16)


def is_lowest(counts: NDArray[np.generic], form: Form) -> NDArray[np.bool_]:
    """(row, col) counts that stand for ESA's lowest, 1, which clipping makes of all below, no data among it."""
    lowest: NDArray[np.bool_] = counts == 1
    if form.lift:
        lowest |= counts == form.lift + 1
    return lowest


def masked(dataset: rasterio.DatasetReader) -> bool:
    """Whether a file has a mask or an alpha band of its own."""
    flags = dataset.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags or MaskFlags.alpha in flags


def read_forms(paths: Mapping[str, str], declared: Mapping[str, Declared]) -> dict[str, Form]:
    """The forms of a product's bands, by path, without those that are ESA's own.

    All get the same lift, since one offset is theirs.

    Args:
        paths: by band.
        declared: what the Item says of each path; what the file says itself comes first.

    Raises:
        ProductError: a file's numbers cannot be reflectance in any form that it or the Item names.
        UnreadableAsset: a file cannot be opened.
    """
    forms = {}
    for band, path in paths.items():
        with image(path) as dataset:
            forms[path] = _form(dataset, band, declared.get(path, Declared()))
    lift = max((f.lift for f in forms.values()), default=0)
    if lift:
        words = "uint16 beside files with numbers below zero"
        forms = {p: Form(f.gain, lift, f.nodata, f.description or words, f.signed) for p, f in forms.items()}
    return {p: f for p, f in forms.items() if not f.plain}


def declared_offset(paths: Mapping[str, str]) -> float | None:
    """The offset that a product's files say themselves, reflectance: 0 or −0.1; None where they say nothing.

    Args:
        paths: by band.

    Raises:
        ProductError: it is anything else, or not the same in all bands.
        UnreadableAsset: a file cannot be opened.
    """
    offsets = set()
    for path in paths.values():
        with image(path) as dataset:
            # A file without an offset has one of 0, which says nothing.
            offsets.add(dataset.offsets[0] if not np.isnan(dataset.offsets[0]) else 0.0)
    known = {-0.1 if np.isclose(o, -0.1, atol=1e-9) or o == -1000 else float(o) for o in offsets}
    if known <= {0.0}:
        return None
    if known == {-0.1}:
        return -0.1
    raise ProductError(
        f"its files say an offset of {', '.join(f'{o:g}' for o in sorted(known))}; products carry 0 or −0.1, the same in all"
        " bands. Fetch it as the archive delivers it"
    )


@contextmanager
def image(path: str) -> Iterator[rasterio.DatasetReader]:
    """An image of a product, open for reading.

    Raises:
        UnreadableAsset: it is missing, truncated or no raster.
    """
    try:
        dataset = open_raster(path)
    except (RasterioError, ValueError) as error:
        raise UnreadableAsset(f"{path} cannot be opened ({error}); fetch the product again") from None
    try:
        # Of several threads that decode a JP2 none says that it failed (GDAL 3.10.3).
        with rasterio.Env(GDAL_NUM_THREADS="1"), dataset:
            yield dataset
    except RasterioError as error:
        raise UnreadableAsset(f"{path} is damaged ({error}); fetch the product again") from None


def _form(dataset: rasterio.DatasetReader, band: str, declared: Declared) -> Form:
    kind = np.dtype(dataset.dtypes[0])
    if kind.kind not in "uif" or (dataset.count > 1 and not _only_alpha(dataset)):
        raise ProductError(
            f"{dataset.name} holds {dataset.count} bands of {kind}, no image of {band}; fetch it again"
        )
    nodata = _nodata(dataset, declared, kind)
    own = None if dataset.scales[0] == 1 else dataset.scales[0]
    scales = [s for s in (own, declared.scale) if s is not None]
    usual = all(np.isclose(s, SCALE) for s in scales)
    if kind == np.uint16 and usual and nodata == 0 and not masked(dataset):
        return PLAIN
    lift = LIFT if kind.kind != "u" else 0
    words = f"{kind}, no data {'by mask' if nodata is None else f'{nodata:g}'}"
    # ESA's scale makes a reflectance of 0.03 of the brightest byte, whatever the Item of a picture says.
    if (usual and kind.itemsize == 1) or (not scales and kind.kind == "u" and kind != np.uint16):
        without = f"with a scale of {SCALE:g}" if scales else "without a scale"
        raise ProductError(
            f"{dataset.name} holds {kind} {without}: a picture, no reflectance; fetch the bands themselves"
        )
    if kind.kind == "u" and kind.itemsize > 2 and usual:
        words = f"{kind}"
    candidates = (
        [s for s in scales if s > 0] if kind.kind != "f" else [s for s in (*scales, 1.0, SCALE) if s > 0]
    )
    if scales and not candidates:
        raise ProductError(f"{dataset.name}: a scale of {scales[0]:g} is none; correct the Item")
    candidates = list(dict.fromkeys(candidates)) or [SCALE]
    if usual and kind.kind != "f":
        return Form(1.0, lift, nodata, words, bool(lift))
    for scale in candidates:
        form = Form(scale / SCALE, lift, nodata, f"{words}, scale {scale:g}", bool(lift))
        bright = _brightest(dataset, form)
        if bright is None or BRIGHTEST[0] <= bright <= BRIGHTEST[1]:
            return form
    raise ProductError(
        f"{dataset.name}: with a scale of {' or '.join(f'{s:g}' for s in candidates)} its brightest pixels have a reflectance of"
        f" {bright:g}; correct raster:scale in the Item, or fetch it again"
    )


def _only_alpha(dataset: rasterio.DatasetReader) -> bool:
    return bool(dataset.count == 2 and dataset.colorinterp[1] == ColorInterp.alpha)


def _nodata(dataset: rasterio.DatasetReader, declared: Declared, kind: np.dtype[np.generic]) -> float | None:
    """The no-data number: the file's, the Item's, else 0; None where a mask marks it."""
    if dataset.nodata is not None:
        return float(dataset.nodata)
    if masked(dataset):
        return 0.0 if kind.kind == "u" else None
    if declared.nodata is not None:
        return declared.nodata
    return 0.0


def _brightest(dataset: rasterio.DatasetReader, form: Form) -> float | None:
    """Reflectance above which the brightest hundredth lies; None with too few pixels."""
    shape = tuple(min(LOOK, n) for n in dataset.shape)
    values = dataset.read(1, out_shape=shape)
    there = dataset.read_masks(1, out_shape=shape) > 0 if masked(dataset) else np.ones(shape, bool)
    there &= np.isfinite(values) if values.dtype.kind == "f" else True
    if form.nodata is not None:
        there &= values != form.nodata
    known = values[there].astype(np.float64)
    return None if known.size < FEWEST else float(np.percentile(known, 99)) * form.gain * SCALE
