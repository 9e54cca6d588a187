"""How near normalization comes to a known truth: simulated scenes through the whole chain, beside two other tools.

    python -m benchmarks.simulated OUT [--seeds 5] [--errors usual,rough,…] [--workers 2] [--alone]

For each seed and kind of error a world is made (15.8 × 20.9 km at 60 m, six dates, every second a swath that covers 70 % of it,
a quarter under clouds, haze up to .03 in blue, some crops harvested between dates), brought through `terrazzo precompute` with the archive's
masks, and read through the engine. `oracle` is the merge of what the scenes would show without any error, with the same weights
and order: what is left of it, phenology, no normalization could remove. Judged is where all that the masks call clear is clear.
The other tools get the corrected scenes where their weight is not 0, as files, in the mosaic's order, and, for spectralmatch, the mosaic's
own merge. Orfeo Toolbox: `apt-get install otb-bin`; without it its rows are left out. `--alone` leaves out both, which take most of the time.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rich.console import Console
from scipy import ndimage, stats

from benchmarks import orfeo, spectralmatch
from terrazzo import gains
from terrazzo.bands import NODATA, SCALE
from terrazzo.cog import write_cog
from terrazzo.config import ALL
from terrazzo.grid import PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.spread import spread
from terrazzo.mosaic.warp import Target
from terrazzo.mosaic.zone import Merging
from terrazzo.precompute.judge.seams import SeamPlaces, sites
from terrazzo.precompute.normalize.stage import Normalized, normalize_period
from terrazzo.precompute.pipeline import Options, run
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.raster import reflectance
from terrazzo.scene import Scene
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import Version
from tests.world.land import SPECTRA, Place, landscape, smooth_noise
from tests.world.products import Pass, place_of, write_product
from tests.world.sky import HAZE, Seen, observe
from tests.world.worlds import FIRST, FOUR, NORTH, TYPICAL, Weather, draw_sky

PIXEL, WINDOW, SIZE, DATES = 60.0, 64, (264, 348), 6
HARVESTED, SEASON = 0.08, 0.3
"""Share of the season that passes between first and last date, in most worlds and in the world of that name."""
HAZE_LENGTH = 6000.0
"""Metres over which haze varies, by half its mean."""
USUAL = replace(TYPICAL, gain=0.02, offset=0.001)
"""Gains as clear days of two orbits differ in the near infrared after correction, see docs/understand/correction.md."""
METHODS = ("feather", "robust", "kriging")
REACH = 8
"""Pixels on each side of a border that a step is taken over."""
EDGE = {"B02": 0.015, "B03": 0.02, "B04": 0.02, "B08": 0.1}
"""True contrast in reflectance from which neighbouring pixels are an edge."""

Disturb = Callable[[Seen, int, np.random.Generator], Seen]


def usual(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """Nothing more than the weather: gains, offsets, haze, ramps."""
    return seen


def rough(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """The same, but gains of 5 % and offsets of .003, in clear scenes too."""
    return seen


def classes(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """Each kind of ground changes by itself from date to date, by 6 % a band."""
    factor = rng.normal(1, 0.06, (len(seen.land.bands), len(SPECTRA))).astype(np.float32)
    return replace(seen, rho=seen.rho * factor[:, seen.land.kind])


def season(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """Nothing more than the weather, but more crops are harvested."""
    return seen


def half_pixel(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """Every second pass lies half a pixel off both ways."""
    if number % 2 == 0:
        return seen
    return replace(seen, rho=np.stack([ndimage.shift(b, 0.5, order=1, mode="nearest") for b in seen.rho]))


def dense_haze(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """More haze, whose light falls with the square of the ground's brightness."""
    noise = smooth_noise(seen.land.kind.shape, 3000 / PIXEL, rng)
    depth = 0.02 * number / (DATES - 1) * np.clip(1 + 0.5 * noise, 0, None)
    more = [
        depth * HAZE[b] * (1 - np.minimum(v, 0.5) / 0.5) ** 2 for b, v in zip(FOUR, seen.rho, strict=True)
    ]
    return replace(seen, rho=(seen.rho + np.stack(more)).astype(np.float32))


def stripes(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """Twelve detectors whose gains differ by 1.5 % a band."""
    row, col = np.indices(seen.land.kind.shape)
    detector = np.clip((col + 0.2 * row) * PIXEL // 3000, 0, 11).astype(int)
    factor = rng.normal(1, 0.015, (len(FOUR), 12)).astype(np.float32)
    return replace(seen, rho=seen.rho * factor[:, detector])


def one_offset(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """One pass whose offset of 0.1 was not taken off."""
    return replace(seen, rho=seen.rho + np.float32(0.1)) if number == 3 else seen


def snow_line(seen: Seen, number: int, rng: np.random.Generator) -> Seen:
    """Snow on the upper third in two passes, known to the archive except for its rim of 600 m."""
    if number not in (1, 4):
        return seen
    bright = np.array([0.75, 0.74, 0.73, 0.62], np.float32)[:, None, None]
    row = np.indices(seen.land.kind.shape)[0]
    edge = SIZE[0] / 3 + 8 * smooth_noise(seen.land.kind.shape, 3000 / PIXEL, rng)
    cover = np.clip((edge - row) / 10, 0, 1).astype(np.float32)
    rho = np.where(seen.cloud, seen.rho, cover * bright + (1 - cover) * seen.rho)
    return replace(seen, rho=rho.astype(np.float32))


ERRORS: dict[str, Disturb] = {
    f.__name__: f
    for f in (usual, rough, classes, season, half_pixel, dense_haze, stripes, one_offset, snow_line)
}


# --- one world -------------------------------------------------------------------------------------------


def one_world(folder: Path, seed: int, kind: str, alone: bool = False) -> dict[str, Any]:
    """Makes a world with one kind of error, normalizes it, and takes its figures; `alone`, without those of other tools."""
    shutil.rmtree(folder, ignore_errors=True)
    mgrs, epsg, top, left = NORTH
    place = place_of(mgrs, epsg, top, left, *SIZE, PIXEL, WINDOW)
    harvested = SEASON if kind == "season" else HARVESTED
    truth = landscape(place, FOUR, seed, day=harvested / 2).rho
    bare = Weather(cloud=USUAL.cloud, swath=USUAL.swath)
    weather = {"null": bare, "rough": TYPICAL}.get(kind, USUAL)
    own: dict[str, NDArray[np.float32]] = {}
    really: dict[str, NDArray[np.bool_]] = {}
    for number in range(DATES):
        part = 0.5 if kind == "null" else number / (DATES - 1)
        land = landscape(place, FOUR, seed, day=harvested * part)
        sky = draw_sky(weather, FOUR, np.random.default_rng([seed, 3, number]), number, DATES)
        sky = replace(sky, haze_length=HAZE_LENGTH)
        seen = observe(land, sky)
        if kind != "null":
            seen = ERRORS[kind](seen, number, np.random.default_rng([seed, 4, number]))
        even = number % 2 == 0
        about = Pass(FIRST + timedelta(days=5 * number), "S2A" if even else "S2B", 79 if even else 122)
        path = write_product(folder / "products", seen, about)
        if kind == "snow_line" and number in (1, 4):
            known_snow(path, seen)
        own[path.stem], really[path.stem] = land.rho, seen.clear
    store = create_store(folder / "store", StoreConfig(PIXEL, 2 * PIXEL, WINDOW, FOUR))
    options = Options(recipe=Recipe("scl"))
    done = run([folder / "products"], store, "mosaic", options, console=Console(file=StringIO()))
    assert done.version is not None
    read = Reader(done.version, place.box, really)
    figures = {"kind": kind, "seed": seed, **compare(read, truth, own)}
    if kind == "null":
        figures["null"] = null_case(done.version)
    if kind in ("usual", "rough"):
        figures["edges"], figures["grid"] = edges(read, truth), window_grid(read)
        figures["again"] = idempotence(folder, read, done.scenes)
        figures["external"] = external(folder, store, options, read, truth, place, seed)
    if kind in ("usual", "classes", "season"):
        figures["spread"] = spread_against_error(read, truth)
    if kind != "null" and not alone:
        figures["tools"] = tools(folder, read, truth)
    shutil.rmtree(folder)
    return figures


def known_snow(path: Path, seen: Seen) -> None:
    """Writes snow into a product's scene classification where more than nine tenths are covered."""
    with rasterio.open(path.with_suffix("") / "SCL.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        scl = file.read(1)
        scl[(seen.rho[0, ::2, ::2] > 0.68) & (scl > 3) & (scl < 8)] = 11
        file.write(scl, 1)


class Reader:
    """Pictures of a version on the grid of a place."""

    def __init__(self, version: Version, box: PixelBox, really: dict[str, NDArray[np.bool_]]) -> None:
        self.version, self.box, self.really = version, box, really
        self.engine = Engine(version, Blocks())
        self.entries = version.entries(ALL)
        merging = Merging(
            version, self.engine.blocks, self.engine.select(PixelRequest(FOUR)).request, 32633, 0
        )
        weight = np.stack([merging.weight(e, box) for e in self.entries])
        weight[(weight == 1) & (weight.max(axis=0) > 1)] = 0
        self.weight = weight
        clear = np.stack([really[e.scene.id] for e in self.entries])
        self.judged = (weight > 1).any(axis=0) & ~((weight > 0) & ~clear).any(axis=0)
        self.timed = self._timed_weights()

    def _timed_weights(self) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """(scene, row, col) weights as methods take them that weigh days, and (scene,) those days."""
        request = self.engine.select(PixelRequest(FOUR, method="kriging")).request
        merging = Merging(self.version, self.engine.blocks, request, 32633, 0)
        fades = np.stack([merging.fade(e, self.box) for e in self.entries])
        weight = merging.counted(np.stack([merging.weight(e, self.box) for e in self.entries]))
        return merging.faded(weight, fades, fades.max(axis=0)), merging.days(self.entries)

    def merged(self, method: str, normalize: bool, ids: Sequence[str] = ()) -> NDArray[np.float32]:
        """(band, row, col) reflectance of the mosaic."""
        target = Target("EPSG:32633", self.version.store.grid(32633).bounds(self.box), *self.box.shape)
        request = PixelRequest(
            FOUR,
            method=method,
            normalize=normalize,
            ids=tuple(ids),
            resampling="nearest",  # type: ignore[arg-type]
        )
        return reflectance(self.engine.render(self.engine.select(request), target).values)

    def scene(self, number: int, normalize: bool) -> NDArray[np.float32]:
        """(band, row, col) reflectance of one scene where it has weight."""
        rho = self.merged("first", normalize, [self.entries[number].scene.id])
        return np.where(self.weight[number] > 0, rho, np.nan).astype(np.float32)

    def stored(self) -> NDArray[np.float32]:
        """(scene, band, row, col) reflectance of the scenes without gains."""
        request = self.engine.select(PixelRequest(FOUR, normalize=False)).request
        merging = Merging(self.version, self.engine.blocks, request, 32633, 0)
        return reflectance(np.stack([merging.values(e, self.box) for e in self.entries]))

    def laid(self, scenes: NDArray[np.float32], method: str) -> NDArray[np.float32]:
        """The merge of (scene, band, row, col) pictures with the mosaic's weights and order."""
        weight, days = self.timed if method == "kriging" else (self.weight, None)
        return merge(scenes.astype(np.float32), weight, method, days).values  # type: ignore[arg-type]


def compare(read: Reader, truth: NDArray[np.float32], own: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Figures of the mosaic off, on and of the oracle."""
    ideal = np.stack([own[e.scene.id] for e in read.entries])
    out: dict[str, Any] = {}
    for method in METHODS:
        pictures = {
            "off": read.merged(method, False),
            "on": read.merged(method, True),
            "oracle": read.laid(ideal, method),
        }
        laid = read.laid(read.stored(), method)
        out[method] = {k: judge(read, p, truth) for k, p in pictures.items()}
        out[method]["same_input"] = float(np.nanmax(np.abs(laid - pictures["off"])))
    return out


def judge(read: Reader, picture: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, list[float]]:
    """RMSE to the truth, where what the masks call clear is clear; error step and ratio of steps at the scenes' borders."""
    clear = read.judged
    error = np.where(clear, picture - truth, np.nan)
    where = places(read.weight > 1, clear)
    steps = np.nanmean(np.abs(where.steps(where.of(error))), axis=0)
    ratio = [
        np.nanmean(np.abs(where.steps(where.of(np.where(clear, p, np.nan)))), axis=0)
        for p in (picture, truth)
    ]
    return {
        "rmse": (1e4 * np.sqrt(np.nanmean(error**2, axis=(1, 2)))).tolist(),
        "step": (1e4 * steps).tolist(),
        "ssr": (ratio[0] / ratio[1]).tolist(),
    }


def places(usable: NDArray[np.bool_], clear: NDArray[np.bool_]) -> SeamPlaces:
    """Squares around places on the outlines of what scenes show."""
    offset = np.arange(-REACH, REACH) + 1
    dr, dc = (v.ravel() for v in np.meshgrid(offset, offset, indexing="ij"))
    rows, cols, inside = [], [], []
    for region in usable:
        r, c = sites(region, clear, REACH + 1, 120)
        y, x = r[:, None] + dr, c[:, None] + dc
        rows.append(y)
        cols.append(x)
        inside.append(region[y, x])
    return SeamPlaces(np.concatenate(rows), np.concatenate(cols), np.concatenate(inside))


def edges(read: Reader, truth: NDArray[np.float32]) -> dict[str, float]:
    """True contrast kept on window borders over that kept inside windows, `robust`, by band."""
    picture, inner = (
        read.merged("robust", True),
        (np.arange(read.box.col0, read.box.col1 - 1) + 1) % WINDOW != 0,
    )
    out = {}
    for k, band in enumerate(FOUR):
        step, true = np.diff(picture[k], axis=1), np.diff(truth[k], axis=1)
        kept = []
        for columns in (~inner, inner):
            strong = (np.abs(true) > EDGE[band]) & columns & np.isfinite(step)
            kept.append(float((step[strong] * np.sign(true[strong])).sum() / np.abs(true[strong]).sum()))
        out[band] = kept[0] / kept[1]
    return out


def window_grid(read: Reader) -> list[float]:
    """Mean step across window borders over that inside windows, on over off, by band, scene by scene: a mosaic's would include its seams."""
    border = (np.arange(read.box.col0, read.box.col1 - 1) + 1) % WINDOW == 0
    ratio = []
    for normalize in (True, False):
        scenes = np.stack([read.scene(i, normalize) for i in range(len(read.entries))])
        step = np.abs(np.diff(scenes, axis=3))
        across, inside = (np.nanmean(step[..., c], axis=(0, 2, 3)) for c in (border, ~border))
        ratio.append(across / inside)
    return (ratio[0] / ratio[1]).tolist()


def external(
    folder: Path,
    store: Store,
    options: Options,
    read: Reader,
    truth: NDArray[np.float32],
    place: Place,
    seed: int,
) -> dict[str, Any]:
    """Figures of the mosaic at another composite's level: the ground before the season, with noise of 30e-4."""
    last = landscape(place, FOUR, seed, day=0).rho
    last = last + np.random.default_rng([seed, 5]).normal(0, 0.003, last.shape)
    profile = {
        "driver": "GTiff", "count": len(FOUR), "height": SIZE[0], "width": SIZE[1], "dtype": "float32",
        "crs": "EPSG:32633", "transform": place.grid.transform(place.box),
    }  # fmt: skip
    with rasterio.open(folder / "last.tif", "w", **profile) as file:
        file.write(last.astype(np.float32))
        file.descriptions = FOUR
    text = f'reference = "external"\nreference_file = "{folder.resolve()}/last.tif"\n'
    store.write_bytes("mosaics/external/mosaic.toml", text.encode())
    done = run([folder / "products"], store, "external", options, console=Console(file=StringIO()))
    assert done.version is not None
    there = Reader(done.version, read.box, read.really)
    return {m: judge(there, there.merged(m, True), truth) for m in METHODS}


def spread_against_error(read: Reader, truth: NDArray[np.float32]) -> list[float]:
    """Rank correlation by band of spread and RMSE of `robust` to the truth over 40 classes of spread, where three scenes are clear."""
    target = Target("EPSG:32633", read.version.store.grid(32633).bounds(read.box), *read.box.shape)
    request = PixelRequest(FOUR, method="robust", resampling="nearest")
    told = reflectance(spread(read.engine, read.engine.select(request), target).values)
    error = read.merged("robust", True) - truth
    here = read.judged & ((read.weight > 1).sum(axis=0) >= 3)
    out = []
    for s, e in zip(told, error, strict=True):
        known = here & np.isfinite(s) & np.isfinite(e)
        parts = np.array_split(np.argsort(s[known], kind="stable"), 40)
        means = [(s[known][p].mean(), np.sqrt(np.mean(e[known][p] ** 2))) for p in parts]
        out.append(float(stats.spearmanr(np.array(means)).statistic))
    return out


def null_case(version: Version) -> dict[str, float]:
    """What identical scenes get for gains: medians of |a − 1| and |b|, and the largest of each."""
    found = [gains.decode(version.corners(e)[0]) for e in version.entries(ALL)]  # type: ignore[index]
    gain = np.abs(np.concatenate([g.ravel() for g, _ in found]) - 1)
    offset = np.abs(np.concatenate([b.ravel() for _, b in found]))
    return {
        "gain": float(np.median(gain)),
        "gain_max": float(gain.max()),
        "offset": float(np.median(offset)),
        "offset_max": float(offset.max()),
    }


def idempotence(folder: Path, read: Reader, scenes: Sequence[Scene]) -> dict[str, float]:
    """How much normalizing normalized scenes changes the clear ones (haze weight above .9), 1e-4."""
    store = read.version.store
    once = {e.scene.id: read.scene(i, True) for i, e in enumerate(read.entries)}
    changed = []
    for normalized, entry, scene, rho in again(folder, read, scenes, once):
        if entry.haze > 0.9:
            twice = apply(store, normalized, scene, rho, read.box)
            changed.append(np.abs(twice - rho)[np.isfinite(rho)])
    all_changed = np.concatenate(changed)
    return {"median": 1e4 * float(np.median(all_changed)), "p99": 1e4 * float(np.quantile(all_changed, 0.99))}


def again(
    folder: Path, read: Reader, scenes: Sequence[Scene], pictures: dict[str, NDArray[np.float32]]
) -> Any:
    """Normalizes other pixels in the scenes' place; yields the normalization with each entry, scene and its pixels."""
    copy = folder / "again"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    shutil.copytree(folder / "store" / "scenes", copy / "scenes")
    shutil.copy(folder / "store" / "store.json", copy)
    store = Store(copy)
    for scene in scenes:
        at = read.box.within(scene.box)
        for k, band in enumerate(FOUR):
            path = Path(store.raster_path(scene.band_key(band)))
            with rasterio.open(path) as file:
                values = file.read(1)
            new = pictures[scene.id][k]
            values[at] = np.where(np.isfinite(new), np.rint(np.nan_to_num(new) / SCALE), values[at])
            path.unlink()
            write_cog(
                path,
                values,
                store.grid(scene.epsg).transform(scene.box),
                f"EPSG:{scene.epsg}",
                nodata=NODATA,
                overview="average",
                levels=WINDOW.bit_length() - 1,
                scale=SCALE,
            )
    normalized = normalize_period(store, "mosaic", scenes)
    for entry in read.entries:
        scene = next(s for s in scenes if s.id == entry.scene.id)
        yield normalized, entry, scene, pictures[scene.id]


def apply(
    store: Store, normalized: Normalized, scene: Scene, rho: NDArray[np.float32], box: PixelBox
) -> NDArray[np.float32]:
    """A scene's pixels with the gains of a normalization."""
    tile = normalized.gains[scene.mgrs]
    gain, offset = gains.decode(tile.corners[tile.scene_ids.index(scene.id)])
    y, x = (
        np.clip((np.arange(a, b) + 0.5) / WINDOW - origin, 0, n)
        for a, b, origin, n in (
            (box.row0, box.row1, tile.windows.row0, gain.shape[1] - 1),
            (box.col0, box.col1, tile.windows.col0, gain.shape[2] - 1),
        )
    )
    at = np.meshgrid(y, x, indexing="ij")
    a, b = (np.stack([ndimage.map_coordinates(v, at, order=1) for v in f]) for f in (gain, offset))
    return (a * rho + b).astype(np.float32)


# --- other tools -----------------------------------------------------------------------------------------


def tools(folder: Path, read: Reader, truth: NDArray[np.float32]) -> dict[str, Any]:
    """Figures of other tools given the same scenes; Orfeo Toolbox is left out where it is not installed."""
    scenes = np.stack([read.scene(i, False) for i in range(len(read.entries))])
    out: dict[str, Any] = {}
    if shutil.which("otbcli_Mosaic"):
        out["otb"] = judge(
            read, orfeo.mosaic(folder, scenes, read.version.store.grid(32633).transform(read.box)), truth
        )
    local = spectralmatch.local_stage(scenes)
    both = spectralmatch.local_stage(spectralmatch.global_stage(scenes))
    for method in METHODS:
        out[f"spectralmatch local {method}"] = judge(read, read.laid(local, method), truth)
        out[f"spectralmatch both {method}"] = judge(read, read.laid(both, method), truth)
    return out


# --- table -----------------------------------------------------------------------------------------------


def main() -> None:
    """Runs worlds, keeps each one's figures as JSON, and prints the table of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "out", type=Path, help="folder for figures; worlds that have theirs are not run again"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--errors", default=",".join([*ERRORS, "null"]))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="without other tools")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kinds = options.errors.split(",")
    todo = [
        (options.out / f"{kind}-{seed}.json", seed, kind, options.alone)
        for seed in range(options.seeds)
        for kind in kinds
    ]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for done in pool.map(_run, todo):
            print(done, flush=True)
    table([json.loads(path.read_text()) for path, *_ in todo], kinds)


def _run(task: tuple[Path, int, str, bool]) -> str:
    path, seed, kind, alone = task
    if not path.exists():
        figures = one_world(path.with_suffix(""), seed, kind, alone)
        path.write_text(json.dumps(figures, indent=1))
    return path.stem


def table(found: Sequence[dict[str, Any]], kinds: Sequence[str]) -> None:
    """Prints means over seeds with 95 % confidence intervals."""
    print(f"bands {' '.join(FOUR)}; mean ± half the 95 % interval over seeds")
    for kind in kinds:
        of_kind = [f for f in found if f["kind"] == kind]
        same = max(f[m]["same_input"] for f in of_kind for m in METHODS)
        print(
            f"\n{kind}: {len(of_kind)} seeds; merge of the files against the engine's picture: at most {same:.5f} apart"
        )
        for method in METHODS:
            for state in ("off", "on", "oracle"):
                row(f"{method} {state}", [f[method][state] for f in of_kind], [f[method] for f in of_kind])
            if all("external" in f for f in of_kind):
                row(
                    f"{method} external",
                    [f["external"][method] for f in of_kind],
                    [f[method] for f in of_kind],
                )
        for name in of_kind[0].get("tools", {}):
            method = name.split()[-1] if " " in name else "feather"
            row(name, [f["tools"][name] for f in of_kind], [f[method] for f in of_kind])
        if all("spread" in f for f in of_kind):
            line("spread against error, rank correlation", [f["spread"] for f in of_kind], ".2f")
        if all("null" in f for f in of_kind):
            line("gains of identical scenes", [list(f["null"].values()) for f in of_kind], ".5f")
        if all("edges" in f for f in of_kind):
            line("edges kept on window borders", [list(f["edges"].values()) for f in of_kind], ".3f")
            line("window-grid step of scenes, on over off", [f["grid"] for f in of_kind], ".3f")
            line(
                "normalized again: median, p99 of the change",
                [list(f["again"].values()) for f in of_kind],
                ".1f",
            )


def row(name: str, judged: Sequence[dict[str, list[float]]], beside: Sequence[dict[str, Any]]) -> None:
    """A picture's RMSE, error step, step ratio, and share of the removable error that is gone."""
    rmse = np.array([j["rmse"] for j in judged])
    off, oracle = (np.array([b[k]["rmse"] for b in beside]) for k in ("off", "oracle"))
    share = ((off.mean(axis=1) - rmse.mean(axis=1)) / (off.mean(axis=1) - oracle.mean(axis=1)))[:, None]
    line(f"{name}: RMSE", rmse, ".1f")
    line("  error step", [j["step"] for j in judged], ".1f")
    line("  step over the truth's", [j["ssr"] for j in judged], ".3f")
    line("  share of the removable error gone", share, ".2f")


def line(name: str, values: Any, style: str) -> None:
    """Means of (seed, figure) and half their 95 % intervals."""
    v = np.asarray(values, float)
    half = (
        stats.t.ppf(0.975, len(v) - 1) * v.std(axis=0, ddof=1) / np.sqrt(len(v))
        if len(v) > 1
        else v[0] * np.nan
    )
    print(
        f"  {name:<46}"
        + "  ".join(f"{m:{style}} ± {h:{style}}" for m, h in zip(v.mean(axis=0), half, strict=True))
    )


if __name__ == "__main__":
    main()
