"""What was done to a scene, in figures and a picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from terrazzo.bands import NODATA, SCALE, STYLES, MaskClass, stored_factor
from terrazzo.correction import counts, read_correction
from terrazzo.errors import NotFound
from terrazzo.grid import PixelBox
from terrazzo.scene import CORRECTION, MASK, Scene, read_item
from terrazzo.store import Store, beside
from terrazzo.version import open_version

UNITS = {"aot": "at 550 nm", "water_vapour": "g/cm²", "ozone": "cm-atm", "pressure": "hPa"}
COLOURS = ("#000000", "#a8c686", "#3b6ea5", "#d9f0ff", "#ffffff", "#c9c9c9", "#5b3a5b", "#ff3b30", "#6b4f2a")
"""Of the mask's classes."""
LONGEST = 700
"""Pixels of the longer side of a picture."""
SAMPLE, SAMPLES = 256, 5
"""Side of the squares whose histogram is drawn, and how many of them there are in each direction."""


def facts(store: Store, scene: Scene, mosaic: str) -> Iterator[tuple[str, str]]:
    """Label and text of each thing that is known of how a scene was made."""
    item = read_item(store, scene)
    p = item["properties"]
    source, offset = p["terrazzo:source"], p["terrazzo:offset"]
    yield "scene", f"{scene.id}, revision {scene.rev}"
    yield "product", f"{scene.level}, baseline {source['baseline']}, made {source['generated'][:10]}"
    yield "taken", f"{p['datetime']} by {scene.platform}, orbit {scene.relative_orbit}, tile {scene.mgrs}"
    yield "path", p["terrazzo:path"]
    evidence = ", ".join(f"{k} {v}" for k, v in offset["evidence"].items() if v is not None)
    yield "offset", f"{offset['value']} by {offset['decided_by']} ({evidence})"
    if offset.get("verdict"):
        yield "", offset["verdict"]
    for name, known in p["terrazzo:air"].items():
        spread = f" ± {known['uncertainty']:g}" if known["uncertainty"] is not None else ""
        yield (
            name.replace("_", " "),
            f"{known['mean']:g}{spread} {UNITS.get(name, '')}, from: {known['origin']}",
        )
    if "view:sun_elevation" in p:
        yield (
            "sun",
            f"{90 - p['view:sun_elevation']:.1f}° from the zenith, azimuth {p['view:sun_azimuth']:.1f}°",
        )
    if "view:off_nadir" in p:
        yield "view", f"{p['view:off_nadir']:.1f}° off nadir in the mean, azimuth {p['view:azimuth']:.1f}°"
    yield "shift", _shift(store, scene, mosaic, p.get("terrazzo:moved"))
    yield (
        "seen",
        f"clear {scene.clear_share:.1%}, cloud or shadow {scene.cloud_share:.1%}, snow {scene.snow_share:.1%},"
        f" haze {scene.haze:.4f}",
    )
    for part in p["processing:lineage"].split("; "):
        yield "done", part
    for note in p["terrazzo:notes"]:
        yield "note", note


def _shift(store: Store, scene: Scene, mosaic: str, moved: Mapping[str, Any] | None) -> str:
    done = f"moved by {moved['east_m']:.1f} m east and {moved['north_m']:.1f} m north; " if moved else ""
    try:
        version = open_version(store, mosaic)
    except NotFound:
        return f"{done}not measured: no version of {mosaic} is published"
    entries = (e for period in version.periods for e in version.entries(period))
    entry = next((e for e in entries if e.scene.prefix == scene.prefix), None)
    if entry is None:
        return f"{done}not measured: not in the current version of {mosaic}"
    shift = store.read_json(entry.weight_key.removesuffix(".tif") + ".json").get("shift")
    if shift is None:
        return f"{done}not measured: too little clear, textured ground in common with other dates"
    east, north, spread = (shift[k] * store.config.pixel for k in ("east", "north", "spread"))
    return f"{done}lies {east:.1f} m east and {north:.1f} m north of the other dates, ± {spread:.1f} m"


def draw(store: Store, scene: Scene, output: Path) -> None:
    """Draws a scene, its classes, air, angles and histograms into a PNG."""
    figure = Figure(figsize=(16, 8.4), layout="constrained")
    axes = figure.subplots(2, 4)
    figure.suptitle(f"{scene.id}  {scene.level}  {scene.datetime:%Y-%m-%d %H:%M} UTC", fontsize=11)
    _picture(axes[0, 0], *picture(store, scene))
    draw_classes(axes[0, 1], read_small(store, scene.key(MASK)))
    nodes = store.read_arrays(scene.key(CORRECTION))

    def over(name: str) -> NDArray[np.float64] | None:
        return at_pixels(nodes, nodes[name], store, scene) if name in nodes else None

    _map(axes[0, 2], over("aot"), "aerosol optical thickness", "not taken out here")
    _map(axes[0, 3], over("water_vapour"), "water vapour, g/cm²", "not taken out here")
    _map(axes[1, 0], over("sun_zenith"), "sun zenith, degrees", "no angle grids")
    _map(axes[1, 1], view_zenith(nodes, store, scene), "view zenith in B04, degrees", "no angle grids")
    _histograms(axes[1, 2:], store, scene)
    with beside(output) as temporary:
        figure.savefig(temporary, format="png", dpi=90)


def picture(store: Store, scene: Scene) -> tuple[NDArray[np.float32], str]:
    """(row, col, 3) picture 0–1 in natural colours, or in grey where a band of these is missing, and what it shows."""
    names = ("B04", "B03", "B02")
    if not set(names) <= set(scene.bands):
        names = (scene.bands[0],) * 3
    layers = [read_small(store, scene.band_key(b)) for b in names]
    shape = min(a.shape for a in layers)
    rho = np.stack([a[: shape[0], : shape[1]] for a in layers], axis=-1).astype(np.float32)
    rho[rho == NODATA] = np.nan
    style = STYLES["natural"]
    low, high = style.rescale
    stretched = np.clip((rho * SCALE - low) / (high - low), 0, 1) ** (1 / style.gamma)
    return np.nan_to_num(stretched, nan=0.0), " ".join(dict.fromkeys(names))


def read_small(store: Store, key: str) -> NDArray[Any]:
    """A raster at the overview that is about `LONGEST` pixels long."""
    with rasterio.open(store.raster_path(key), driver="GTiff") as dataset:
        return np.asarray(dataset.read(1, out_shape=thinned_shape(dataset.shape)))


def draw_classes(axes: Axes, classes: NDArray[np.uint8]) -> None:
    """Draws the mask's classes with a legend of those that are there."""
    axes.imshow(classes, cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=8.5, interpolation="nearest")
    shares = np.bincount(classes.ravel(), minlength=9) / classes.size
    for k in np.flatnonzero(shares):
        name = MaskClass(int(k)).name.lower().replace("_", " ")
        axes.plot([], [], "s", color=COLOURS[k], markeredgecolor="grey", label=f"{name} {shares[k]:.0%}")
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncol=4, frameon=False)
    axes.set_title("mask", fontsize=10)
    axes.set_axis_off()


def at_pixels(
    nodes: Mapping[str, NDArray[Any]], values: NDArray[Any], store: Store, scene: Scene
) -> NDArray[np.float64]:
    """(…, row, col) values of the nodes over the scene's pixels, thinned; bilinear, constant beyond the nodes."""
    left, top, step = nodes["nodes"]
    bounds = store.grid(scene.epsg).bounds(scene.box)
    shape = thinned_shape(nodes["detector"].shape)
    y = bounds.top - (np.arange(shape[0]) + 0.5) * (bounds.top - bounds.bottom) / shape[0]
    x = bounds.left + (np.arange(shape[1]) + 0.5) * (bounds.right - bounds.left) / shape[1]
    places = np.meshgrid((top - y) / step, (x - left) / step, indexing="ij")
    flat = values.reshape(-1, *values.shape[-2:])
    planes = [map_coordinates(v.astype(float), places, order=1, mode="nearest") for v in flat]
    return np.stack(planes).reshape(*values.shape[:-2], *shape)


def view_zenith(nodes: Mapping[str, NDArray[Any]], store: Store, scene: Scene) -> NDArray[np.float64] | None:
    """(row, col) degrees over the scene's pixels, thinned: each by its own detector, by all where that is unknown."""
    if "view_east" not in nodes:
        return None
    east, north = (at_pixels(nodes, nodes[f"view_{axis}"], store, scene) for axis in ("east", "north"))
    zenith = np.degrees(np.arctan(np.hypot(east, north)))
    step = max(1, max(nodes["detector"].shape) // LONGEST)
    detector = nodes["detector"][::step, ::step][: zenith.shape[1], : zenith.shape[2]]
    out = zenith.mean(axis=0)
    for k, number in enumerate(nodes["view_detectors"]):
        out = np.where(detector == number, zenith[k], out)
    return np.asarray(out)


def thinned_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a picture of a raster."""
    times = max(1, max(shape) // LONGEST)
    return shape[0] // times, shape[1] // times


def _picture(axes: Axes, image: NDArray[np.float32], title: str) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def _map(axes: Axes, values: NDArray[Any] | None, title: str, otherwise: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    if values is None:
        axes.text(0.5, 0.5, otherwise, ha="center", transform=axes.transAxes, color="grey")
        return
    shown = axes.imshow(values, cmap="viridis", interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes, shrink=0.8)


def _histograms(axes: NDArray[Any], store: Store, scene: Scene) -> None:
    """Reflectance as the product had it, and as the scene has it."""
    key = scene.key(CORRECTION)
    correction = read_correction(store.read_bytes(key), key)
    before, after = axes
    before.set_title("as delivered, offset added", fontsize=10)
    after.set_title("corrected", fontsize=10)
    factor = store.mask_factor
    top = 0.0
    for band, colour in (("B02", "#2b6cb0"), ("B03", "#2f855a"), ("B04", "#c53030"), ("B08", "#805ad5")):
        if band not in scene.bands:
            continue
        scale = stored_factor(band)
        grid, whole = store.band_grid(scene.epsg, band), scene.box.coarser(scale)
        lines: list[NDArray[Any]] = []
        was: list[NDArray[Any]] = []
        with (
            rasterio.open(store.raster_path(scene.band_key(band)), driver="GTiff") as dataset,
            rasterio.open(store.raster_path(scene.key(MASK)), driver="GTiff") as mask,
        ):
            for row, col in _squares(whole.shape):
                height, width = min(SAMPLE, whole.height - row), min(SAMPLE, whole.width - col)
                values = dataset.read(1, window=((row, row + height), (col, col + width)))
                coarse = (
                    slice(row // factor, -(-(row + height) // factor)),
                    slice(col // factor, -(-(col + width) // factor)),
                )
                classes = mask.read(1, window=tuple((s.start, s.stop) for s in coarse))
                large = [
                    a.repeat(factor, 0).repeat(factor, 1)[:height, :width]
                    for a in (classes, correction.detector[coarse])
                ]
                at = PixelBox(
                    whole.row0 + row, whole.col0 + col, whole.row0 + row + height, whole.col0 + col + width
                )
                numbers = counts(values, large[0], large[1], correction, band, grid, at)
                there = (values != NODATA) & np.isin(large[0], (1, 2, 3))
                lines.append(values[there] * SCALE)
                was.append((numbers[there].astype(np.float64) + correction.offset) * SCALE)
        if not sum(a.size for a in lines):
            continue
        rho, toa = np.concatenate(lines), np.concatenate(was)
        top = max(top, float(np.percentile(rho, 99.5)), float(np.percentile(toa, 99.5)))
        for ax, v in ((before, toa), (after, rho)):
            ax.hist(v, bins=np.linspace(-0.05, 1, 211), histtype="step", color=colour, label=band)
    for ax in axes:
        ax.set_xlim(-0.02, max(top, 0.1))
        ax.set_xlabel("reflectance of clear pixels", fontsize=8)
        ax.set_yticks([])
        ax.legend(fontsize=7)


def _squares(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    rows, cols = (np.unique(np.linspace(0, max(n - SAMPLE, 0), SAMPLES).astype(int) // 2 * 2) for n in shape)
    yield from ((int(r), int(c)) for r in rows for c in cols)
