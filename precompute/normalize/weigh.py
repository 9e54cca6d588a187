"""Weighs a scene against the reference: its weight raster, and its strips' differences to the reference."""

import io
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE, stored_factor
from terrazzo.cells import digest
from terrazzo.cog import write_cog
from terrazzo.edges import DEPTH, LEAST_SHARE, Strips, cuts, cuts_of_mask, medians_of, strip_table
from terrazzo.grid import PixelBox, pixel_ratio
from terrazzo.precompute.normalize import composite
from terrazzo.precompute.normalize.distance import distance_weight
from terrazzo.precompute.normalize.rasters import Rasters
from terrazzo.precompute.normalize.reference import chunk_prefixes, read_reference, read_verdict
from terrazzo.precompute.normalize.registration import far_off, scene_shift, square_shifts
from terrazzo.precompute.scene.shift import Shift
from terrazzo.scene import OWNER, Scene, owner_of
from terrazzo.store import Store
from terrazzo.thinning import thinned

SQUARES = 120
"""Squares from which a scene's shift is measured, about."""


@dataclass(frozen=True)
class SceneTask:
    """A scene to be weighed, and the folders of what is read and written."""

    store_url: str
    scene: Scene
    references: str
    weights: str
    differences: str
    order: tuple[str, ...]
    register: bool


@dataclass(frozen=True)
class Weighed:
    """A scene that was weighed.

    Attributes:
        key, hash: of its weight raster.
        haze: mean haze weight over what its mask calls clear, 0 to 1; 1 is clear air.
        dropped: share of what its mask calls clear that does not count, since the dates do not bear it out, 0 to 1.
        shift: where it lies on the reference; None where that could not be measured.
    """

    id: str
    key: str
    hash: str
    haze: float
    dropped: float
    shift: Shift | None


def weigh_scene(task: SceneTask) -> Weighed:
    """Writes a scene's weight raster and its strips' differences to the reference."""
    store, scene = Store(task.store_url), task.scene
    key = f"{task.weights}/{scene.id}-{scene.rev}.tif"
    note = f"{task.weights}/{scene.id}-{scene.rev}.json"
    if store.exists(note):
        known = store.read_json(note)
        shift = Shift(**known["shift"]) if known["shift"] else None
        return Weighed(scene.id, key, known["hash"], known["haze"], known.get("dropped", 0.0), shift)
    prefixes = chunk_prefixes(store, scene.epsg, scene.box, task.references)
    tables, squares = [], []
    with Rasters(store) as rasters:
        weight, hazy, about, windows = _weight(store, rasters, scene, prefixes, task.order.index(scene.id))
        for prefix in prefixes:
            compared = _compared(store, rasters, scene, prefix, weight, hazy, windows[prefix])
            tables += [_table(c, store.config.window) for c in compared]
            if task.register:
                squares += _squares(compared, -(-SQUARES // len(prefixes)))
    shift = scene_shift(squares)
    if shift is not None and far_off(shift):
        weight = np.where(weight >= 2, np.maximum(weight // 4, 2), weight)
    _write_weight(store, scene, weight, key)
    buffer = io.BytesIO()
    pq.write_table(
        pa.concat_tables(tables, promote_options="permissive"),
        buffer,
        compression="zstd",
        write_page_checksum=True,
    )
    store.write_bytes(difference_key(task.differences, scene), buffer.getvalue())
    digested = digest(weight.tobytes()).hex()
    off = shift is not None and far_off(shift)
    measured = {"hash": digested, "shift": asdict(shift) if shift else None, "far_off": off}
    store.write_json(note, measured | about)
    return Weighed(scene.id, key, digested, about["haze"], about["dropped"], shift)


def difference_key(folder: str, scene: Scene) -> str:
    """Where a scene's strips lie."""
    return f"{folder}/{scene.mgrs}/{scene.id}-{scene.rev}.parquet"


def _weight(
    store: Store, rasters: Rasters, scene: Scene, prefixes: list[str], number: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], dict[str, Any], dict[str, PixelBox]]:
    """The scene's weight on the mask grid.

    Returns:
        The weight, where the scene is but hazy, figures of `Weighed` with how many pixels that the mask flags the dates remember as
        ground, and the windows of each chunk.
    """
    f, mask_grid = store.mask_factor, store.mask_grid(scene.epsg)
    box = scene.box.coarser(f)
    keep, least, hazy = (np.zeros(box.shape, bool) for _ in range(3))
    base = np.full((len(composite.SLOPES), *box.shape), np.nan, np.float32)
    seen, clear_haze, remembered, windows = 0, 0.0, 0, {}
    for prefix in prefixes:
        verdict = read_verdict(store, prefix)
        windows[prefix] = verdict.windows
        chunk = PixelBox(*(v * mask_grid.window for v in verdict.windows))
        at = chunk.intersection(box)
        row = verdict.scenes.index(scene.id)
        seen += int(verdict.clear[row])
        clear_haze += float(verdict.haze[row])
        remembered += int(verdict.remembered[row])
        for whole, packed in ((keep, verdict.keep), (hazy, verdict.hazy)):
            bits = np.unpackbits(packed[row], axis=-1, count=chunk.width).astype(bool)
            whole[at.within(box)] = bits[at.within(chunk)]
        least[at.within(box)] = (verdict.least == number)[at.within(chunk)]
        base[:, *at.within(box)] = verdict.haze_base[:, *at.within(chunk)]
    both = rasters.together([partial(rasters.band, scene, b, scene.box) for b in ("B02", "B04")])
    blue, red = (thinned(v, f, NODATA) * np.float32(SCALE) for v in both)
    over = composite.indices(blue, red) - base
    excess = np.min([composite.smoothed(index) for index in over], axis=0)
    # Where there is no reference nothing says that the scene is hazy.
    haze = np.where(np.isfinite(excess), composite.haze_weight(np.nan_to_num(excess)), 1).astype(np.float32)
    raw = np.rint(255 * distance_weight(keep, mask_grid.pixel) * haze)
    weight = np.where(keep, np.maximum(raw, 2), least).astype(np.uint8)
    # A pixel that the dates remember as ground is kept, too, and was not clear by its mask.
    about = {
        "haze": clear_haze / seen if seen else 0.0,
        "dropped": max(0.0, 1 - int(keep.sum()) / seen) if seen else 0.0,
        "remembered": remembered,
    }
    return weight, hazy, about, windows


def _write_weight(store: Store, scene: Scene, weight: NDArray[np.uint8], key: str) -> None:
    grid = store.mask_grid(scene.epsg)
    # A cluster may give a scene to a second worker while the first, taken for lost, still writes it.
    with tempfile.TemporaryDirectory(dir=store.scratch()) as folder:
        temporary = Path(folder, Path(key).name)
        write_cog(
            temporary,
            weight,
            grid.transform(scene.box.coarser(store.mask_factor)),
            f"EPSG:{scene.epsg}",
            nodata=None,
            overview="weight",
            levels=grid.window.bit_length() - 1,
            description="weight",
            tags={OWNER: owner_of(key)},
        )
        store.publish_file(temporary, key)


@dataclass(frozen=True)
class _Compared:
    """A band of one chunk of a scene beside the reference, as they are stored.

    Attributes:
        kept, hazy: (row, col) of the mask grid: where the scene is shown, and where it shows the ground through haze, and is not.
    """

    windows: PixelBox
    band: str
    rho: NDArray[np.int16]
    reference: NDArray[np.int16]
    kept: NDArray[np.bool_]
    hazy: NDArray[np.bool_]

    def clear(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(row, col) reflectance of the scene, but for hazy pixels, and of the reference; NaN where they cannot be compared."""
        own, other = _comparable(self.rho, self.reference, on_grid(self.kept | self.hazy, self.rho.shape))
        return np.where(on_grid(self.hazy, self.rho.shape), np.float32(np.nan), own), other


def _comparable(
    rho: NDArray[np.int16], reference: NDArray[np.int16], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reflectance of both, NaN where one has no data and where not `usable`."""
    usable = usable & (rho != NODATA) & (reference != NODATA)
    own, other = (np.where(usable, v * np.float32(SCALE), np.float32(np.nan)) for v in (rho, reference))
    return own, other


def _compared(
    store: Store,
    rasters: Rasters,
    scene: Scene,
    prefix: str,
    weight: NDArray[np.uint8],
    hazy: NDArray[np.bool_],
    windows: PixelBox,
) -> list[_Compared]:
    grid = store.grid(scene.epsg)
    common = windows.intersection(grid.window_range(scene.box))
    mask_window = store.mask_grid(scene.epsg).window
    at = PixelBox(*(v * mask_window for v in common))
    cut = at.within(scene.box.coarser(store.mask_factor))
    kept, veiled = weight[cut] >= 2, hazy[cut]
    reference = read_reference(store, prefix)
    sides = [grid.window // stored_factor(b) for b in store.config.bands]
    boxes = [PixelBox(*(v * side for v in common)) for side in sides]
    wholes = [PixelBox(*(v * side for v in windows)) for side in sides]
    values = rasters.together(
        [partial(rasters.band, scene, b, box) for b, box in zip(store.config.bands, boxes, strict=True)]
    )
    return [
        _Compared(common, band, rho, reference[band][box.within(whole)], kept, veiled)
        for band, rho, box, whole in zip(store.config.bands, values, boxes, wholes, strict=True)
    ]


def _table(compared: _Compared, window: int) -> pa.Table:
    """Medians of a chunk's strips: the scene's, and of its differences to the reference.

    Where too few clear pixels of a strip are left to compare, hazy ones count too; column `hazy` marks them.
    """
    f = stored_factor(compared.band)
    side, depth = window // f, DEPTH // f
    apart, own, clear_apart, clear = [], [], [], []
    for rho, reference, kept, veiled in zip(
        cuts(compared.rho, side, depth),
        cuts(compared.reference, side, depth),
        cuts_of_mask(compared.kept, compared.rho.shape, side, depth),
        cuts_of_mask(compared.hazy, compared.rho.shape, side, depth),
        strict=True,
    ):
        every, other = _comparable(rho, reference, kept | veiled)
        own.append(every)
        apart.append(every - other)
        clear.append(np.where(veiled, np.float32(np.nan), every))
        clear_apart.append(clear[-1] - other)
    d, n = medians_of(clear_apart)
    m, _ = medians_of(clear)
    hazy = np.zeros(n.shape, bool)
    if compared.hazy.any():
        d_all, n_all = medians_of(apart)
        m_all, _ = medians_of(own)
        hazy = (n < LEAST_SHARE * (side // 2) * depth) & (n_all > n)
        d, m, n = (np.where(hazy, every, v) for every, v in ((d_all, d), (m_all, m), (n_all, n)))
    bands, windows = (compared.band,), compared.windows
    table = strip_table(Strips(windows, d[..., None], n[..., None]), bands, ("d", "n"))
    medians = strip_table(Strips(windows, m[..., None], n[..., None]), bands, ("m", "n"))
    return table.append_column("m", medians.column("m")).append_column("hazy", pa.array(hazy[np.nonzero(n)]))


def _squares(compared: list[_Compared], most: int) -> list[tuple[float, float]]:
    """Shifts of some squares of a chunk, in the red band."""
    red = next(c for c in compared if c.band == "B04")
    return square_shifts(*red.clear(), most)


def on_grid(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """An array of the mask grid on a finer or coarser grid: repeated or thinned."""
    finer, coarser = pixel_ratio(shape[0], len(array))
    if finer > 1:
        return array.repeat(finer, axis=0).repeat(finer, axis=1)
    return array[::coarser, ::coarser]
