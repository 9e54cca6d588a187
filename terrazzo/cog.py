"""Writes rasters as Cloud-Optimized GeoTIFF with the overviews their meaning demands."""

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster

Overview = Literal["average", "mode", "majority", "weight"]
BLOCK = 256


def write_cog(
    path: Path,
    array: NDArray[Any],
    transform: Affine,
    crs: str,
    *,
    nodata: float | None,
    overview: Overview,
    levels: int,
    scale: float = 1.0,
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Writes one band as a COG: 256 px blocks, ZSTD, predictor 2, overviews by powers of two, no sparse tile.

    Args:
        path: the file; appears whole or not at all.
        array: (row, col) uint8 or int16; both sides divisible by 2**levels.
        overview: `average` over valid pixels, `mode` of all pixels, `majority` of valid pixels (nodata then is below all
            values), or `weight`: 0 where all pixels below are 0, 1 where some are, else their rounded mean.
        levels: number of overviews.

    Raises:
        ValueError: a side is not divisible by 2**levels.
        OSError: the disk is full or the folder cannot be written.
    """
    if any(n % 2**levels for n in array.shape):
        raise ValueError(f"{array.shape} cannot be halved {levels} times")
    pyramid = [array]
    for _ in range(levels):
        pyramid.append(_REDUCE[overview](pyramid[-1], nodata))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tif")
    os.close(handle)
    temporary = Path(name)
    try:
        _copy(pyramid, temporary, transform, crs, nodata, scale, description, tags or {})
        os.chmod(temporary, 0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except rasterio.errors.RasterioError as error:
        raise OSError(f"cannot write {path}: {error}; is the disk full?") from error
    finally:
        temporary.unlink(missing_ok=True)


def _copy(
    pyramid: list[NDArray[Any]],
    target: Path,
    transform: Affine,
    crs: str,
    nodata: float | None,
    scale: float,
    description: str,
    tags: Mapping[str, str],
) -> None:
    # The COG driver copies overviews of its source as they are, and a VRT may name any raster as its
    # overview: so each level is ours, where GDAL's resamplings have none for weights.
    with ExitStack() as stack:
        names = []
        for k, level in enumerate(pyramid):
            memory = stack.enter_context(MemoryFile(ext=".tif"))
            profile = {
                "driver": "GTiff",
                "height": level.shape[0],
                "width": level.shape[1],
                "count": 1,
                "dtype": level.dtype.name,
                "crs": crs,
                "transform": transform @ Affine.scale(2**k),
                "nodata": nodata,
            }
            with memory.open(**profile) as dataset:
                dataset.write(level, 1)
            names.append(memory.name)
        vrt = _vrt(pyramid, names, transform, crs, nodata, scale, description, tags)
        smallest = min(BLOCK, *(1 << (n - 1).bit_length() for n in pyramid[0].shape))
        copy_raster(
            vrt,
            target,
            driver="COG",
            COMPRESS="ZSTD",
            LEVEL="1",
            PREDICTOR="YES",
            BLOCKSIZE=str(max(smallest, 128)),
            OVERVIEWS="FORCE_USE_EXISTING" if len(pyramid) > 1 else "NONE",
            OVERVIEW_COMPRESS="ZSTD",
            OVERVIEW_PREDICTOR="YES",
            SPARSE_OK="NO",
            BIGTIFF="IF_SAFER",
            NUM_THREADS="1",
        )


def _vrt(
    pyramid: list[NDArray[Any]],
    names: list[str],
    transform: Affine,
    crs: str,
    nodata: float | None,
    scale: float,
    description: str,
    tags: Mapping[str, str],
) -> str:
    height, width = pyramid[0].shape
    kind = {"uint8": "Byte", "int16": "Int16"}[pyramid[0].dtype.name]
    metadata = "".join(f'<MDI key="{k}">{escaped(v)}</MDI>' for k, v in tags.items())
    overviews = "".join(
        f"<Overview><SourceFilename>{n}</SourceFilename><SourceBand>1</SourceBand></Overview>"
        for n in names[1:]
    )
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{crs}</SRS>'
        f"<GeoTransform>{', '.join(repr(v) for v in transform.to_gdal())}</GeoTransform>"
        f"<Metadata>{metadata}</Metadata>"
        f'<VRTRasterBand dataType="{kind}" band="1"><Description>{escaped(description)}</Description>'
        + (f"<NoDataValue>{nodata:g}</NoDataValue>" if nodata is not None else "")
        + (f"<Scale>{scale!r}</Scale><Offset>0</Offset>" if scale != 1.0 else "")
        + f"<SimpleSource><SourceFilename>{names[0]}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        f"{overviews}</VRTRasterBand></VRTDataset>"
    )


def escaped(text: str) -> str:
    """Text as it may stand in a VRT's elements."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quads(array: NDArray[Any]) -> NDArray[Any]:
    """(4, row / 2, col / 2): the four pixels below each pixel of the next level."""
    h, w = array.shape
    return np.moveaxis(array.reshape(h // 2, 2, w // 2, 2), (1, 3), (0, 1)).reshape(4, h // 2, w // 2)


def reduce_average(array: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Half-size array: mean of the valid pixels of each 2 × 2, rounded half to even; nodata where none is."""
    out = np.empty((array.shape[0] // 2, array.shape[1] // 2), array.dtype)
    _average(array, nodata is not None, 0 if nodata is None else nodata, out)
    return out


@njit(cache=True, nogil=True)
def _average(
    array: NDArray[Any], has_nodata: bool, nodata: float, out: NDArray[Any]
) -> None:  # pragma: no cover
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            total, count = 0.0, 0
            for i in range(2 * r, 2 * r + 2):
                for j in range(2 * c, 2 * c + 2):
                    if not has_nodata or array[i, j] != nodata:
                        total += array[i, j]
                        count += 1
            out[r, c] = np.rint(total / count) if count else nodata


def reduce_mode(array: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Half-size array: the commonest value of each 2 × 2, the highest of equally common ones."""
    a, b, c, d = np.sort(_quads(array), axis=0)
    common: NDArray[Any] = np.where(c == d, d, np.where(b == c, b, np.where(a == b, a, d)))
    return common


def reduce_majority(array: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Half-size array: the commonest valid value of each 2 × 2, the highest of equally common ones."""
    a, b, c, d = np.sort(_quads(array), axis=0)
    common: NDArray[Any] = np.where(
        c == d, d, np.where((b == c) & (b != nodata), b, np.where((a == b) & (a != nodata), a, d))
    )
    return common


def reduce_weight(array: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Half-size array: never calls a place clear that is clear only in part."""
    quads = _quads(array)
    mean = np.rint(quads.mean(axis=0, dtype=np.float32)).astype(array.dtype)
    some = (quads > 0).any(axis=0)
    return np.where((quads > 0).all(axis=0), mean, some.astype(array.dtype))


_REDUCE: dict[Overview, Callable[[NDArray[Any], float | None], NDArray[Any]]] = {
    "average": reduce_average,
    "mode": reduce_mode,
    "majority": reduce_majority,
    "weight": reduce_weight,
}
