"""A scene's mask, drawn beside what it was made of and what became of it."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from terrazzo.bands import CLOUDED, NODATA, SCALE
from terrazzo.errors import NotFound
from terrazzo.precompute.clouds.model import BANDS, CLASSES, class_probabilities, load_model
from terrazzo.precompute.inspect.scene import draw_classes, picture, read_small
from terrazzo.scene import MASK, Scene
from terrazzo.store import Store, beside
from terrazzo.version import open_version


def draw(store: Store, scene: Scene, mosaic: str, output: Path) -> None:
    """Draws a scene, its classes, the probability of cloud or shadow and the weight side by side into a PNG."""
    figure = Figure(figsize=(18, 5.4), layout="constrained")
    axes = figure.subplots(1, 4)
    figure.suptitle(f"{scene.id}  {scene.level}  {scene.datetime:%Y-%m-%d %H:%M} UTC", fontsize=11)
    image, bands = picture(store, scene)
    axes[0].imshow(image, interpolation="nearest")
    axes[0].set_title(bands, fontsize=10)
    axes[0].set_axis_off()
    draw_classes(axes[1], read_small(store, scene.key(MASK)))
    _shares(axes[2], unclear(store, scene), "cloud or shadow, by the spectrum alone", 1)
    _shares(axes[3], weight(store, scene, mosaic), f"weight in {mosaic}", 255)
    with beside(output) as temporary:
        figure.savefig(temporary, format="png", dpi=90)


def unclear(store: Store, scene: Scene) -> NDArray[np.float32] | None:
    """(row, col) probability of cloud, thin cloud or shadow, thinned, from the corrected bands; None with too few bands.

    A store keeps classes and no probabilities; these are computed again, by the classifier of the surface, without surroundings and
    without the archive's masks.
    """
    names = [b for b in scene.bands if b in BANDS]
    layers = [read_small(store, scene.band_key(b)) for b in names]
    if not {"B02", "B03", "B04"} <= set(names):
        return None
    shape = min(a.shape for a in layers)
    rho = np.stack([_sampled(a, shape) for a in layers]).astype(np.float32)
    rho[rho == NODATA] = np.nan
    p = class_probabilities(rho * np.float32(SCALE), names, load_model("L2A"))
    return np.asarray(p[[CLASSES.index(c) for c in CLOUDED]].sum(axis=0))


def _sampled(values: NDArray[np.int16], shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Every so many pixels, so that bands of all resolutions fit."""
    rows, cols = (np.arange(n) * size // n for n, size in zip(shape, values.shape, strict=True))
    return values[np.ix_(rows, cols)]


def weight(store: Store, scene: Scene, mosaic: str) -> NDArray[np.uint8] | None:
    """(row, col) weight, thinned, in the current version of a mosaic; None where the scene is not in it."""
    try:
        version = open_version(store, mosaic)
    except NotFound:
        return None
    entries = (e for period in version.periods for e in version.entries(period))
    entry = next((e for e in entries if e.scene.prefix == scene.prefix), None)
    return None if entry is None else read_small(store, entry.weight_key)


def _shares(axes: Axes, values: NDArray[np.generic] | None, title: str, full: float) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    if values is None:
        axes.text(0.5, 0.5, "not known", ha="center", transform=axes.transAxes, color="grey")
        return
    shown = axes.imshow(values, cmap="viridis", vmin=0, vmax=full, interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes, shrink=0.8)
