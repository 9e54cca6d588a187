"""A tile of one date from MapServer and from Terrazzo, over the same files: `python -m benchmarks.mapserver --store FOLDER`.

FOLDER is a store made by `python -m benchmarks.scenes`; MapServer: `apt-get install cgi-mapserver`. MapServer is given what a mosaic server
would give it, a tile index over the scenes of the store's clearest date, each a VRT of its three bands, and answers as CGI. What the
program itself takes to start, with a map without layers, is taken off its CPU. No normalization, clouds not hidden: it offers neither.
"""

import argparse
import io
import os
import resource
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from morecantile import Tile
from PIL import Image

from benchmarks.tile import MERCATOR, OFF, RGB, Ours, native_zoom, tiles
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.store import Store
from terrazzo.version import Entry, Version, open_version

LAYER = """
  LAYER
    NAME "date" TYPE RASTER STATUS ON
    TILEINDEX "{index}" TILEITEM "location"
    PROJECTION "init=epsg:{epsg}" END
    PROCESSING "SCALE=0,3000" PROCESSING "BANDS=1,2,3" PROCESSING "NODATA=-32768" PROCESSING "CLOSE_CONNECTION=DEFER"
  END"""
MAP = """MAP
  NAME "one" SIZE 256 256 UNITS METERS
  PROJECTION "init=epsg:3857" END
  OUTPUTFORMAT NAME "png" DRIVER AGG/PNG MIMETYPE "image/png" IMAGEMODE RGBA FORMATOPTION "COMPRESSION=1" END
  IMAGETYPE "png"
  WEB METADATA "ows_enable_request" "*" "ows_title" "one" "ows_srs" "EPSG:3857" END END{layer}
END
"""


ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "REQUEST_METHOD": "GET",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}


def write_map(folder: Path, version: Version, entries: list[Entry]) -> tuple[Path, Path]:
    """A map of a date's scenes, and one without layers."""
    index, vrts = folder / "index.shp", []
    for entry in entries:
        vrts.append(str(folder / f"{entry.scene.id}.vrt"))
        paths = [version.store.raster_path(entry.scene.band_key(b)) for b in RGB]
        subprocess.run(["gdalbuildvrt", "-q", "-separate", vrts[-1], *paths], check=True)
    subprocess.run(["gdaltindex", str(index), *vrts], check=True, capture_output=True)
    (folder / "mapserver.conf").write_text('CONFIG ENV MS_MAP_PATTERN "." END END')
    full, empty = folder / "one.map", folder / "none.map"
    full.write_text(MAP.format(layer=LAYER.format(index=index, epsg=entries[0].scene.epsg)))
    empty.write_text(MAP.format(layer=""))
    return full, empty


def answered(path: Path, tile: Tile) -> tuple[float, bytes]:
    """Milliseconds of CPU of one answer, and its PNG."""
    query = f"MODE=TILE&TILEMODE=GMAP&TILE={tile.x}+{tile.y}+{tile.z}&LAYERS=all&MAP_IMAGETYPE=png"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["mapserv", "-nh", f"QUERY_STRING={query}&map={path}"],
        capture_output=True,
        check=True,
        env=ENVIRONMENT | {"MAPSERVER_CONFIG_FILE": str(path.with_name("mapserver.conf"))},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if not done.stdout.startswith(b"\x89PNG"):
        raise SystemExit(done.stdout[-600:].decode(errors="replace"))
    return 1e3 * cpu, done.stdout


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--tiles", type=int, default=6, help="tiles a zoom [6]")
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    version = open_version(Store(a.store), "mosaic")
    first = version.entries("all")[0]
    day = first.scene.datetime.date()
    entries = [
        e
        for e in version.entries("all")
        if e.scene.datetime.date() == day and e.scene.epsg == first.scene.epsg
    ]
    request = replace(OFF, ids=tuple(e.scene.id for e in entries), fill="best", resampling="nearest")
    blocks = Blocks()
    ours = Ours(Engine(version, blocks))
    native = native_zoom(version)
    with tempfile.TemporaryDirectory() as name:
        full, empty = write_map(Path(name), version, entries)
        print(f"{len(entries)} scenes of {day}; ms of CPU a tile of 256 px to PNG, medians")
        for zoom in (native, native - 1, native - 3):
            theirs, start, own, same = [], [], [], []
            for number in range(a.rounds + 1):
                for tile in tiles(version, zoom, a.tiles, 7):
                    blocks.empty()
                    begun = time.process_time()
                    png = ours.png(ours.engine.tile(request, MERCATOR, *tile))
                    mine = 1e3 * (time.process_time() - begun)
                    cost, picture = answered(full, tile)
                    nothing, _ = answered(empty, tile)
                    if number:
                        own.append(mine)
                        theirs.append(cost)
                        start.append(nothing)
                        same.append(alike(png, picture))
            net = statistics.median(theirs) - statistics.median(start)
            print(
                f"zoom {zoom}: MapServer {statistics.median(theirs):.1f}, less its start {net:.1f}; Terrazzo {statistics.median(own):.1f}"
                f" ({net / statistics.median(own):.1f} ×); pixels within 2 of 255: {100 * np.mean(same):.1f} %"
            )


def alike(one: bytes, other: bytes) -> float:
    """Share of the pixels that both show that differ by at most 2 of 255."""
    a, b = (np.asarray(Image.open(io.BytesIO(p)).convert("RGBA")).astype(int) for p in (one, other))
    both = (a[..., 3] > 0) & (b[..., 3] > 0)
    return float((np.abs(a - b)[both][:, :3].max(axis=1) <= 2).mean()) if both.any() else float("nan")


if __name__ == "__main__":
    main()
