"""Writes a store of realistic synthetic scenes and publishes a version: what all benchmarks measure on.

    python -m benchmarks.scenes FOLDER                     12 + 1 + 1 scenes of 10980 × 10980 px, about 9 GB
    python -m benchmarks.scenes FOLDER --size 1098         the same in small, some seconds

Twelve scenes lie on one MGRS tile, one on its neighbour, one on a tile of the next UTM zone that overlaps
both. The scenes share one land and differ by haze, gain, a ramp across the swath, clouds and swath edges. They
are written straight into the store: no ingest, no solver; the gains are those that undo what was done to each scene.
"""

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from benchmarks.land import OTHER, PERIOD, SPECTRA, clouds, fractal, paint
from terrazzo import gains
from terrazzo.bands import BANDS, NODATA, SCALE, MaskClass, stored_factor
from terrazzo.cells import digest
from terrazzo.cog import write_cog
from terrazzo.config import MosaicConfig, Period
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.normalize.fields import TileGains
from terrazzo.precompute.normalize.stage import Normalized
from terrazzo.precompute.scene.item import COG, footprint
from terrazzo.precompute.versions.write import PeriodContent, publish
from terrazzo.scene import CORRECTION, MASK, Scene, class_shares, scene_from_item, scene_prefix
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import Version

TILE = 10980
MOSAIC = "mosaic"
FIRST_DAY = datetime(2023, 6, 1, 10, tzinfo=UTC)
RAMP_PX = 75
"""Mask pixels from the next unusable pixel at which a pixel weighs in full: 1.5 km."""


@dataclass(frozen=True)
class Plan:
    """What one synthetic scene is.

    Attributes:
        left, top: of the product in metres.
        size: side of the product in pixels.
        swath: where the swath ends in the top row and by how much it has moved at the bottom, as shares of
            the width; None where it covers the tile.
    """

    number: int
    epsg: int
    mgrs: str
    left: float
    top: float
    size: int
    day: int
    cloud: float
    swath: tuple[float, float] | None
    gain: float
    offset: float
    slope: float

    @property
    def id(self) -> str:
        when = FIRST_DAY + timedelta(days=self.day)
        return f"S2{'AB'[self.number % 2]}_{self.mgrs}_{when:%Y%m%d}_0_L2A"

    def box(self, grid: Grid) -> PixelBox:
        """The product's own pixels."""
        side = self.size * grid.pixel
        return grid.box_from_bounds(self.left, self.top - side, self.left + side, self.top)


def plans(size: int = TILE, scenes: int = 12, neighbours: int = 1) -> list[Plan]:
    """The scenes of the benchmark: one tile deep in time, its eastern neighbour, a tile of the next zone."""
    rng = np.random.default_rng(7)
    left, top, side = 300_000.0, 5_100_000.0, size * 10.0
    east = left + (size - size * 980 // TILE) // 6 * 60.0
    x, y = Transformer.from_crs(32633, 32632, always_xy=True).transform(left, top)
    west = (round((x - side / 2) / 60) * 60.0, round(y / 60) * 60.0)
    tiles = [(32633, "33TUL", left, top)] * scenes
    tiles += [(32633, "33TVL", east, top)] * neighbours + [(32632, "32TQR", *west)] * neighbours
    out = []
    for n, (epsg, mgrs, x0, y0) in enumerate(tiles):
        share = (
            (0.0, 0.03, 0.08, 0.12, 0.2, 0.25, 0.3, 0.35, 0.45, 0.5, 0.6, 0.8)[n % 12] if n < scenes else 0.1
        )
        swath = (0.35 + 0.4 * rng.random(), -0.2) if n % 3 == 1 and n < scenes else None
        haze = float(rng.uniform(0, 250))
        out.append(
            Plan(
                n,
                epsg,
                mgrs,
                x0,
                y0,
                size,
                5 * n,
                share,
                swath,
                1 + float(rng.normal(0, 0.05)),
                haze,
                0.5 * haze,
            )
        )
    return out


def generate(
    folder: Path,
    *,
    size: int = TILE,
    scenes: int = 12,
    neighbours: int = 1,
    bands: Sequence[str] = ("B02", "B03", "B04", "B08"),
    window: int = 512,
    workers: int = 2,
) -> Version:
    """Writes scenes, weights and a normalized version; scenes that are there are kept."""
    store = create_store(folder, StoreConfig(bands=tuple(bands), window=window))
    todo = plans(size, scenes, neighbours)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for number, name in enumerate(pool.map(_write, [(str(folder), p) for p in todo]), 1):
            print(f"{number}/{len(todo)} {name}", flush=True)
    return _publish(store, todo)


def _prefix(plan: Plan) -> str:
    return scene_prefix(plan.epsg, plan.mgrs, plan.id, "0" * 12)


def _weight_key(plan: Plan) -> str:
    return f"mosaics/{MOSAIC}/weights/none/{plan.id}-{'0' * 12}.tif"


def _write(task: tuple[str, Plan]) -> str:
    store, plan = Store(task[0]), task[1]
    assert store.root is not None
    folder = store.root / _prefix(plan)
    if (folder / "item.json").exists():
        return plan.id
    folder.mkdir(parents=True, exist_ok=True)
    grid, mask_grid = store.grid(plan.epsg), store.mask_grid(plan.epsg)
    own = plan.box(grid)
    box = grid.pad(own)
    texture = fractal(PERIOD, 1)
    classes = _classes(plan, own, box, store.mask_factor, texture)
    mask_box = box.coarser(store.mask_factor)
    common: dict[str, Any] = {
        "transform": mask_grid.transform(mask_box),
        "crs": f"EPSG:{plan.epsg}",
        "nodata": None,
    }
    levels = mask_grid.window.bit_length() - 1
    write_cog(folder / MASK, classes, overview="mode", levels=levels, **common)
    weight = store.root / _weight_key(plan)
    weight.parent.mkdir(parents=True, exist_ok=True)
    write_cog(weight, _weights(classes), overview="weight", levels=levels, **common)
    for band in store.config.bands:
        factor = stored_factor(band)
        stored, stored_box = grid.scaled(factor), box.coarser(factor)
        values = np.empty(stored_box.shape, np.int16)
        low = SPECTRA.get(band, OTHER)
        ratio = store.mask_factor // factor
        seed = 100 * plan.number + list(BANDS).index(band)
        haze = {"B02": 1.0, "B03": 0.7, "B04": 0.5}.get(band, 0.2)
        added = (plan.gain, plan.offset * haze, plan.slope * haze)
        place = (stored_box.row0, stored_box.col0)
        paint(values, *place, texture, classes, ratio, low, 12.0, seed, *added)
        write_cog(
            folder / f"{band}.tif",
            values,
            stored.transform(stored_box),
            f"EPSG:{plan.epsg}",
            nodata=NODATA,
            overview="average",
            levels=stored.window.bit_length() - 1,
            scale=SCALE,
            description=band,
        )
    np.savez_compressed(folder / CORRECTION, offset=np.int32(0), detector=np.zeros(mask_box.shape, np.uint8))
    item = _item(plan, store, classes, box, folder)
    (folder / "item.json").write_text(json.dumps(item, indent=1))
    return plan.id


def _classes(
    plan: Plan, own: PixelBox, box: PixelBox, factor: int, texture: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """(row, col) uint8 mask of the padded box: clouds on land, nothing beyond the swath and the product."""
    inner, outer = own.coarser(factor), box.coarser(factor)
    made = clouds(inner.shape, (inner.row0, inner.col0), plan.cloud, plan.number, texture)
    if plan.swath:
        start, drift = plan.swath
        ends = (start + drift * np.linspace(0, 1, inner.height)) * inner.width
        made[np.arange(inner.width)[None] > ends[:, None]] = MaskClass.NODATA
    classes = np.zeros(outer.shape, np.uint8)
    classes[inner.within(outer)] = made
    return classes


def _weights(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    clear = np.isin(classes, (MaskClass.LAND, MaskClass.WATER))
    distance = ndimage.distance_transform_edt(clear)
    weight = np.clip(np.rint(255 * np.minimum(distance / RAMP_PX, 1)), 2, 255)
    return np.where(clear, weight, 0).astype(np.uint8)


def _item(
    plan: Plan, store: Store, classes: NDArray[np.uint8], box: PixelBox, folder: Path
) -> dict[str, Any]:
    counts = dict(enumerate(np.bincount(classes.ravel(), minlength=9).tolist()))
    clear, clouded = class_shares(counts)
    grid = store.grid(plan.epsg)
    outline = footprint(classes, store.mask_grid(plan.epsg), box.coarser(store.mask_factor))
    when = f"{FIRST_DAY + timedelta(days=plan.day):%Y-%m-%dT%H:%M:%S.%fZ}"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "id": plan.id,
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "properties": {
            "datetime": when,
            "platform": f"sentinel-2{'ab'[plan.number % 2]}",
            "grid:code": f"MGRS-{plan.mgrs}",
            "proj:code": f"EPSG:{plan.epsg}",
            "proj:shape": list(box.shape),
            "proj:transform": [*grid.transform(box)[:6]],
            "sat:relative_orbit": 22 if plan.swath else 122,
            "terrazzo:source": {"level": "L2A"},
            "terrazzo:rev": "0" * 12,
            "terrazzo:box": list(box),
            "terrazzo:bands": list(store.config.bands),
            "terrazzo:datatake": f"SYNTHETIC_{plan.day:03d}",
            "terrazzo:clear_share": clear,
            "terrazzo:cloud_share": clouded,
            "terrazzo:snow_share": 0.0,
            "terrazzo:haze": plan.offset * SCALE,
        },
        "links": [],
        "assets": {
            p.stem: {"href": f"./{p.name}", "type": COG, "roles": ["data"]}
            for p in sorted(folder.glob("*.tif"))
        },
    }


def _publish(store: Store, todo: Sequence[Plan]) -> Version:
    scenes = [_scene(store, p) for p in todo]
    by_tile = {p.mgrs: [q for q in todo if q.mgrs == p.mgrs] for p in todo}
    solved = {mgrs: _gains(store, plans) for mgrs, plans in by_tile.items()}
    weights = {p.id: (_weight_key(p), digest(_weight_key(p).encode(), str(p).encode()).hex()) for p in todo}
    haze = {p.id: round(1 - p.offset / 500, 3) for p in todo}
    days = sorted(s.datetime.date() for s in scenes)
    content = PeriodContent(
        Period("all", days[0], days[-1]), tuple(scenes), Normalized("none", weights, haze, solved)
    )
    return publish(store, MosaicConfig(MOSAIC), [content], {"synthetic": [str(p) for p in todo]})


def _scene(store: Store, plan: Plan) -> Scene:
    return scene_from_item(store.read_json(f"{_prefix(plan)}/item.json"), _prefix(plan))


def _gains(store: Store, tile: Sequence[Plan]) -> TileGains:
    """Corners that undo each scene's gain, offset and ramp."""
    grid = store.grid(tile[0].epsg)
    box = grid.pad(tile[0].box(grid))
    windows = grid.window_range(box)
    across = np.linspace(0, 1, windows.width + 1)
    corners = []
    for plan in tile:
        gain = np.full((len(store.config.bands), windows.height + 1, windows.width + 1), 1 / plan.gain)
        offset = np.empty_like(gain)
        for b, band in enumerate(store.config.bands):
            haze = {"B02": 1.0, "B03": 0.7, "B04": 0.5}.get(band, 0.2)
            offset[b] = -(plan.offset + plan.slope * across) * haze * SCALE / plan.gain
        corners.append(gains.encode(gain, offset))
    return TileGains(windows, tuple(p.id for p in tile), np.stack(corners), {"synthetic": True})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=TILE, help="side of a product in pixels [10980]")
    parser.add_argument("--scenes", type=int, default=12, help="scenes on the first tile [12]")
    parser.add_argument(
        "--neighbours", type=int, default=1, help="scenes on the tile beside and in the next zone [1]"
    )
    parser.add_argument("--bands", default="B02,B03,B04,B08", help="comma-separated [B02,B03,B04,B08]")
    parser.add_argument("--workers", type=int, default=2)
    a = parser.parse_args()
    version = generate(
        a.folder,
        size=a.size,
        scenes=a.scenes,
        neighbours=a.neighbours,
        bands=a.bands.split(","),
        workers=a.workers,
    )
    print(f"mosaic {MOSAIC}, version {version.name} in {a.folder}")


if __name__ == "__main__":
    main()
