"""The STAC documents of a mosaic: the Collection that points to its version, and its scenes as a table."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import stac_geoparquet.arrow as stac_arrow

from terrazzo.bands import RENDER, renders
from terrazzo.formats import COG
from terrazzo.version import POINTER, Version

COPERNICUS = "https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice"


def collection(version: Version, versions: Sequence[str]) -> dict[str, Any]:
    """The STAC 1.1 Collection of a mosaic whose pointer names `version`."""
    config = version.config
    scenes = [e.scene for name in version.periods for e in version.entries(name)]
    times = sorted(s.datetime for s in scenes)
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [RENDER],
        "id": version.mosaic_id,
        "title": config.title or version.mosaic_id,
        "description": config.description or f"Sentinel-2 mosaic {version.mosaic_id}. {version.attribution}.",
        "license": config.licence or "other",
        "keywords": ["Sentinel-2", "mosaic", "surface reflectance"],
        "providers": [
            {"name": "European Union, Copernicus Sentinel-2, ESA", "roles": ["producer", "licensor"]}
        ],
        "extent": {
            "spatial": {"bbox": [list(version.bounds)]},
            "temporal": {"interval": [[_utc(times[0]), _utc(times[-1])]]},
        },
        "summaries": {"platform": sorted({s.platform for s in scenes})},
        "renders": renders(version.bands),
        "item_assets": {b: {"roles": ["data", "reflectance"], "type": COG} for b in version.bands},
        "links": [{"rel": "license", "href": COPERNICUS, "title": "Sentinel data legal notice"}],
        POINTER: version.name,
        "terrazzo:versions": list(versions),
        "terrazzo:report": f"versions/{version.name}/report.html",
        "terrazzo:attribution": version.attribution,
        "terrazzo:periods": [
            {
                "name": p.name,
                "start": p.start.isoformat(),
                "end": p.end.isoformat(),
                "members": list(p.members),
                **({"apart": version.apart[p.name].as_json()} if p.name in version.apart else {}),
            }
            for p in version.periods.values()
        ],
    }


def _utc(when: Any) -> str:
    return str(when.strftime("%Y-%m-%dT%H:%M:%SZ"))


def scenes_table(items: Sequence[Mapping[str, Any]], columns: Mapping[str, Sequence[Any]]) -> bytes:
    """A stac-geoparquet file of Items, with further columns of the mosaic, one value an Item.

    A column has one type: a property that is a number in one Item and a text in another is a text in all of them.
    """
    properties = _alike([i["properties"] for i in items])
    alike = [{**i, "properties": p} for i, p in zip(items, properties, strict=True)]
    table = pa.table(stac_arrow.parse_stac_items_to_arrow(alike))
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.parquet"
        stac_arrow.to_parquet(table, path, compression="zstd")
        return path.read_bytes()


def _alike(values: Sequence[Any]) -> list[Any]:
    """Values of one property, texts where they are of several kinds."""
    kinds = {_kind(v) for v in values if v is not None}
    if len(kinds) > 1:
        return [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    if kinds != {dict}:
        return list(values)
    out: list[Any] = [None if v is None else {} for v in values]
    for key in dict.fromkeys(key for v in values for key in v or ()):
        having = [i for i, v in enumerate(values) if v is not None and key in v]
        for i, value in zip(having, _alike([values[i][key] for i in having]), strict=True):
            out[i][key] = value
    return out


def _kind(value: Any) -> type:
    """The type of a JSON value; of whole and other numbers one."""
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
