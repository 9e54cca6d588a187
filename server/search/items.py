"""The Items of a version's collections: its scenes, and for each period and zone the mosaic itself."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from terrazzo.bands import BANDS, NODATA, SCALE
from terrazzo.grid import PixelBox
from terrazzo.server.grids import own_name
from terrazzo.server.search.listing import (
    BOX,
    PERIOD,
    Listing,
    box_area,
    corners_of,
    listing_of,
    read_scenes,
    scenes_listing,
)
from terrazzo.server.search.times import Span, interval_of
from terrazzo.store import Store

KEPT = 8
"""Versions whose columns are kept in memory."""
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"


class Listings(NamedTuple):
    """What a search knows of a version.

    Attributes:
        bands: of its scenes.
    """

    scenes: Listing
    periods: Listing
    bands: tuple[str, ...]


class Extent(NamedTuple):
    """Where a period's mosaic lies in a zone.

    Attributes:
        shape: rows and columns of the zone's pixels.
        transform: the six numbers of its affine transform.
        bounds: west, south, east, north in degrees; west > east crosses the antimeridian.
    """

    epsg: int
    shape: tuple[int, int]
    transform: tuple[float, ...]
    bounds: tuple[float, float, float, float]


@lru_cache(maxsize=KEPT)
def open_listings(store: Store, mosaic: str, version: str) -> Listings:
    """The Items of a version; it never changes, so they are read once.

    Raises:
        NotFound: there is no such version.
        Damaged: a table of it has changed since it was written.
    """
    table, lock = read_scenes(store, mosaic, version)
    bands = tuple(lock["bands"])
    periods = listing_of(*zip(*_periods(store, mosaic, version, table, lock), strict=True))
    return Listings(scenes_listing(store, table), periods, bands)


def _periods(
    store: Store, mosaic: str, version: str, table: pa.Table, lock: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], Span]]:
    """An Item for each period and zone with scenes, its links and assets relative to the mosaic's address."""
    periods, zones = table[PERIOD], table["proj:code"]
    corners, codes = corners_of(table), pc.unique(zones).to_pylist()
    for code in sorted(codes):
        of_zone = pc.equal(zones, code)
        epsg = int(code.removeprefix("EPSG:"))
        boxes = table.filter(of_zone)[BOX].combine_chunks().flatten().to_numpy().reshape(-1, 4)
        # As the description of the zone's raster has it: all periods lie on the same pixels.
        whole = PixelBox(*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
        for period in lock["periods"]:
            rows = pc.and_(of_zone, pc.equal(periods, period["name"])).to_numpy()
            if rows.any():
                about = {"mosaic": mosaic, "version": version, "period": period["name"]}
                outlines = table["geometry"].combine_chunks().filter(pa.array(rows))
                bounds = _around(corners[rows], outlines, epsg)
                extent = Extent(epsg, whole.shape, tuple(store.grid(epsg).transform(whole))[:6], bounds)
                yield (
                    _period_item(about, period, extent, tuple(lock["bands"])),
                    interval_of(period["start"], period["end"]),
                )


def _period_item(
    about: Mapping[str, str],
    period: Mapping[str, Any],
    extent: Extent,
    bands: tuple[str, ...],
) -> dict[str, Any]:
    zone = own_name(extent.epsg)
    begin, end = f"{period['start']}T00:00:00Z", f"{period['end']}T23:59:59.999999Z"
    query = {"datetime": f"{period['start']}/{period['end']}", "version": about["version"]}
    properties = {
        "datetime": begin,
        "start_datetime": begin,
        "end_datetime": end,
        "title": f"{about['mosaic']}, {period['name']}",
        "gsd": extent.transform[0],
        "constellation": "sentinel-2",
        "proj:code": f"EPSG:{extent.epsg}",
        "proj:shape": list(extent.shape),
        "proj:transform": list(extent.transform),
        **{f"terrazzo:{name}": value for name, value in about.items()},
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [PROJECTION, RASTER],
        "id": f"{period['name']}-{zone}",
        "geometry": shapely.geometry.mapping(box_area(extent.bounds)),
        "bbox": list(extent.bounds),
        "properties": properties,
        "links": [],
        "assets": {
            **{band: _band_asset(band, zone, query) for band in bands},
            "tilejson": {
                "href": f"WebMercatorQuad/tilejson.json?{urlencode(query)}",
                "type": "application/json",
                "title": "Tiles",
                "roles": ["overview"],
            },
        },
    }


def _band_asset(band: str, zone: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A band of the mosaic as GDAL opens it: a description of tiles, merged when they are read."""
    about = BANDS[band]
    return {
        "href": f"gdal.xml?{urlencode({**query, 'bands': band, 'tms': zone})}",
        # No media type: a VRT has none of its own, and odc-stac takes what is not image/… for no raster.
        "title": f"{band}, reflectance of the mosaic",
        "roles": ["data", "reflectance"],
        "data_type": "int16",
        "nodata": NODATA,
        "bands": [
            {"name": band, "eo:common_name": about.common, "raster:scale": SCALE, "raster:offset": 0},
        ],
    }


def _around(boxes: NDArray[np.float64], outlines: pa.Array, epsg: int) -> tuple[float, float, float, float]:
    """The box around scenes of a UTM zone in degrees; west > east where it crosses the antimeridian.

    Args:
        boxes: (n, 4) west, south, east, north of each; one in two parts has the whole globe's width.
        outlines: (n,) WKB of the geometries.
    """
    middle = 6 * (epsg % 100) - 183
    parted = boxes[:, 2] - boxes[:, 0] > 180
    cut = outlines.filter(pa.array(parted)).to_numpy(zero_copy_only=False)
    # Of these the points on the 180° line itself are as near from either side.
    longitudes = shapely.get_coordinates(shapely.from_wkb(cut))[:, 0]
    sides = np.concatenate([boxes[~parted][:, [0, 2]].ravel(), longitudes])
    away = (sides - middle + 180) % 360 - 180
    west, east = (_within(float(v) + middle) for v in (away.min(), away.max()))
    return west, float(boxes[:, 1].min()), east, float(boxes[:, 3].max())


def _within(longitude: float) -> float:
    """A longitude within ±180."""
    return round(longitude - 360 * round(longitude / 360), 7)
