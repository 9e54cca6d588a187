"""What a pass sees of the ground: sensor, haze, swath, clouds, shadows and view angles, as pure arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from terrazzo.bands import BANDS
from terrazzo.precompute.correct.brdf import COEFFICIENTS, nbar_factor
from tests.world.land import Land, Place, smooth_noise

HAZE = {b: min(1.0, (492.7 / v.centre_nm[0]) ** 1.9) for b, v in BANDS.items()}
"""Path reflectance of haze by band, relative to B02: falls with the wavelength as small aerosol does."""
CLOUD = 0.55
"""Reflectance of a thick cloud in every band."""
SHADE = {b: 0.55 if v.centre_nm[0] < 700 else 0.4 for b, v in BANDS.items()}
"""Light left in a cloud's shadow."""
STEP = 5000.0
"""Metres between the nodes of angle grids."""


@dataclass(frozen=True)
class View:
    """Sun and view of a pass.

    Attributes:
        sun_zenith, sun_azimuth: degrees.
        tilt: tan(view zenith) towards east at the middle of the place, and its change per metre eastward.
        forward: tan(view zenith) towards north of odd detectors; even ones look as far back.
        width: metres of ground a detector sees across.
    """

    sun_zenith: float = 40.0
    sun_azimuth: float = 150.0
    tilt: tuple[float, float] = (0.08, 1.3e-6)
    forward: float = 0.05
    width: float = 1500.0


@dataclass(frozen=True)
class Sky:
    """What stands between the ground and the product; the default changes nothing.

    Observed = ((1 − h)·(gain·rho + offset) + h_b)·(1 + ramp·x) / c, x −0.5 … 0.5 from west to east, h_b = haze·HAZE,
    h = half the haze, c the factor to nadir; clouds and shadows then lie over it.

    Attributes:
        gain, offset: by band; missing bands have 1 and 0. Offset in reflectance.
        haze: mean path reflectance at B02; it varies smoothly by as much over `haze_length` metres.
        ramp: relative change across the width.
        swath: share of the width that the swath covers at half height, from the west (negative: from the
            east); its edge is slanted. 1 covers all.
        cloud: share of the place under clouds that the archive's mask knows.
        missed: share under thin clouds that it does not know.
        seed: of clouds and haze.
    """

    gain: Mapping[str, float] | None = None
    offset: Mapping[str, float] | None = None
    haze: float = 0.0
    haze_length: float = 2000.0
    ramp: float = 0.0
    swath: float = 1.0
    cloud: float = 0.0
    missed: float = 0.0
    view: View | None = None
    seed: int = 0


@dataclass(frozen=True)
class Seen:
    """What a pass saw, before it is written as counts.

    Attributes:
        rho: (band, row, col) float32 reflectance.
        valid: (row, col) inside the swath.
        cloud: (row, col) clouds the archive's mask knows; shadow: theirs; missed: clouds it does not know.
        shadow_missed: shadows of the missed ones.
        detector: (row, col) uint8, 0 without view angles.
    """

    land: Land
    sky: Sky
    rho: NDArray[np.float32]
    valid: NDArray[np.bool_]
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    detector: NDArray[np.uint8]

    @property
    def clear(self) -> NDArray[np.bool_]:
        """(row, col) ground that is really seen: no cloud or shadow, known or missed."""
        return self.valid & ~self.cloud & ~self.shadow & ~self.missed


def observe(land: Land, sky: Sky) -> Seen:
    """What a pass under a sky sees of a land."""
    place, shape = land.place, land.kind.shape
    rng = np.random.default_rng([sky.seed, 2])
    haze = np.zeros(shape, np.float32)
    if sky.haze:
        haze += np.maximum(sky.haze * (1 + 0.5 * smooth_noise(shape, sky.haze_length / place.pixel, rng)), 0)
    x = (np.arange(shape[1]) + 0.5) / shape[1] - 0.5
    # The order of draws is fixed, so that a sky with fewer clouds keeps its haze.
    cloud, thickness = clouds(shape, sky.cloud, 700 / place.pixel, rng)
    missed, thin = clouds(shape, sky.missed, 300 / place.pixel, rng)
    missed &= ~cloud
    view = sky.view or View()
    shadow = thrown(cloud, view, place.pixel) & ~cloud
    detector = detectors(place, view) if sky.view else np.zeros(shape, np.uint8)
    out = np.empty_like(land.rho)
    for k, band in enumerate(land.bands):
        gain = (sky.gain or {}).get(band, 1.0)
        offset = (sky.offset or {}).get(band, 0.0)
        rho = (1 - haze / 2) * (gain * land.rho[k] + offset) + haze * HAZE[band]
        rho = rho * (1 + sky.ramp * x)
        if sky.view and band in COEFFICIENTS:
            # Like the correction, only land is seen from the side differently.
            rho = np.where(land.kind == 0, rho, rho / factors(place, view, band, detector))
        rho = np.where(shadow, SHADE[band] * rho, rho)
        opacity = np.where(missed, 0.15 + 0.25 * thin, 0) + np.where(cloud, 0.75 + 0.25 * thickness, 0)
        out[k] = (1 - opacity) * rho + opacity * CLOUD
    return Seen(land, sky, out, swath(shape, sky.swath), cloud, shadow, missed, detector)


def clouds(
    shape: tuple[int, int], share: float, length: float, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Where clouds are, covering `share` of a box, and how thick they are, 0–1 from rim to core."""
    field = smooth_noise(shape, length, rng) + 0.15 * smooth_noise(shape, length / 4, rng)
    if share <= 0:
        return np.zeros(shape, bool), np.zeros(shape, np.float32)
    rim = np.quantile(field, 1 - share)
    return field > rim, np.clip((field - rim) / 0.8, 0, 1).astype(np.float32)


def thrown(cloud: NDArray[np.bool_], view: View, pixel: float, height: float = 900.0) -> NDArray[np.bool_]:
    """The shadow of clouds `height` metres above the ground."""
    away = np.radians(view.sun_azimuth + 180)
    length = height * np.tan(np.radians(view.sun_zenith)) / pixel
    moved = ndimage.shift(
        cloud.astype(np.uint8), (-np.cos(away) * length, np.sin(away) * length), order=0, mode="constant"
    )
    return np.asarray(moved > 0)


def swath(shape: tuple[int, int], share: float) -> NDArray[np.bool_]:
    """(row, col) inside a swath that covers a share of the width, its edge leaning as Sentinel-2's do."""
    if abs(share) >= 1:
        return np.ones(shape, bool)
    row, col = np.indices(shape)
    edge = share % 1 * shape[1] - 0.25 * (row - shape[0] / 2)
    return np.asarray(col < edge if share > 0 else col >= edge)


def detectors(place: Place, view: View) -> NDArray[np.uint8]:
    """(row, col) number of the detector that sees a pixel, 1 to 12 from west to east, joins slanted."""
    row, col = np.indices(place.box.shape)
    x = (col + 0.2 * row) * place.pixel
    return np.asarray(np.clip(np.floor(x / view.width), 0, 11) + 1, np.uint8)


def tangents(
    place: Place, view: View, detector: NDArray[np.integer], x: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """tan(view zenith) towards east and north of places at eastings `x` seen by detectors."""
    bounds = place.grid.bounds(place.box)
    east = view.tilt[0] + view.tilt[1] * (x - (bounds.left + bounds.right) / 2)
    return east, np.where(np.asarray(detector) % 2 == 1, view.forward, -view.forward) * np.ones_like(east)


def factors(place: Place, view: View, band: str, detector: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(row, col) factor from the view of each pixel to nadir."""
    bounds = place.grid.bounds(place.box)
    x = bounds.left + (np.arange(place.box.width) + 0.5) * place.pixel
    east, north = tangents(place, view, detector, np.broadcast_to(x, detector.shape))
    zenith = np.degrees(np.arctan(np.hypot(east, north)))
    azimuth = np.degrees(np.arctan2(east, north))
    return nbar_factor(band, view.sun_zenith, zenith, view.sun_azimuth - azimuth)
