"""Sun and view angles from the granule metadata (MTD_TL.xml) of L1C and L2A products."""

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import BANDS
from terrazzo.errors import UnreadableAsset
from terrazzo.precompute.products.files import read_xml

SUN_STEP, VIEW_STEP = 0.02, 0.1
"""Most that the sun's unit vector and the tangent of a view change over 5 km; real ones change by 0.001 and 0.01."""
STEEPEST = 40.0
"""Degrees off nadir that no detector looks; the outermost looks 12."""
SAME_SUN = 1.0
"""Degrees between the mean of the sun's grid and the mean that the metadata name."""
BAND_IDS = tuple(BANDS)
"""Bands by their number in the metadata."""


@dataclass(frozen=True)
class Angles:
    """Angles on nodes of 5 km, node (0, 0) at the tile's upper left corner.

    Attributes:
        left, top: map coordinates of node (0, 0); step in metres.
        sun_zenith, sun_azimuth: (row, col) degrees.
        view: band → detector → (2, row, col): tan(zenith) · (sin, cos)(azimuth), filled by a plane where
            the metadata have no number. In these coordinates a detector's view is almost a plane, and
            means of angles around north cannot go wrong.
        mean_view: zenith and azimuth in degrees, over what the metadata have of bands and detectors.
    """

    left: float
    top: float
    step: float
    sun_zenith: NDArray[np.float64]
    sun_azimuth: NDArray[np.float64]
    view: Mapping[str, Mapping[int, NDArray[np.float64]]]
    mean_view: tuple[float, float]

    @property
    def mean_sun(self) -> tuple[float, float]:
        """Mean zenith and azimuth of the sun in degrees."""
        a = np.radians(self.sun_azimuth)
        azimuth = np.degrees(np.arctan2(np.sin(a).mean(), np.cos(a).mean())) % 360
        return float(self.sun_zenith.mean()), float(azimuth)


def constant_angles(left: float, top: float, side: float, sun: tuple[float, float]) -> Angles:
    """One sun over a square, the sensor at nadir: for products without angle grids.

    Args:
        left, top, side: the square in metres.
        sun: zenith and azimuth in degrees.
    """
    zenith, azimuth = (np.full((2, 2), value) for value in sun)
    return Angles(left, top, side, zenith, azimuth, {}, (0.0, 0.0))


def read_angles(path: str) -> Angles:
    """Reads a granule's metadata.

    Raises:
        UnreadableAsset: no such file, not XML, an XML that declares entities, or no angle grids in it.
    """
    root = read_xml(path)
    try:
        return _angles(root)
    except ValueError as error:
        raise UnreadableAsset(f"granule metadata {path}: {error}; fetch it again") from None


def _angles(root: Element) -> Angles:
    """The angles in a granule's metadata.

    Raises:
        ValueError: there are none, or none that a sun and a sensor can have.
    """
    sun, corner = root.find(".//Sun_Angles_Grid"), root.find(".//Geoposition[@resolution='10']")
    if sun is None or corner is None:
        raise ValueError("no sun angle grid or no corner")
    sun_zenith, sun_azimuth = _grid(sun, "Zenith"), _grid(sun, "Azimuth")
    if sun_zenith.shape != sun_azimuth.shape or min(sun_zenith.shape) < 2:
        raise ValueError(f"sun grids of {sun_zenith.shape} and {sun_azimuth.shape} nodes")
    z, a = np.radians(sun_zenith), np.radians(sun_azimuth)
    height = np.stack([np.cos(z), np.sin(z) * np.sin(a), np.sin(z) * np.cos(a)])
    above = np.isfinite(height).all() and (sun_zenith >= 0).all() and (sun_zenith < 90).all()
    if not (above and _steady(height, SUN_STEP)):
        raise ValueError("a sun that is below the horizon, missing, or jumps from node to node")
    mean = _mean_direction(height)
    stated = [_mean_angle(root, f"Mean_Sun_Angle/{tag}_ANGLE") for tag in ("ZENITH", "AZIMUTH")]
    for angle, named, weight in zip(mean, stated, (1.0, np.sin(np.radians(mean[0]))), strict=True):
        if named is not None and not abs((named - angle + 180) % 360 - 180) * weight <= SAME_SUN:
            raise ValueError(f"a mean sun angle of {named:g}°, and {angle:.1f}° in the grid")
    view: dict[str, dict[int, NDArray[np.float64]]] = {}
    known: list[NDArray[np.float64]] = []
    for grid in root.iterfind(".//Viewing_Incidence_Angles_Grids"):
        zenith, azimuth = _grid(grid, "Zenith"), _grid(grid, "Azimuth")
        if not zenith.shape == azimuth.shape == sun_zenith.shape:
            raise ValueError(f"a view grid of {zenith.shape} nodes beside a sun grid of {sun_zenith.shape}")
        tangents = _tangents(zenith, azimuth)
        filled = _plane(tangents)
        if filled is not None:
            number, detector = int(grid.get("bandId", "")), int(grid.get("detectorId", ""))
            if not (0 <= number < len(BAND_IDS) and 1 <= detector <= 12):
                raise ValueError(f"a view grid of band {number} and detector {detector}")
            if not ((zenith[np.isfinite(zenith)] < STEEPEST).all() and _steady(tangents, VIEW_STEP)):
                raise ValueError(f"a view that is past {STEEPEST:g}° off nadir, or jumps from node to node")
            view.setdefault(BAND_IDS[number], {})[detector] = filled
            known.append(tangents[:, np.isfinite(tangents).all(axis=0)])
    east, north = np.concatenate(known, axis=1).mean(axis=1) if known else (0.0, 0.0)
    return Angles(
        left=_corner(root, "ULX"),
        top=_corner(root, "ULY"),
        step=_step(sun),
        sun_zenith=sun_zenith,
        sun_azimuth=sun_azimuth,
        view=view,
        mean_view=(
            float(np.degrees(np.arctan(np.hypot(east, north)))),
            float(np.degrees(np.arctan2(east, north)) % 360),
        ),
    )


def _grid(parent: Element, name: str) -> NDArray[np.float64]:
    """(row, col) numbers of a grid, NaN where it has none.

    Raises:
        ValueError: its rows are not of one length, or hold something else.
    """
    rows = [[float(x) for x in (v.text or "").split()] for v in parent.iterfind(f"{name}/Values_List/VALUES")]
    if not rows or len({len(row) for row in rows}) > 1:
        raise ValueError(f"a {name.lower()} grid without rows, or with rows of several lengths")
    grid = np.array(rows)
    return np.where(np.isfinite(grid), grid, np.nan)


def _corner(root: Element, tag: str) -> float:
    """A coordinate of the tile's upper left corner, the same for all resolutions."""
    coordinates = {float(e.findtext(tag, "nan")) for e in root.iterfind(".//Geoposition")}
    if len(coordinates) != 1 or not np.isfinite(min(coordinates)):
        raise ValueError(f"no single {tag}: {sorted(coordinates)}")
    return coordinates.pop()


def _step(sun: Element) -> float:
    """Metres between nodes."""
    steps = {float(e.text or "nan") for tag in ("COL_STEP", "ROW_STEP") for e in sun.iter(tag)}
    if not steps <= {5000.0}:
        raise ValueError(f"grids with a step of {sorted(steps)} m")
    return 5000.0


def _mean_angle(root: Element, path: str) -> float | None:
    text = root.findtext(f".//{path}")
    return float(text) if text else None


def _mean_direction(vectors: NDArray[np.float64]) -> tuple[float, float]:
    """Zenith and azimuth in degrees of the mean of (up, east, north) unit vectors."""
    up, east, north = vectors.reshape(3, -1).mean(axis=1)
    return float(np.degrees(np.arctan2(np.hypot(east, north), up))), float(
        np.degrees(np.arctan2(east, north)) % 360
    )


def _steady(values: NDArray[np.float64], most: float) -> bool:
    """Whether (…, row, col) values change by no more than `most` from node to node; NaN says nothing."""
    return all(not (np.abs(np.diff(values, axis=axis)) > most).any() for axis in (-2, -1))


def _tangents(zenith: NDArray[np.float64], azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
    tangent, a = np.tan(np.radians(zenith)), np.radians(azimuth)
    return np.stack([tangent * np.sin(a), tangent * np.cos(a)])


def _plane(tangents: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The tangents with a least-squares plane where the grid has no number; None with too few numbers."""
    known = np.isfinite(tangents).all(axis=0)
    if known.sum() < 3:
        return None
    row, col = np.indices(known.shape)
    design = np.stack([np.ones(known.shape), row, col], axis=-1)
    filled = tangents.copy()
    for part in filled:
        fit, *_ = np.linalg.lstsq(design[known], part[known], rcond=None)
        part[~known] = (design @ fit)[~known]
    return filled
