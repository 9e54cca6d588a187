"""Sun and view angles from the granule metadata (MTD_TL.xml) of L1C and L2A products."""

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from terrazzo.errors import UnreadableAsset
from terrazzo.precompute.products.files import read_xml

BAND_IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


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
    sun, corner = root.find(".//Sun_Angles_Grid"), root.find(".//Geoposition[@resolution='10']")
    if sun is None or corner is None:
        raise UnreadableAsset(f"granule metadata {path} has no sun angle grid or no corner; fetch it again")
    view: dict[str, dict[int, NDArray[np.float64]]] = {}
    known: list[NDArray[np.float64]] = []
    for grid in root.iterfind(".//Viewing_Incidence_Angles_Grids"):
        tangents = _tangents(_grid(grid, "Zenith"), _grid(grid, "Azimuth"))
        filled = _plane(tangents)
        if filled is not None:
            band = BAND_IDS[int(grid.get("bandId", "0"))]
            view.setdefault(band, {})[int(grid.get("detectorId", "0"))] = filled
            known.append(tangents[:, np.isfinite(tangents).all(axis=0)])
    east, north = np.concatenate(known, axis=1).mean(axis=1) if known else (0.0, 0.0)
    return Angles(
        left=float(corner.findtext("ULX", "0")),
        top=float(corner.findtext("ULY", "0")),
        step=float(sun.findtext("Zenith/COL_STEP", "5000")),
        sun_zenith=_grid(sun, "Zenith"),
        sun_azimuth=_grid(sun, "Azimuth"),
        view=view,
        mean_view=(
            float(np.degrees(np.arctan(np.hypot(east, north)))),
            float(np.degrees(np.arctan2(east, north)) % 360),
        ),
    )


def _grid(parent: Element, name: str) -> NDArray[np.float64]:
    rows = [v.text or "" for v in parent.iterfind(f"{name}/Values_List/VALUES")]
    return np.array([[float(x) for x in row.split()] for row in rows])


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
