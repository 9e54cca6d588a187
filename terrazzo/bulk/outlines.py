"""Files of areas, in any format and coordinate system that OGR reads."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyproj.exceptions import ProjError

from terrazzo.crs import DEGREES, canonical, crs_of, transform
from terrazzo.errors import InvalidRequest

if TYPE_CHECKING:
    import shapely

VERTICES = 500
"""Parts that an outline is divided into before it is projected."""
AS_IT_STANDS = (".json", ".geojson")
"""Endings of files whose text is an area already."""


def geojson_of_file(path: Path) -> str:
    """The text of a GeoJSON file, or as GeoJSON in degrees the union of another file's first layer.

    Raises:
        InvalidRequest: as `read_outline`, or the package pyogrio is missing.
    """
    if path.suffix.lower() in AS_IT_STANDS:
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequest(f"--geom {path}: GeoJSON is UTF-8, and this file is not") from None
    try:
        import shapely

        return str(shapely.to_geojson(read_outline(path)))
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"--geom {path}: {error.name} is missing to read it; pip install 'terrazzo[statistics]', or give GeoJSON"
        ) from None


def read_outline(path: Path) -> "shapely.Geometry":
    """The union of a file's first layer in degrees.

    Raises:
        InvalidRequest: OGR cannot read it, or it has no geometry or no coordinate system.
    """
    # Half a second, for it loads pandas: only who names a file need wait.
    import pyogrio
    import shapely
    from pyogrio.errors import DataSourceError

    try:
        meta, _, blobs, _ = pyogrio.raw.read(path, columns=[])
    except DataSourceError as error:
        raise InvalidRequest(f"--geom {path}: {error}") from None
    shapes = [shapely.from_wkb(b) for b in (blobs if blobs is not None else ()) if b is not None]
    shapes = [shapely.make_valid(shapely.force_2d(s)) for s in shapes if not s.is_empty]
    if not shapes:
        raise InvalidRequest(f"--geom {path} holds no geometry; give a file with one area or more")
    if not meta["crs"]:
        raise InvalidRequest(f"--geom {path} has no coordinate system; save it with one")
    return _in_degrees(shapely.union_all(shapes), meta["crs"], path)


def _in_degrees(geometry: "shapely.Geometry", crs: str, path: Path) -> "shapely.Geometry":
    import shapely

    try:
        to_degrees = transform(crs_of(canonical(crs)), crs_of(DEGREES))
    except InvalidRequest as error:
        raise InvalidRequest(f"--geom {path}: {error}") from None
    # Long straight edges bend when they are projected.
    step = max(1e-9, (shapely.length(geometry) or 1) / VERTICES)
    try:
        turned = shapely.transform(
            shapely.segmentize(geometry, step),
            lambda xy: np.stack(to_degrees.transform(xy[:, 0], xy[:, 1], errcheck=True), -1),
        )
    except ProjError as error:
        raise InvalidRequest(f"--geom {path} cannot be transformed to degrees: {error}") from None
    return shapely.make_valid(turned)
