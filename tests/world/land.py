"""The ground of a simulated world: true surface reflectance of a box of the zone grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from terrazzo.bands import BANDS
from terrazzo.grid import Grid, PixelBox

KINDS = ("water", "forest", "meadow", "crop", "stubble", "soil", "town")
WATER, FOREST = 0, 1
SPECTRA = np.array(
    [
        # B01   B02    B03    B04    B05    B06    B07    B08    B8A    B09    B10    B11    B12
        [0.020, 0.022, 0.025, 0.014, 0.013, 0.011, 0.011, 0.010, 0.009, 0.008, 0.001, 0.006, 0.004],
        [0.018, 0.020, 0.035, 0.022, 0.065, 0.180, 0.220, 0.240, 0.250, 0.250, 0.001, 0.130, 0.060],
        [0.030, 0.035, 0.070, 0.050, 0.110, 0.250, 0.300, 0.330, 0.350, 0.350, 0.001, 0.220, 0.120],
        [0.025, 0.030, 0.065, 0.035, 0.100, 0.320, 0.400, 0.440, 0.460, 0.460, 0.001, 0.200, 0.100],
        [0.055, 0.070, 0.105, 0.140, 0.170, 0.210, 0.240, 0.270, 0.290, 0.300, 0.001, 0.360, 0.270],
        [0.060, 0.075, 0.100, 0.130, 0.150, 0.170, 0.190, 0.210, 0.230, 0.240, 0.001, 0.300, 0.250],
        [0.075, 0.085, 0.100, 0.110, 0.125, 0.140, 0.150, 0.170, 0.180, 0.190, 0.001, 0.210, 0.190],
    ],
    np.float32,
)
"""(kind, band) surface reflectance, round numbers of the order that Sentinel-2 measures in summer."""


@dataclass(frozen=True)
class Place:
    """Where a product lies: a box of a zone's grid.

    Attributes:
        mgrs: name of the tile; it only has to lie in the zone.
        box: pixels of the zone grid.
        pixel: metres.
        window: window side in pixels, for features that end on window borders.
    """

    mgrs: str
    epsg: int
    box: PixelBox
    pixel: float = 10.0
    window: int = 64

    @property
    def grid(self) -> Grid:
        """The zone's grid."""
        return Grid(self.epsg, self.pixel, self.window)


@dataclass(frozen=True)
class Land:
    """True reflectance of a place.

    Attributes:
        bands: names of the bands of `rho`.
        rho: (band, row, col) float32 reflectance, 0–1.
        kind: (row, col) uint8 index into `KINDS`.
    """

    place: Place
    bands: tuple[str, ...]
    rho: NDArray[np.float32]
    kind: NDArray[np.uint8]

    def cut(self, place: Place) -> "Land":
        """The part of the land under a smaller place of the same zone."""
        at = place.box.within(self.place.box)
        return Land(place, self.bands, self.rho[:, *at], self.kind[at])

    def seen_from(self, place: Place) -> "Land":
        """The same ground on the grid of another zone, bilinear; the nearest pixel beyond the edge."""
        left, _, _, top = place.grid.bounds(place.box)
        x, y = np.meshgrid(
            left + (np.arange(place.box.width) + 0.5) * place.pixel,
            top - (np.arange(place.box.height) + 0.5) * place.pixel,
        )
        x, y = Transformer.from_crs(place.epsg, self.place.epsg, always_xy=True).transform(x, y)
        own = self.place.grid.bounds(self.place.box)
        at = np.stack([(own.top - y) / self.place.pixel - 0.5, (x - own.left) / self.place.pixel - 0.5])
        rho = np.stack([ndimage.map_coordinates(b, at, order=1, mode="nearest") for b in self.rho])
        kind = ndimage.map_coordinates(self.kind, at, order=0, mode="nearest")
        return Land(place, self.bands, rho.astype(np.float32), kind)


def smooth_noise(shape: tuple[int, int], length: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(row, col) noise of mean 0, standard deviation 1 and a correlation length of `length` pixels."""
    # Made on a coarse grid with a rim and enlarged: a wide Gaussian over a fine grid is slow and looks the same.
    step = max(length / 4, 1.0)
    coarse = tuple(int(np.ceil(n / step)) + 17 for n in shape)
    field = ndimage.gaussian_filter(rng.standard_normal(coarse), 4 if step > 1 else length)
    field = (field - field.mean()) / max(field.std(), 1e-9)
    at = np.meshgrid(*(8 + np.arange(n) / step for n in shape), indexing="ij")
    return ndimage.map_coordinates(field, at, order=1).astype(np.float32)


def landscape(
    place: Place, bands: tuple[str, ...], seed: int, *, texture: float = 0.06, field: int = 20, day: float = 0
) -> Land:
    """Fields, meadows and towns in an open plain; a lake and a forest in every seventh window, side to side.

    Args:
        texture: relative standard deviation of the reflectance within a field.
        field: side of a field in pixels.
        day: how far the season has gone, 0–1: crops turn into stubble field by field.
    """
    rng = np.random.default_rng([seed, 1])
    shape, box, n = place.box.shape, place.box, place.window
    rows, cols = np.indices(shape)
    tilt = rng.uniform(-0.4, 0.4)
    parcel = (
        np.floor((rows + tilt * cols) / field).astype(int) * 1009 + np.floor((cols - tilt * rows) / field)
    ).astype(int)
    numbers, parcel = np.unique(parcel, return_inverse=True)
    kinds = rng.choice(np.arange(2, 7), numbers.size, p=[0.3, 0.35, 0.15, 0.12, 0.08]).astype(np.uint8)
    tone = rng.normal(1, 0.12, numbers.size)
    harvest = rng.uniform(0.05, 0.95, numbers.size)
    kinds = np.where((kinds == KINDS.index("crop")) & (harvest < day), KINDS.index("stubble"), kinds)
    kind = kinds[parcel].reshape(shape).astype(np.uint8)
    tone = tone[parcel].reshape(shape)
    wy, wx = (rows + box.row0) // n, (cols + box.col0) // n
    use = (wy * 3 + wx + seed) % 7
    kind[use == 0] = WATER
    kind[use == 3] = FOREST
    tone[(use == 0) | (use == 3)] = 1.0
    chosen = [list(BANDS).index(b) for b in bands]
    rho = np.moveaxis(SPECTRA[:, chosen][kind], -1, 0)
    grain = np.where(kind == WATER, 0.3, 1.0) * texture
    shade = tone * (1 + grain * (0.7 * smooth_noise(shape, 4, rng) + 0.7 * rng.standard_normal(shape)))
    own = 1 + 0.2 * grain * rng.standard_normal((len(bands), *shape))
    return Land(place, bands, np.clip(rho * shade * own, 0.0005, 1.2).astype(np.float32), kind)
