"""What a tile costs: CPU per tile of Terrazzo and of stock titiler-mosaic over the same scenes.

    python -m benchmarks.tile --store FOLDER [--tiles 6] [--rounds 3]

FOLDER is a store made by `python -m benchmarks.scenes`, or by `terrazzo precompute sample`. All ways run in this
process, in turn for each tile, on process time, so that threads count. Nothing is in memory but the page cache:
stock TiTiler opens its files for each tile, Terrazzo's decoded blocks are dropped before each; what a server
keeps (open mosaics, parsed headers) is kept. Medians over the tiles. No HTTP on either side: stock is what the
endpoint of titiler.mosaic does between request and response, with its defaults, and tuned: one thread, the best
scene first, GDAL set to read no folders, the MosaicJSON in memory.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from cogeo_mosaic.backends import MosaicBackend
from morecantile import Tile, tms
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rio_tiler.constants import MAX_THREADS
from rio_tiler.io import STACReader
from rio_tiler.mosaic.methods import PixelSelectionMethod
from titiler.core.resources.enums import ImageType
from titiler.core.utils import render_image

from terrazzo.bands import NODATA
from terrazzo.formats import FORMATS
from terrazzo.grid import Bounds
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.measure import Drawn, Measure
from terrazzo.mosaic.request import PixelRequest
from terrazzo.server.render import render
from terrazzo.server.request import Ask
from terrazzo.store import Store
from terrazzo.version import Version, open_version, version_key

MERCATOR = tms.get("WebMercatorQuad")
RGB = ("B04", "B03", "B02")
RESCALE = (0.0, 0.3)
TUNED_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "GDAL_CACHEMAX": 200,
    "VSI_CACHE": True,
}
STRIP = 8
OFF = PixelRequest(RGB, method="first", normalize=False, resampling="nearest")
ON = PixelRequest(RGB, method="feather", normalize=True, resampling="bilinear")


@dataclass(frozen=True)
class Case:
    """A class of tiles.

    Attributes:
        zooms: relative to the native zoom of the scenes.
        request: what Terrazzo is asked.
        stock: pixel selection that stock TiTiler is asked for, or None where it offers none.
        against: name of the case whose cost this one's is compared with.
    """

    name: str
    zooms: tuple[int, ...]
    size: int
    request: PixelRequest
    stock: str | None = "first"
    against: str | None = None


CASES = (
    Case("native zooms, 256 px, first", (-1, 0), 256, OFF),
    Case("native zoom − 1, 512 px, first", (-1,), 512, OFF),
    Case("native zoom − 2 to − 6, 256 px, first", (-2, -3, -4, -5, -6), 256, OFF),
    Case("the same, feather, gains, bilinear", (-1, 0), 256, ON, None, "native zooms, 256 px, first"),
    Case("median of all dates", (-1, 0), 256, replace(OFF, method="median"), "median"),
)


@dataclass(frozen=True)
class Stock:
    """Stock TiTiler: its mosaic backend over the version's MosaicJSON, its renderer."""

    path: str
    tuned: bool
    definition: Any = None

    def array(self, case: Case, tile: Tile) -> Any:
        """What `MosaicTilerFactory`'s tile endpoint makes before it renders."""
        with (
            rasterio.Env(**(TUNED_GDAL if self.tuned else {})),
            MosaicBackend(self.path, mosaic_def=self.definition, reader=STACReader) as backend,
        ):
            assert case.stock is not None
            image, _ = backend.tile(
                *tile,
                tilesize=case.size,
                assets=list(case.request.bands),
                pixel_selection=PixelSelectionMethod[case.stock].value(),
                threads=1 if self.tuned else MAX_THREADS,
            )
        return image

    def png(self, image: Any) -> bytes:
        """As the endpoint renders with `rescale=`."""
        return bytes(
            render_image(image, output_format=ImageType.png, rescale=[tuple(v * 1e4 for v in RESCALE)])[0]
        )


@dataclass(frozen=True)
class Ours:
    """Terrazzo's engine and the server's renderer."""

    engine: Engine

    def array(self, case: Case, tile: Tile) -> Any:
        """The engine's image."""
        return self.engine.tile(case.request, MERCATOR, *tile, size=case.size)

    def png(self, image: Any) -> bytes:
        """As the server renders with `rescale=`."""
        ask = Ask(Measure(OFF), None, (RESCALE,), None, 1.0, None)
        target = tile_target(MERCATOR, 0, 0, 0, image.values.shape[1])
        return render(Drawn(image.values, image, (), ()), ask, target, FORMATS["png"], {})


def native_zoom(version: Version) -> int:
    """The first zoom whose pixels are not larger than the scenes'."""
    latitude = (version.bounds.bottom + version.bounds.top) / 2
    ground = 156_543.034 * np.cos(np.radians(latitude)) / version.store.config.pixel
    return int(np.ceil(np.log2(ground)))


def tiles(version: Version, zoom: int, count: int, seed: int) -> list[Tile]:
    """Tiles in the east of the scene that comes first, where the next zone's scenes do not reach."""
    first = version.entries("all")[0].scene
    grid = version.store.grid(first.epsg)
    b = grid.bounds(first.box)
    rng = np.random.default_rng(seed)
    x = b.left + (b.right - b.left) * (0.55 + 0.33 * rng.random(count))
    y = b.bottom + (b.top - b.bottom) * (0.25 + 0.5 * rng.random(count))
    lon, lat = rasterio.warp.transform(f"EPSG:{first.epsg}", "EPSG:4326", x, y)
    return list(dict.fromkeys(MERCATOR.tile(*p, zoom) for p in zip(lon, lat, strict=True)))


def measure(
    ways: Mapping[str, Stock | Ours],
    case: Case,
    places: Sequence[Tile],
    rounds: int,
    empty: Callable[[], None],
) -> dict[str, tuple[float, float]]:
    """Median milliseconds of CPU by way: the array alone, and the array and its PNG.

    The round before the first fills the page cache and is not counted.
    """
    cost: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    for number in range(rounds + 1):
        for tile in places:
            for name, way in ways.items():
                if isinstance(way, Stock) and case.stock is None:
                    continue
                empty()
                start = time.process_time()
                image = way.array(case, tile)
                middle = time.process_time()
                way.png(image)
                end = time.process_time()
                if number:
                    cost[name][0].append(1e3 * (middle - start))
                    cost[name][1].append(1e3 * (end - start))
    return {n: (statistics.median(a), statistics.median(p)) for n, (a, p) in cost.items() if a}


def against_gdal(engine: Engine, zoom: int, count: int, resampling: str) -> tuple[float, int]:
    """Share of pixels equal to GDAL's warp, and the greatest difference in counts, of one scene's first band.

    GDAL's kernel is not widened (scale 1): where pixels are larger than the scene's it would average over a
    place whose size depends on the chunk it works on.
    """
    entry = engine.version.entries("all")[0]
    scene = entry.scene
    request = PixelRequest(RGB[:1], stage="corrected", ids=(scene.id,), resampling=resampling)  # type: ignore[arg-type]
    path = engine.version.store.raster_path(scene.band_key(RGB[0]))
    same, total, worst = 0, 0, 0
    for tile in tiles(engine.version, zoom, count, 5):
        ours = engine.tile(request, MERCATOR, *tile).values[0]
        theirs = _warped(path, Bounds(*MERCATOR.xy_bounds(tile)), ours.shape, resampling)
        both = (ours != NODATA) & (theirs != NODATA)
        same += int((ours == theirs).sum())
        total += ours.size
        worst = max(worst, int(np.abs(ours.astype(int) - theirs)[both].max(initial=0)))
    return same / total, worst


def low_zooms(engine: Engine, rounds: int, empty: Callable[[], None]) -> float:
    """Median milliseconds of CPU of a tile of zooms 0–7 to PNG, of the mosaic's default request, from its pyramid."""
    way, b = Ours(engine), engine.version.bounds
    middle = ((b.left + b.right) / 2, (b.bottom + b.top) / 2)
    cost = []
    for number in range(rounds + 1):
        for zoom in range(8):
            empty()
            start = time.process_time()
            way.png(engine.tile(PixelRequest(RGB), MERCATOR, *MERCATOR.tile(*middle, zoom)))
            if number:
                cost.append(1e3 * (time.process_time() - start))
    return statistics.median(cost)


def point(engine: Engine, count: int, empty: Callable[[], None]) -> tuple[float, int]:
    """Median milliseconds of CPU of a point with its provenance, and the scenes that the place has."""
    scene = engine.version.entries("all")[0].scene
    b = engine.version.store.grid(scene.epsg).bounds(scene.box)
    rng = np.random.default_rng(6)
    x, y = rng.uniform(b.left, b.right, count + 1), rng.uniform(b.bottom, b.top, count + 1)
    selection = engine.select(PixelRequest(RGB))
    cost, scenes = [], 0
    for k in range(count + 1):
        empty()
        start = time.process_time()
        image = engine.points(selection, f"EPSG:{scene.epsg}", x[k : k + 1], y[k : k + 1])
        if k:
            cost.append(1e3 * (time.process_time() - start))
            scenes = max(scenes, int(image.count.max()))
    return statistics.median(cost), scenes


def _warped(path: str, bounds: Bounds, shape: tuple[int, int], resampling: str) -> NDArray[np.int16]:
    """(row, col) int16 by gdalwarp, in strips so narrow that its linear approximation of the projection is exact."""
    whole = rasterio.transform.from_bounds(*bounds, shape[1], shape[0])
    out = np.full(shape, NODATA, np.int16)
    with rasterio.open(path) as source:
        for j in range(0, shape[1], STRIP):
            strip = np.full((shape[0], STRIP), NODATA, np.int16)
            rasterio.warp.reproject(
                rasterio.band(source, 1),
                strip,
                dst_transform=whole @ rasterio.Affine.translation(j, 0),
                dst_crs="EPSG:3857",
                dst_nodata=NODATA,
                resampling=Resampling[resampling],
                XSCALE=1,
                YSCALE=1,
            )
            out[:, j : j + STRIP] = strip
    return out


def addressed(store: Store, key: str) -> str:
    """Path of a copy of a version's MosaicJSON with the addresses of this store; it lies in the folder of temporary files."""
    path = Path(store.raster_path(key))
    document = store.read_json(key) | {"asset_prefix": f"{store.root}/"}
    copy = Path(tempfile.gettempdir(), f"{path.parent.name}-mosaicjson.json")
    copy.write_text(json.dumps(document))
    return str(copy)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--mosaic", default="mosaic")
    parser.add_argument("--tiles", type=int, default=6, help="tiles a zoom [6]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count [3]")
    parser.add_argument("--only-ours", action="store_true", help="leave stock TiTiler out")
    a = parser.parse_args()
    warnings.filterwarnings("ignore", "Some statistics data in STAC")
    store = Store(a.store)
    version = open_version(store, a.mosaic)
    blocks = Blocks()
    engine = Engine(version, blocks)
    path = addressed(store, version_key(a.mosaic, version.name, "mosaicjson.json"))
    ways: dict[str, Stock | Ours] = {}
    if not a.only_ours:
        with MosaicBackend(path, reader=STACReader) as backend:
            definition = backend.mosaic_def
        ways |= {"stock": Stock(path, tuned=False), "tuned": Stock(path, tuned=True, definition=definition)}
    ways["ours"] = Ours(engine)
    native = native_zoom(version)
    print(
        f"{len(version.entries('all'))} scenes, native zoom {native}, {os.cpu_count()} processors, ms of CPU a tile\n"
    )
    print("| tile | stock | tuned | ours | × stock | × tuned | arrays only: stock | tuned | ours |")
    print("|---|---|---|---|---|---|---|---|---|")
    ours: dict[str, float] = {}
    for case in CASES:
        places = [t for dz in case.zooms for t in tiles(version, native + dz, a.tiles, abs(dz))]
        found = measure(ways, case, places, a.rounds, blocks.empty)
        ours[case.name] = found["ours"][1]
        row = [found.get(n, (None, None)) for n in ("stock", "tuned", "ours")]
        ratios = [_ratio(r[1], found["ours"][1]) for r in row[:2]]
        if case.against:
            ratios = [f"{ours[case.name] / ours[case.against]:.2f} × the cost of the first line", ""]
        print(
            f"| {case.name} | {' | '.join(_ms(r[1]) for r in row)} | {' | '.join(ratios)} |"
            f" {' | '.join(_ms(r[0]) for r in row)} |",
            flush=True,
        )
    print(f"\nzooms 0–7 from the pyramid: {low_zooms(engine, a.rounds, blocks.empty):.1f} ms a tile to PNG")
    cost_point, scenes = point(engine, 40, blocks.empty)
    print(f"a point with its provenance, up to {scenes} usable scenes: {cost_point:.1f} ms")
    print("\npixels of one scene equal to GDAL's warp, and the greatest difference in counts of 1e-4:")
    for zoom in (native - 1, native):
        for resampling in ("nearest", "bilinear"):
            share, worst = against_gdal(engine, zoom, a.tiles, resampling)
            print(f"  zoom {zoom} {resampling}: {100 * share:.3f} %, {worst}")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ratio(value: float | None, ours: float) -> str:
    return "–" if value is None else f"{value / ours:.0f}"


if __name__ == "__main__":
    main()
