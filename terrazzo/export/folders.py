"""Writes an export as one Zarr folder, version 2, as xarray and GDAL read it. Needs `terrazzo[zarr]`."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import rasterio
import zarr
from rasterio.windows import Window

from terrazzo.bulk.lock import alone
from terrazzo.errors import InvalidRequest, NameTaken, OutsideCoverage
from terrazzo.export.order import Compression, Order
from terrazzo.export.run import Exported, export, publish, work_folder
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.origin import EPOCH

COMPRESSORS = {"deflate": numcodecs.Zlib(6), "zstd": numcodecs.Zstd(9), "none": None}
"""Those of an order that Zarr has too."""
CHUNK = 1024
"""Pixels a side of a chunk: the blocks of exports are whole parts of it."""
GRID = "spatial_ref"
"""Variable that holds the coordinate system, as rioxarray and odc-geo look for it."""


NOTE = "rendered.json"
"""File beside rasters that says that they are complete."""
MARKS = (".zgroup", ".zarray", "zarr.json")
"""Files of which a Zarr has one at its top."""


def require_free(folder: Path, overwrite: bool) -> None:
    """Checks that a Zarr and its lock may be written under a name.

    Raises:
        NameTaken: one is there and may not be replaced, or what is there is no Zarr, which nothing replaces.
    """
    require_replaceable(folder, overwrite)
    if lock_of(folder).exists() and not overwrite:
        raise NameTaken(f"{lock_of(folder)} exists: name another, or replace it with --overwrite")


def require_replaceable(folder: Path, overwrite: bool) -> None:
    """Checks that a Zarr may be written under a name.

    Raises:
        NameTaken: one is there and may not be replaced, or what is there is no Zarr, which nothing replaces.
    """
    if folder.is_symlink() or (folder.exists() and not _is_zarr(folder)):
        raise NameTaken(f"{folder} exists and is no Zarr: name another, or remove it")
    if folder.exists() and not overwrite:
        raise NameTaken(f"{folder} exists: name another, or replace it with --overwrite")


def lock_of(folder: Path) -> Path:
    """Where the lock of a Zarr lies: beside it, and beside that of a GeoTIFF of the same name."""
    return folder.with_name(f"{folder.name}.lock.json")


def rasters_folder(engine: Engine, order: Order, folder: Path) -> Path:
    """Where the rasters of an order lie, out of sight, until they are a Zarr."""
    return work_folder(engine, order, folder).with_suffix(".rasters")


def export_zarr(
    engine: Engine, order: Order, folder: Path, *, workers: int = 1, overwrite: bool = False
) -> Iterator[float | Exported]:
    """Renders an order into a Zarr folder; yields the share that is rendered, and at the end what was written.

    Closing the iterator stops the export; the same call again goes on from the finished windows, or from the rasters where
    only the folder could not be written.

    Args:
        folder: to write; the lock lies beside it.
        overwrite: whether a Zarr and a lock of these names may be replaced.

    Raises:
        NameTaken: they may not.
        OSError: the disk has too little room or the folder cannot be written.
        InvalidRequest, OutsideCoverage, StoreError: as `terrazzo.export.run.export`.
    """
    work = rasters_folder(engine, order, folder)
    require_free(folder, overwrite or _is_own(folder, work))
    work.mkdir(exist_ok=True)
    with alone(work):
        try:
            for step in _rendered(engine, order, work, folder.stem, workers):
                if isinstance(step, float):
                    yield step
                else:
                    exported = step
        except (InvalidRequest, OutsideCoverage):
            shutil.rmtree(work)
            raise
        # The lock comes first: a folder of that name beside it is known as this order's own when it was stopped here.
        publish(lock_of(folder), exported.files[-1].read_text())
        write_zarr([f for f in exported.files if f.suffix == ".tif"], folder, order.compression)
        shutil.rmtree(work)
    yield exported._replace(path=folder, files=(folder, lock_of(folder)))


def _is_own(folder: Path, work: Path) -> bool:
    """Whether the lock that stands under a Zarr's name is that of the rasters that wait for it."""
    note, lock = work / NOTE, lock_of(folder)
    if not (note.exists() and lock.exists()):
        return False
    names: list[str] = json.loads(note.read_text())[0]
    return lock.read_text() == (work / names[-1]).read_text()


def _rendered(
    engine: Engine, order: Order, work: Path, stem: str, workers: int
) -> Iterator[float | Exported]:
    """The rasters of an order, rendered once: a note beside them says that they are complete."""
    note = work / NOTE
    if not note.exists():
        for step in export(engine, order, work / f"{stem}.tif", workers=workers):
            if isinstance(step, float):
                yield step
            else:
                written = [f.name for f in step.files], step.share, step.scenes, step.problems
                publish(note, json.dumps(written))
    names, share, scenes, problems = json.loads(note.read_text())
    files = tuple(work / name for name in names)
    yield Exported(files[0], files, share, tuple(scenes), tuple(problems))


def _is_zarr(folder: Path) -> bool:
    return folder.is_dir() and (any((folder / m).exists() for m in MARKS) or not any(folder.iterdir()))


def write_zarr(rasters: Sequence[Path], folder: Path, compression: Compression = "deflate") -> None:
    """Writes each band of rasters of one grid as a variable (y, x) with its numbers, scale and nodata; whole or not at all.

    GDAL reads version 3 since 3.11 only, so this is version 2. Chunks without data are not written: Zarr's own fill value is
    the nodata, as is `_FillValue`, by which xarray masks. Names that would be one key are numbered. A folder of that name is
    replaced.
    """
    with _whole(folder) as group:
        for path in rasters:
            with rasterio.open(path) as dataset:
                if "x" not in group:
                    _write_grid(group, dataset)
                for number in dataset.indexes:
                    _write_values(_array(group, dataset, number, compression), dataset, number)


def write_cube(
    days: Sequence[tuple[date, Sequence[Path]]], folder: Path, compression: Compression = "deflate"
) -> None:
    """Writes rasters of one grid as a cube: a variable (time, y, x) of each band, a day after the other; as `write_zarr` does.

    Args:
        days: with the rasters of each, those of all days alike.
    """
    with _whole(folder) as group:
        numbers = np.array([(day - EPOCH).days for day, _ in days], "int32")
        time = group.create_array("time", data=numbers, compressors=None)
        time.attrs.update(
            {"_ARRAY_DIMENSIONS": ["time"], "units": "days since 1970-01-01", "calendar": "standard"}
        )
        arrays: dict[tuple[int, int], Any] = {}
        for at, (_, rasters) in enumerate(days):
            for raster, path in enumerate(rasters):
                with rasterio.open(path) as dataset:
                    if "x" not in group:
                        _write_grid(group, dataset)
                    for number in dataset.indexes:
                        band = raster, number
                        if band not in arrays:
                            arrays[band] = _array(group, dataset, number, compression, len(days))
                        _write_values(arrays[band], dataset, number, (at,))


@contextmanager
def _whole(folder: Path) -> Iterator[zarr.Group]:
    """A group out of sight that becomes the folder once all is written, and goes otherwise."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        group = zarr.open_group(part, mode="w", zarr_format=2, attributes={"Conventions": "CF-1.8"})
        yield group
        zarr.consolidate_metadata(group.store, zarr_format=2)
        # An old one that is half removed would still open, with holes.
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_grid(group: zarr.Group, dataset: Any) -> None:
    """The coordinates of pixels' middles, and the coordinate system."""
    t = dataset.transform
    axes = {
        "x": t.c + (np.arange(dataset.width) + 0.5) * t.a,
        "y": t.f + (np.arange(dataset.height) + 0.5) * t.e,
    }
    for name, values in axes.items():
        array = group.create_array(name, data=values, compressors=None)
        array.attrs.update({"_ARRAY_DIMENSIONS": [name], "standard_name": f"projection_{name}_coordinate"})
    system = group.create_array(GRID, data=np.array(0, "int32"), compressors=None)
    geotransform = " ".join(map(repr, t.to_gdal()))
    wkt = dataset.crs.to_wkt()
    system.attrs.update(
        {"_ARRAY_DIMENSIONS": [], "crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": geotransform}
    )


def _write_values(array: Any, dataset: Any, number: int, place: tuple[int, ...] = ()) -> None:
    """Writes a band into a variable, at a place of its leading axes; chunks without data stay unwritten."""
    nodata = dataset.nodatavals[number - 1]
    holds = np.isfinite if nodata is not None and np.isnan(nodata) else lambda block: block != nodata
    for row in range(0, dataset.height, CHUNK):
        for col in range(0, dataset.width, CHUNK):
            height, width = min(CHUNK, dataset.height - row), min(CHUNK, dataset.width - col)
            block = dataset.read(number, window=Window(col, row, width, height))
            if nodata is None or holds(block).any():
                array[(*place, *np.s_[row : row + height, col : col + width])] = block


def _array(
    group: zarr.Group, dataset: Any, number: int, compression: Compression, times: int | None = None
) -> Any:
    """A variable for a band, without values: (y, x), or (time, y, x) for so many times."""
    name = dataset.descriptions[number - 1] or f"b{number}"
    dtype, nodata = np.dtype(dataset.dtypes[number - 1]), dataset.nodatavals[number - 1]
    missing = None if nodata is None else dtype.type(nodata).item()
    array = group.create_array(
        _key(name, group),
        shape=(*([] if times is None else [times]), *dataset.shape),
        chunks=(*([] if times is None else [1]), min(CHUNK, dataset.height), min(CHUNK, dataset.width)),
        dtype=dtype,
        fill_value=missing,
        compressors=COMPRESSORS[compression],
    )
    about: dict[str, Any] = {
        "_ARRAY_DIMENSIONS": [*([] if times is None else ["time"]), "y", "x"],
        "grid_mapping": GRID,
        "coordinates": GRID,
        "long_name": name,
        # As GDAL's driver reads it.
        "_CRS": {"wkt": dataset.crs.to_wkt()},
    }
    # NaN is no JSON; readers take it from the array's own fill value.
    if missing is not None and not np.isnan(missing):
        about["_FillValue"] = missing
    scale, offset = dataset.scales[number - 1], dataset.offsets[number - 1]
    if (scale, offset) != (1, 0):
        about |= {"scale_factor": scale, "add_offset": offset}
    array.attrs.update(about)
    return array


def _key(name: str, taken: zarr.Group) -> str:
    """A band's name as a key that is free: expressions have signs that no key may have, and may differ in nothing else."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "band"
    numbered = (f"{plain}_{n}" if n > 1 else plain for n in count(1))
    return next(key for key in numbered if key not in taken)
