"""Labelled pixels with their surroundings: real ones found again in their images, and clear images under simulated clouds.

A simulated cloud has a place, a height and an optical depth that thins out to its rim; it throws its shadow along the sun's ray, also
from outside the picture. So what is cloud, thin cloud and shadow is known for every pixel, which no interpreter can label.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.precompute.clouds.context import context_features
from terrazzo.precompute.clouds.model import BANDS
from terrazzo.precompute.clouds.train.simulate import (
    B10,
    CLOUD,
    LAND,
    SHADOW,
    SNOW,
    THICK,
    THIN,
    THINNEST,
    WATER,
    AirLayer,
    Airs,
    airs,
    cloud,
    corrected,
    seen,
)

Array = NDArray[np.float64]
CLEAR_DAYS = ("2018-02-10", "2018-04-26", "2018-10-23", "2018-11-12")
"""Days of the series `labelled/ts` without clouds."""
CIRRUS = 0.012
"""Reflectance in B10 above which a picture that is called clear is not used as such."""
HIDDEN, DIMMED = 0.35, 0.8
"""Share of the direct beam up to which the ground is in shadow, and from which it is not."""
SKIES, PICKED = 10, 45
"""Simulated skies over each clear image, and pixels of a class drawn from each."""
OTHER_AIR, HAZIEST = 0.5, 0.5
"""Share of the skies whose air is not the image's own, and the aerosol optical depth of the haziest of them."""
SNOWY, COVERED = 0.25, 0.5
"""Share of the skies under which snow lies, and share of a pixel from which it is called snow."""
PIXEL = 10.0


class Sky(NamedTuple):
    """A clear image under a simulated sky: (band, row, col), (row, col) class, -1 between two, and the sun's zenith and azimuth in degrees."""

    reflectance: Array
    label: NDArray[np.int64]
    sun: tuple[float, float]


class Picked(NamedTuple):
    """Samples with surroundings: (sample, band), (sample, context feature), (sample,) class and (sample,) place."""

    reflectance: Array
    context: NDArray[np.float32]
    label: NDArray[np.int64]
    place: NDArray[np.str_]

    def of(self, which: NDArray[np.bool_]) -> "Picked":
        """Some of the samples."""
        return Picked(self.reflectance[which], self.context[which], self.label[which], self.place[which])

    def and_also(self, more: "Picked") -> "Picked":
        """These samples and others."""
        return Picked(
            np.concatenate([self.reflectance, more.reflectance]),
            np.concatenate([self.context, more.context]),
            np.concatenate([self.label, more.label]),
            np.concatenate([self.place, more.place]),
        )


def ground_class(rho: Array) -> NDArray[np.int64]:
    """Land, water or snow of clear (sample, band) pixels, by simple rules."""
    b03, b08, b11 = (rho[:, BANDS.index(b)] for b in ("B03", "B08", "B11"))
    snow = ((b03 - b11) / np.maximum(b03 + b11, 1e-3) > 0.4) & (b03 > 0.2) & (b08 > 0.12)
    return np.where(snow, SNOW, np.where((b03 > b08) & (b08 < 0.12), WATER, LAND))


def place_of(path: Path) -> str:
    """Place of an image of `labelled/`."""
    name = path.stem
    return "TS2017_146" if name.startswith("ROIs") else name.rsplit("_p", 1)[0]


def images(data: Path) -> list[Path]:
    """Every labelled image, in order."""
    folder = data / "labelled"
    return sorted((folder / "patches").glob("*.tif")) + sorted((folder / "ts").glob("*.tif"))


def read(path: Path) -> NDArray[np.uint16]:
    """(band, row, col) counts of `BANDS`."""
    with rasterio.open(path, driver="GTiff") as dataset:
        return np.asarray(dataset.read(), np.uint16)


def surroundings(data: Path, counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """(sample, context feature) of (sample, band) counts, found in the images by their 13 numbers; NaN where they are not."""
    keys = _keys(counts.astype(np.uint16))
    order = np.argsort(keys)
    ranked = keys[order]
    out: NDArray[np.float32] | None = None
    for path in images(data):
        image = read(path)
        here = _keys(image.reshape(len(BANDS), -1).T)
        at = np.minimum(np.searchsorted(ranked, here), len(ranked) - 1)
        hits = np.flatnonzero(ranked[at] == here)
        if not len(hits):
            continue
        context = context_features(image / np.float32(10_000), BANDS, PIXEL).reshape(-1, image[0].size).T
        if out is None:
            out = np.full((len(counts), context.shape[1]), np.nan, np.float32)
        first = at[hits]
        while len(hits):
            out[order[first]] = context[hits]
            # Equal numbers stand beside each other: they share what was found.
            first = first + 1
            same = (first < len(ranked)) & (ranked[np.minimum(first, len(ranked) - 1)] == here[hits])
            hits, first = hits[same], first[same]
    assert out is not None
    return out


def _keys(counts: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """A number for each row; equal rows have equal numbers."""
    factors = np.random.default_rng(1).integers(1, 2**63, counts.shape[1], dtype=np.uint64) | np.uint64(1)
    return np.asarray((counts.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64))


def under_clouds(data: Path, level: str, seed: int, snow: Array, further: list[tuple[Array, str]]) -> Picked:
    """Pixels of every clear image under several simulated skies, some after snow has fallen.

    Args:
        snow: (spectrum, band) reflectance.
        further: clear images at the top of the atmosphere, and their places.
    """
    parts = []
    known = [(read(path).astype(np.float64) / 10_000, place_of(path)) for path in clear_images(data)]
    for number, (toa, place) in enumerate([*known, *further]):
        for sky in range(SKIES):
            rng = np.random.default_rng([seed, number, sky])
            parts.append(_sky(toa, place, level, rng, snow if rng.random() < SNOWY else None))
    return Picked(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def clear_images(data: Path) -> list[Path]:
    """Images of `labelled/` without clouds and cirrus."""
    kept = [p for p in images(data) if p.stem.endswith("_clear") or any(d in p.stem for d in CLEAR_DAYS)]
    return [p for p in kept if np.median(read(p)[B10]) <= CIRRUS * 10_000]


def _sky(toa: Array, place: str, level: str, rng: np.random.Generator, snow: Array | None) -> Picked:
    pixel = PIXEL
    if rng.random() < 0.5:
        pixel, toa = 2 * PIXEL, toa.reshape(len(toa), toa.shape[1] // 2, 2, -1, 2).mean((2, 4))
    skies, label, _ = simulated(toa, pixel, level, rng, snow)
    context = context_features(skies.astype(np.float32), BANDS, pixel)
    flat, flat_label = skies.reshape(len(BANDS), -1).T, label.ravel()
    picked = [
        rng.permutation(np.flatnonzero(flat_label == c))[: PICKED if c > SNOW else 2 * PICKED]
        for c in range(6)
    ]
    at = np.concatenate(picked)
    return Picked(flat[at], context.reshape(len(context), -1).T[at], flat_label[at], np.full(len(at), place))


def simulated(
    toa: Array, pixel: float, level: str, rng: np.random.Generator, snow: Array | None = None
) -> Sky:
    """A clear (band, row, col) image under a random sky, after a fall of snow if (spectrum, band) reflectances of it are given."""
    shape = toa.shape[1:]
    flat = toa.reshape(len(BANDS), -1).T
    own = _fitting(flat, rng)
    # The ground is seen again through the air it was seen through, or through another.
    another = snow is not None or rng.random() < OTHER_AIR
    air = _another(rng) if another else own
    height = float(air.height[0])
    # The picture is the middle of a larger sky, so that shadows come in from outside.
    reach = min(height * 1000 * np.tan(np.radians(air.sun_zenith[0])), 6000.0)
    azimuth = rng.uniform(0, 2 * np.pi)
    margin = int(reach / pixel) + 2
    depth = _depth((shape[0] + 2 * margin, shape[1] + 2 * margin), pixel, height > 5, rng)
    over = depth[margin:-margin, margin:-margin]
    d_row, d_col = round(-reach / pixel * np.cos(azimuth)), round(reach / pixel * np.sin(azimuth))
    beam_depth = depth[margin + d_row : margin + d_row + shape[0], margin + d_col : margin + d_col + shape[1]]
    beam = np.exp(-beam_depth / (2 * np.cos(np.radians(air.sun_zenith[0]))))
    # Seen from the ground the sun is half a degree wide, and a rim scatters.
    beam = ndimage.gaussian_filter(beam, max(height * 1000 * 0.0046 / pixel, 0.5))
    at = np.zeros(len(flat), np.int64)
    whole = own.whole.removed(flat, at)
    ground = _completed(whole)
    bare = ground_class(np.where(np.isfinite(whole), ground, flat))
    if snow is not None:
        ground, bare = snowed(ground, bare, shape, pixel, snow, rng)
    # A cloud is made of one kind of drops: one draw an image, its depth by pixel.
    kind = cloud(np.full(1, 1e6), np.array([height > 5]), rng)
    white = 0.075 * over.reshape(-1, 1) / (1 + 0.075 * over.reshape(-1, 1)) * kind
    extra = np.full(len(flat), rng.uniform(0, 0.2))
    new = seen(air, at, ground, white, beam.ravel(), extra)
    if not another:
        # What the drawn air cannot explain of the real picture stays in it.
        before = seen(air, at, ground, np.zeros_like(white), np.ones(len(flat)), extra)
        new = new + np.where(np.isfinite(whole), 0, (flat - before) * (1 - np.minimum(white, 1)))
    if level == "L2A":
        new = corrected(air, at, new, rng)
    label = bare
    d, b = over.ravel(), beam.ravel()
    label = np.where((b < DIMMED) & (d <= 0.1), np.where(b < HIDDEN, SHADOW, -1), label)
    label = np.where((d > 0.1) & (d < THINNEST), -1, label)
    label = np.where(d >= THINNEST, np.where(d >= THICK, CLOUD, THIN), label)
    label = np.where((label == SHADOW) & (bare == WATER), -1, label)
    sun = float(air.sun_zenith[0]), float(np.degrees(azimuth))
    return Sky(new.T.reshape(toa.shape), label.reshape(shape), sun)


def snowed(
    ground: Array,
    bare: NDArray[np.int64],
    shape: tuple[int, int],
    pixel: float,
    snow: Array,
    rng: np.random.Generator,
) -> tuple[Array, NDArray[np.int64]]:
    """(pixel, band) ground and its classes after snow has fallen: less under trees, in patches where it melts, brighter on slopes to the sun.

    Water freezes as a whole or stays open.
    """
    red, nir = (ground[:, BANDS.index(b)] for b in ("B04", "B08"))
    trees = np.clip(((nir - red) / np.maximum(nir + red, 1e-3) - 0.3) / 0.4, 0, 1)
    cover = 1 - trees * rng.uniform(0.4, 1.0)
    if rng.random() < 0.4:
        patches = _noise(shape, (rng.uniform(50, 800) / pixel,) * 2, rng).ravel()
        cover = cover * np.clip(1.5 * (patches - rng.uniform(-1.5, 1)) + 0.5, 0, 1)
    if rng.random() < 0.5:
        cover = np.where(bare == WATER, 0, cover)
    white = snow[rng.integers(len(snow))] * rng.uniform(0.55, 1.0) * rng.normal(1, 0.03, (len(ground), 1))
    slope = np.exp(rng.uniform(0, 0.3) * _noise(shape, (rng.uniform(30, 400) / pixel,) * 2, rng)).reshape(
        -1, 1
    )
    part = cover[:, None]
    out = np.clip((part * white + (1 - part) * ground) * np.where(part > 0, slope, 1), 0, 1.1)
    return out, np.where(cover >= COVERED, SNOW, np.where(cover > 0, LAND, bare))


def _completed(ground: Array) -> Array:
    """(pixel, band) ground without gaps: where nothing came through in a band, its neighbours give what lies below."""
    out = ground.copy()
    near, short = (out[:, BANDS.index(b)] for b in ("B8A", "B11"))
    for band, substitute in (("B09", near), ("B10", (near + short) / 2)):
        k = BANDS.index(band)
        out[:, k] = np.where(np.isfinite(out[:, k]), out[:, k], substitute)
    return np.nan_to_num(out, nan=0.05)


def _fitting(flat: Array, rng: np.random.Generator) -> Airs:
    """One air whose path reflectance is not above the image's darkest pixels."""
    darkest = np.percentile(flat, 0.5, axis=0) + 0.003
    drawn = airs(rng, 60)
    excess = np.maximum(drawn.whole.path - darkest, 0)[:, :9].sum(axis=1)
    return _one(drawn, int(np.flatnonzero(excess <= max(excess.min() * 1.5, 0.02))[0]))


def _another(rng: np.random.Generator) -> Airs:
    """One air that is not so hazy that the ground would be called covered."""
    drawn = airs(rng, 60)
    return _one(drawn, int(np.flatnonzero(drawn.haze <= HAZIEST)[0]))


def _one(drawn: Airs, number: int) -> Airs:
    at = slice(number, number + 1)
    parts: Any = (type(v)(*(layer[at] for layer in v)) if isinstance(v, AirLayer) else v[at] for v in drawn)
    return Airs(*parts)


def _depth(shape: tuple[int, int], pixel: float, ice: bool, rng: np.random.Generator) -> Array:
    """Optical depth of a field of clouds: cumulus, sheets, or streaks of cirrus."""
    if ice and rng.random() < 0.7:
        size, peak = rng.uniform(600, 2500), rng.uniform(0.4, 4)
        stretch = rng.uniform(1, 4)
    else:
        size, peak = np.exp(rng.uniform(np.log(80), np.log(2000))), np.exp(rng.uniform(np.log(2), np.log(60)))
        stretch = 1.0
    field = np.zeros(shape)
    for octave in range(4):
        sigma = max(size / pixel / 2**octave, 0.5)
        part = _noise(shape, (sigma, min(sigma * stretch, 400)), rng)
        field += part / 1.7**octave
    field = (field - field.mean()) / field.std()
    rim = np.quantile(field, 1 - rng.choice([0.05, 0.15, 0.3, 0.5, 0.8]))
    return np.asarray(peak * np.clip((field - rim) / rng.uniform(0.3, 1.5), 0, 1.5) ** rng.uniform(0.8, 1.6))


def _noise(shape: tuple[int, int], sigma: tuple[float, float], rng: np.random.Generator) -> Array:
    """Smooth noise of unit variance, made coarse and enlarged where it is very smooth."""
    step = max(1, int(min(sigma) / 3))
    small = rng.normal(size=tuple(n // step + 3 for n in shape))
    smooth = ndimage.gaussian_filter(small, [s / step for s in sigma], mode="wrap")
    smooth = (smooth - smooth.mean()) / max(smooth.std(), 1e-9)
    rows, cols = (np.arange(n) / step for n in shape)
    grid = np.meshgrid(rows, cols, indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, grid, order=1, mode="nearest"))
