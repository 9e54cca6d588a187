"""The tile sets of a mosaic: TileJSON, and OGC API – Tiles as titiler.core models them."""

from typing import Any

from morecantile import TileMatrixSet
from titiler.core.models.OGC import TileSet, TileSetList

from terrazzo.formats import offered
from terrazzo.server import grids
from terrazzo.server.mosaics import PictureState
from terrazzo.version import Version

CONFORMS_TO = frozenset(
    f"http://www.opengis.net/spec/ogcapi-{name}"
    for name in (
        *(f"tiles-1/1.0/conf/{c}" for c in ("core", "tileset", "tilesets-list", "geodata-tilesets")),
        *(f"tiles-1/1.0/conf/{f.conformance}" for f in offered("tile").values() if f.conformance),
        *(f"maps-1/1.0/conf/{c}" for c in ("core", "collection-map", "png", "jpeg")),
    )
)
SCHEME = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
COORDINATES = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def tilejson(
    base: str, version: Version, matrix_set: TileMatrixSet, query: str, state: PictureState
) -> dict[str, Any]:
    """TileJSON 3 of a mosaic.

    Args:
        base: address of the server as clients see it.
        query: parameters of every tile, with the question mark.
    """
    mosaic, b = version.mosaic_id, version.bounds
    return {
        "tilejson": "3.0.0",
        "name": version.config.title or mosaic,
        "version": "1.0.0",
        "scheme": "xyz",
        "tiles": [f"{base}/mosaics/{mosaic}/tiles/{matrix_set.id}/{{z}}/{{x}}/{{y}}.png{query}"],
        "attribution": version.attribution,
        "bounds": list(b),
        "center": [*grids.middle(version), max(0, matrix_set.maxzoom - 3)],
        "minzoom": matrix_set.minzoom,
        "maxzoom": matrix_set.maxzoom,
        "terrazzo:version": version.name,
        "terrazzo:state": state,
    }


def imagery_index(base: str, version: Version, matrix_set: TileMatrixSet, key: str) -> dict[str, Any]:
    """A mosaic's entry in an imagery index, as map editors (JOSM, iD) read them: GeoJSON with the address of tiles.

    Args:
        key: the asker's key as a parameter; empty for none.
    """
    mosaic, (west, south, east, north) = version.mosaic_id, version.bounds
    days = [day for p in version.periods.values() for day in (p.start, p.end)]
    parts = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    rings = [[[[w, south], [e, south], [e, north], [w, north], [w, south]]] for w, e in parts]
    return {
        "type": "Feature",
        "geometry": {"type": "MultiPolygon", "coordinates": rings},
        "properties": {
            "id": f"terrazzo-{mosaic}",
            "name": version.config.title or mosaic,
            "type": "tms",
            "url": f"{base}/mosaics/{mosaic}/tiles/{matrix_set.id}/{{zoom}}/{{x}}/{{y}}.png{f'?{key}' if key else ''}",
            "min_zoom": matrix_set.minzoom,
            "max_zoom": matrix_set.maxzoom,
            "category": "photo",
            "start_date": min(days).isoformat(),
            "end_date": max(days).isoformat(),
            "attribution": {"text": version.attribution, "required": True},
        },
    }


def tilesets(base: str, version: Version, sets: list[TileMatrixSet], query: str) -> dict[str, Any]:
    """The list of a mosaic's tile sets: what each is, and where all of it is said."""
    document = {"tilesets": [_described(base, version, tms, query) for tms in sets]}
    TileSetList.model_validate(document)
    return document


def tileset(base: str, version: Version, tms: TileMatrixSet, query: str) -> dict[str, Any]:
    """A tile set with the addresses of its tiles and the limits of its matrices, outside which it has none."""
    document = _described(base, version, tms, query)
    here = f"{_above(base, version)}/{tms.id}"
    document["links"] += [
        {
            "href": f"{here}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}.{form.name}{query}",
            "rel": "item",
            "type": form.media,
            "templated": True,
        }
        for form in offered("tile").values()
        if form.name != "npy"
    ]
    document["tileMatrixSetLimits"] = [
        {
            "tileMatrix": str(zoom),
            "minTileRow": row0,
            "maxTileRow": row1,
            "minTileCol": col0,
            "maxTileCol": col1,
        }
        for zoom, (row0, row1, col0, col1) in grids.limits(tms, version).items()
    ]
    TileSet.model_validate(document)
    return document


def _above(base: str, version: Version) -> str:
    """The address of a mosaic's tile sets as OGC API – Tiles has it."""
    return f"{base}/collections/{version.mosaic_id}/map/tiles"


def _described(base: str, version: Version, tms: TileMatrixSet, query: str) -> dict[str, Any]:
    mosaic, b = version.mosaic_id, version.bounds
    scheme = f"{base}/mosaics/{mosaic}/tileMatrixSets/{tms.id}"
    return {
        "title": f"{version.config.title or mosaic} in {tms.title or tms.id}",
        "dataType": "map",
        "crs": grids.uri(tms),
        "attribution": version.attribution,
        "boundingBox": {"lowerLeft": [b.left, b.bottom], "upperRight": [b.right, b.top], "crs": COORDINATES},
        **({"tileMatrixSetURI": str(tms.uri)} if tms.uri else {}),
        "links": [
            {"href": f"{_above(base, version)}/{tms.id}{query}", "rel": "self", "type": "application/json"},
            {"href": scheme, "rel": SCHEME, "type": "application/json"},
        ],
    }
