"""What a field of 8 by 11 km takes of JP2: `python -m benchmarks.window [FOLDER] [--level L1C --level L2A]`.

Writes whole bands of 10, 20 and 60 m and their masks (once), tiled as ESA's are, and serves them on this machine with and without
a list of the tile-parts (TLM). Reads the field's part with `download`, with GDAL through /vsicurl, and prints bytes and requests of
both against the bytes of the tiles touched and of the file, what the plan says beforehand, and whether all pixels are the whole's.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import click
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.windows import from_bounds

from benchmarks.land import PERIOD, clouds, fractal, paint
from benchmarks.product import EPSG, GROUND, LEFT, SIDE_M, SPECTRA, TILE, TOP
from terrazzo.bands import BANDS
from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.area import from_tile, part_of
from terrazzo.precompute.acquire.download import download
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.parts import rows_and_columns
from terrazzo.precompute.acquire.search import RemoteFile
from terrazzo.precompute.acquire.sizes import CODED, by_headers, share_of
from terrazzo.precompute.products.codestream import listed_parts, read_header, tiles_of
from tests.world.jp2 import put_together, taken_apart, with_list, write_jp2
from tests.world.ranges import Ranges, range_server

ROLES = {"B02": 10, "B11": 20, "B09": 60, "SCL": 20, "DETFOO": 10}
GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".jp2", "GDAL_NUM_THREADS": "1",
    "GDAL_PAM_ENABLED": "NO", "VSI_CACHE": "NO",
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    """A whole image: its pixels, and the JP2 of it with and without a list of the tile-parts."""

    role: str
    level: str
    values: NDArray[np.generic]
    files: dict[bool, bytes]

    @property
    def metres(self) -> int:
        return ROLES[self.role]


def images(folder: Path, level: str) -> list[Image]:
    """The images of a product of a level."""
    texture, half = fractal(PERIOD, 1), SIDE_M // 20
    classes = clouds((half, half), (0, 0), 0.2, 1, texture)
    out = []
    for role, metres in ROLES.items():
        if (level, role) == ("L1C", "SCL"):
            continue
        side = SIDE_M // metres
        if role in BANDS:
            values = np.empty((side, side), np.int16)
            air = GROUND.get(role, 0) if level == "L2A" else 0
            spectrum = tuple(max(v - air, 20) for v in SPECTRA[role])
            small = classes if metres <= 20 else classes[1::3, 1::3]
            paint(values, 0, 0, texture, small, 20 // metres or 1, spectrum, 12.0, 1, 1.0, 1000.0, 0.0)
            pixels: NDArray[Any] = values.astype(np.uint16)
        elif role == "SCL":
            pixels = np.array([0, 4, 6, 11, 9, 10, 3], np.uint8)[classes]
        else:
            pixels = np.tile((np.arange(side) // 2700 + 1).astype(np.uint8)[None], (side, 1))
        path = folder / f"{level}-{role}.jp2"
        if not path.exists():
            write_jp2(path, pixels, metres=metres, tile=CODED[metres], corner=(LEFT, TOP), epsg=EPSG)
        head, parts = taken_apart(path.read_bytes())
        files = {False: path.read_bytes(), True: put_together(with_list(head, parts), parts)}
        out.append(Image(role, level, pixels, files))
    return out


def touched(image: Image, part: Bounds) -> int:
    """Bytes of the tiles that a part touches."""
    header = read_header(image.files[True], len(image.files[True]))
    assert header is not None
    transform = rasterio.Affine(image.metres, 0, LEFT, 0, -image.metres, TOP)
    tiles = tiles_of(header, *rows_and_columns(part, transform, (header.height, header.width)))
    numbers = set(tiles.numbers(header.columns))
    return sum(p.end - p.start for p in listed_parts(header) or () if p.tile in numbers)


def ours(server: Ranges, name: str, image: Image, part: Bounds) -> tuple[NDArray[Any], Bounds, float]:
    """Pixels, their place, and CPU seconds of fetching a part and reading it."""
    opener, begun = Opener(find_archive(server.address)), time.process_time()
    href, size = f"{server.address}/{name}", len(server.files[name])
    file = RemoteFile(image.role, href, name, size, None, part=part)
    with tempfile.TemporaryDirectory() as folder:
        download(opener, file, Path(folder), lambda size: None, Event(), note=click.echo)
        with rasterio.open(Path(folder) / file.kept) as dataset:
            return dataset.read(1), Bounds(*dataset.bounds), time.process_time() - begun


def theirs(server: Ranges, name: str, part: Bounds) -> NDArray[Any]:
    """The same of GDAL."""
    with rasterio.Env(**GDAL), rasterio.open(f"/vsicurl/{server.address}/{name}") as dataset:
        window = from_bounds(*part, dataset.transform).round_offsets().round_lengths()
        return dataset.read(1, window=window)


def compare(server: Ranges, image: Image, part: Bounds, *, listed: bool) -> tuple[float, float]:
    """Prints a line of an image; returns the bytes fetched and planned."""
    name = f"{image.level}-{image.role}-{listed}.jp2"
    server.files[name], size = image.files[listed], len(image.files[listed])
    file = RemoteFile(image.role, f"{server.address}/{name}", name, size, None, part=part)
    (exact,), _ = by_headers([(Opener(find_archive(server.address)), file)], 1)
    planned = size * share_of(file, TILE) if exact is None else exact
    server.given.clear()
    values, place, seconds = ours(server, name, image, part)
    mine, asked = server.bytes, len(server.given)
    server.given.clear()
    other = theirs(server, name, place)
    top, left = round((TOP - place.top) / image.metres), round((place.left - LEFT) / image.metres)
    whole = image.values[top : top + values.shape[0], left : left + values.shape[1]]
    same = np.array_equal(values, whole) and np.array_equal(other, whole)
    needed = touched(image, part)
    click.echo(
        f"{image.level} {image.role:6} {image.metres:2} m {'TLM' if listed else '-':3} file {size / 1e6:6.2f} MB"
        f"  tiles {needed / 1e6:6.2f}  ours {mine / 1e6:6.2f} ({mine / needed:5.2f}×, {asked:3} requests, {seconds:4.1f} CPU-s)"
        f"  GDAL {server.bytes / 1e6:6.2f} ({server.bytes / needed:5.2f}×, {len(server.given):3} requests)"
        f"  planned {planned / 1e6:6.2f} ({'by area' if exact is None else 'by header'})  same pixels {same}"
    )
    assert same
    assert exact in (None, mine)
    del server.files[name]
    return mine, planned


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="build/window")
@click.option("--level", "levels", multiple=True, type=click.Choice(["L1C", "L2A"]), default=("L1C", "L2A"))
def main(folder: Path, levels: tuple[str, ...]) -> None:
    """Print bytes and requests."""
    folder.mkdir(parents=True, exist_ok=True)
    middle = shapely.centroid(from_tile(TILE))
    part = part_of(shapely.box(middle.x - 0.05, middle.y - 0.05, middle.x + 0.05, middle.y + 0.05), TILE)
    assert part is not None
    click.echo(f"part of {(part.right - part.left) / 1e3:.1f} by {(part.top - part.bottom) / 1e3:.1f} km")
    with range_server({}) as server:
        for level in levels:
            for image in images(folder, level):
                for listed in (True, False):
                    compare(server, image, part, listed=listed)


if __name__ == "__main__":
    main()
