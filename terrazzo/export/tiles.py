"""From finished windows to pictures in web map tiles: GeoPackage, MBTiles and PMTiles."""

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import rasterio
from pmtiles.convert import mbtiles_to_pmtiles
from rasterio.enums import Resampling
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window as RasterWindow

from terrazzo.export.files import Raster, vrt
from terrazzo.export.order import Picture
from terrazzo.export.pieces import PICTURE, layer_file
from terrazzo.formats import FORMATS
from terrazzo.mosaic.warp import Target

TILE = 256


def write_tiles(
    raster: Raster,
    target: Target,
    pieces: Mapping[RasterWindow, Path],
    path: Path,
    tags: Mapping[str, str],
    picture: Picture,
) -> None:
    """Joins windows into one file of tiles with all zooms down to one tile, which appears whole or not at all.

    Args:
        target: on the pixels of the picture's zoom, so that none is resampled.
        pieces: the windows that hold data, with their files' names without ending.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    form = FORMATS[picture.format]
    # A folder, since GDAL calls a GeoPackage's layer as its file, and rasterio writes options in capitals.
    folder = path.with_name(f".{path.name}.part")
    folder.mkdir(exist_ok=True)
    whole, packed = (folder / f"{path.stem}.{k}" for k in (form.driver.lower(), "pmtiles"))
    sources = [(w, str(layer_file(base, None, PICTURE).absolute())) for w, base in pieces.items()]
    options = {"TILE_FORMAT": picture.tiles.upper(), "RESAMPLING": "NEAREST", "QUALITY": "85"}
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="NO"):
            copy_raster(
                vrt(raster, target, sources, tags), whole, driver=form.driver, **options, **form.settings
            )
            levels = _levels(target, picture.zoom)
            if levels:
                with rasterio.open(whole, "r+") as file:
                    file.build_overviews(levels, Resampling.average)
        if form.driver == "MBTILES":
            _describe(whole, path.stem, tags)
        if picture.format == "pmtiles":
            mbtiles_to_pmtiles(str(whole), str(packed), None)  # type: ignore[no-untyped-call]
        finished = packed if picture.format == "pmtiles" else whole
        os.chmod(finished, 0o644)
        with finished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(finished, path)
    except (rasterio.errors.RasterioError, sqlite3.Error) as error:
        raise OSError(f"cannot write {path}: {error}; is the disk full?") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _levels(target: Target, zoom: int) -> list[int]:
    """Factors of the overviews: until all of it is one or two tiles a side."""
    side, levels = max(target.shape), [1]
    while side > TILE and len(levels) <= zoom:
        levels.append(2 * levels[-1])
        side = -(-side // 2)
    return levels[1:]


def _describe(path: Path, name: str, tags: Mapping[str, str]) -> None:
    """What an MBTiles file says of itself."""
    about = {
        "name": name,
        "type": "baselayer",
        "description": tags["TERRAZZO_REQUEST"],
        "attribution": tags["ATTRIBUTION"],
    }
    about |= {k.lower(): tags[k] for k in ("TERRAZZO_MOSAIC", "TERRAZZO_VERSION", "LICENSE") if k in tags}
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany("DELETE FROM metadata WHERE name = ?", [(k,) for k in about])
        file.executemany("INSERT INTO metadata (name, value) VALUES (?, ?)", about.items())
