"""A version's MosaicJSON: for other software to read the scenes with."""

import json

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from terrazzo.checks import table_source
from terrazzo.version import Version, version_key


def write_mosaicjson(version: Version) -> None:
    """Writes the MosaicJSON of a version's first period where there is none yet."""
    key = version_key(version.mosaic_id, version.name, "mosaicjson.json")
    if not version.store.exists(key):
        version.store.write_bytes(key, mosaic_json(version).encode())


def mosaic_json(version: Version) -> str:
    """A MosaicJSON of the first period's scenes in their order.

    It knows neither masks nor gains: `first` over it is the un-normalized first scene. Its paths are those in the store, so that a
    store that was moved or copied points to itself: a reader works in the store's folder, or sets `asset_prefix`.
    """
    # It brings readers of rasters along that take longer to import than a first look's scenes take.
    from cogeo_mosaic.mosaic import MosaicJSON

    maxzoom = max(0, round(np.log2(40_075_016.7 / 256 / version.store.config.pixel)))
    columns = ["geometry", "terrazzo:prefix", "terrazzo:period", "terrazzo:rank"]
    table = pq.read_table(table_source(version.read_checked("scenes.parquet")), columns=columns)
    period = table.filter(pc.field("terrazzo:period") == next(iter(version.periods)))
    scenes = period.sort_by("terrazzo:rank").to_pylist()
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(part)),
            "properties": {"path": f"{scene['terrazzo:prefix']}/item.json"},
        }
        for scene in scenes
        # The library knows polygons of one part alone.
        for part in shapely.get_parts(shapely.from_wkb(scene["geometry"]))
        if part.geom_type == "Polygon"
    ]
    document = MosaicJSON.from_features(features, max(0, maxzoom - 6), maxzoom, quiet=True)
    document.tiles = {tile: list(dict.fromkeys(scenes)) for tile, scenes in document.tiles.items()}
    document.name = version.mosaic_id
    return str(document.model_dump_json(exclude_none=True))
