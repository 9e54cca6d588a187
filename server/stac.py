"""Static STAC over HTTP: a catalogue of mosaics, each with its versions, each with the Items of its scenes."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from terrazzo.bands import RENDER, STYLES, renders
from terrazzo.checks import understood
from terrazzo.errors import NotFound
from terrazzo.scene import Scene, read_item
from terrazzo.server import grids
from terrazzo.server.layers import LAYERS
from terrazzo.version import Version, list_versions

JSON, GEOJSON = "application/json", "application/geo+json"
VERSION_EXTENSION = "https://stac-extensions.github.io/version/v1.2.0/schema.json"
EXECUTE = "http://www.opengis.net/def/rel/ogc/1.0/execute"
TILESETS = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-map"
MAP = "http://www.opengis.net/def/rel/ogc/1.0/map"
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
SCHEMA = "application/schema+json"
PARQUET = "application/vnd.apache.parquet"
STAC_API = "https://api.stacspec.org/v1.0.0"
ITEM_SEARCH = f"{STAC_API}/item-search"
SEARCHES = (
    f"{STAC_API}/core",
    f"{STAC_API}/collections",
    f"{STAC_API}/ogcapi-features",
    ITEM_SEARCH,
    f"{ITEM_SEARCH}#fields",
    f"{ITEM_SEARCH}#sort",
    f"{ITEM_SEARCH}#filter",
    *(
        f"http://www.opengis.net/spec/{name}"
        for name in (
            "ogcapi-features-1/1.0/conf/core",
            "ogcapi-features-1/1.0/conf/geojson",
            "ogcapi-features-1/1.0/conf/oas30",
            "ogcapi-features-3/1.0/conf/filter",
            "ogcapi-features-3/1.0/conf/features-filter",
            "ogcapi-features-3/1.0/conf/queryables",
            "cql2/1.0/conf/cql2-text",
            "cql2/1.0/conf/cql2-json",
            "cql2/1.0/conf/basic-cql2",
            "cql2/1.0/conf/advanced-comparison-operators",
            "cql2/1.0/conf/case-insensitive-comparison",
            "cql2/1.0/conf/basic-spatial-functions",
        )
    ),
)
"""What a server with Item Search conforms to besides."""
PERIODS = ".periods"
"""End of the name of a mosaic's collection of periods; no mosaic's name has a dot."""
VERSIONED = re.compile(r"(.+)-([0-9a-f]{12})")
"""Name of the collection of a version's scenes."""
MOST_LINKS = 2000
"""Items that a mosaic's Collection links one by one: some 300 kB. Maps and clients read it each time they open a mosaic."""


def catalog(
    base: str,
    title: str,
    mosaics: Sequence[str],
    *,
    conforms_to: Sequence[str],
    links: Sequence[tuple[str, str, str, str | None]],
) -> dict[str, Any]:
    """The landing page: a STAC Catalog that is OGC API's too.

    Args:
        base: address of the server as clients see it.
        links: (rel, path, media type, title) of what the application has besides the mosaics.
    """
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "terrazzo",
        "title": title,
        "description": "Cloud-free, seam-free Sentinel-2 mosaics.",
        "conformsTo": list(conforms_to),
        "links": [
            _link("self", f"{base}/stac", JSON, "This document"),
            _link("root", f"{base}/stac", JSON),
            *(_link(rel, f"{base}{path}", media, title) for rel, path, media, title in links),
            *(
                {**_link("search", f"{base}/search", GEOJSON, "Item Search"), "method": method}
                for method in ("GET", "POST")
                if ITEM_SEARCH in conforms_to
            ),
            *(_link("child", f"{base}/mosaics/{name}", JSON, name) for name in mosaics),
        ],
    }


@understood("mosaic.json")
def collection(
    base: str, version: Version, *, exports: bool = False, items: bool = False, search: bool = False
) -> dict[str, Any]:
    """A mosaic as a Collection, with a child for each version.

    Args:
        search: whether the server answers to searches; its Items are then those of `/collections/…/items`.
        exports: whether the server can carry out exports; it links them then.
        items: whether to link the Item of each scene of the version, as clients of static STAC look for them; not of more than
            `MOST_LINKS`, which the link `items` leads to.
    """
    mosaic = version.mosaic_id
    document: dict[str, Any] = version.store.read_json(f"mosaics/{mosaic}/mosaic.json")
    if document.get("id") != mosaic:
        raise NotFound(f"there is no mosaic {mosaic!r}")
    here = f"{base}/mosaics/{mosaic}"
    scenes = scenes_of(version) if items else {}
    # Not those of the day of publishing: a release may add styles.
    document["renders"] = renders(version.bands)
    document["terrazzo:styles"] = {
        # What only this server can draw, too.
        **{name: STYLES[name].title for name in document["renders"]},
        **{name: layer.title for name, layer in LAYERS.items()},
    }
    document["summaries"] = {
        **document.get("summaries", {}),
        "gsd": [version.store.config.pixel],
        "proj:code": [f"EPSG:{epsg}" for epsg in version.zones],
    }
    document["assets"] = _assets(f"{here}/versions/{version.name}")
    document["links"] = [
        *document.get("links", []),
        _link("self", here, JSON),
        _link("root", f"{base}/stac", JSON),
        _link("parent", f"{base}/stac", JSON),
        *(
            _link("child", f"{here}/versions/{name}", JSON, name)
            for name in list_versions(version.store, mosaic)
        ),
        *(
            _search_links(f"{base}/collections/{mosaic}")
            if search
            else [_link("items", f"{here}/scenes", GEOJSON)]
        ),
        _link("tilejson", f"{here}/{grids.WEB}/tilejson.json", JSON),
        _link(TILESETS, f"{base}/collections/{mosaic}/map/tiles", JSON),
        _link(MAP, f"{base}/collections/{mosaic}/map", "image/png"),
        _link("wmts", f"{here}/wmts/1.0.0/WMTSCapabilities.xml", "application/xml"),
        *([_link(EXECUTE, f"{here}/exports", JSON, "Exports")] if exports else []),
        *(_item_links(f"{here}/versions/{version.name}", scenes) if 0 < len(scenes) <= MOST_LINKS else []),
    ]
    return document


def _search_links(here: str) -> list[dict[str, Any]]:
    return [_link("items", f"{here}/items", GEOJSON), _link(QUERYABLES, f"{here}/queryables", SCHEMA)]


def _assets(here: str) -> dict[str, Any]:
    """What a version is downloaded as besides its pixels."""
    return {
        "scenes": {
            "href": f"{here}/scenes.parquet",
            "type": PARQUET,
            "title": "All Items of the version as stac-geoparquet",
            "roles": ["collection-mirror"],
        }
    }


def periods_collection(base: str, version: Version) -> dict[str, Any]:
    """The periods of a mosaic as a Collection, whose Items are the mosaic itself, by zone."""
    mosaic = version.mosaic_id
    name = mosaic + PERIODS
    here = f"{base}/collections/{name}"
    document = collection(base, version)
    days = [day for p in version.periods.values() for day in (p.start, p.end)]
    begin, end = f"{min(days)}T00:00:00Z", f"{max(days)}T23:59:59Z"
    document |= {
        "id": name,
        "title": f"{version.config.title or mosaic}, by period",
        "description": f"The mosaic {mosaic} itself: an Item for each period and zone, pixels merged when they are read.",
        "extent": {
            "spatial": {"bbox": [list(version.bounds)]},
            "temporal": {"interval": [[begin, end]]},
        },
        "links": [
            *(k for k in document["links"] if k["rel"] == "license"),
            _link("self", here, JSON),
            _link("root", f"{base}/stac", JSON),
            _link("parent", f"{base}/stac", JSON),
            _link("related", f"{base}/mosaics/{mosaic}", JSON, "The mosaic's scenes"),
            *_search_links(here),
        ],
    }
    document.pop("assets")
    return document


def version_collection(base: str, version: Version, current: str, *, search: bool) -> dict[str, Any]:
    """A version as a Collection, with a link to the Item of each scene.

    Args:
        search: whether the server answers to searches, and so to those through the version's collection.
    """
    mosaic = version.mosaic_id
    here = f"{base}/mosaics/{mosaic}/versions/{version.name}"
    document = collection(base, version)
    scenes = scenes_of(version)
    times = sorted(s.datetime.isoformat().replace("+00:00", "Z") for s in scenes.values())
    kept = [k for k in document["links"] if k["rel"] == "license"]
    document |= {
        "id": f"{mosaic}-{version.name}",
        "title": f"{version.config.title or mosaic}, version {version.name}",
        "stac_extensions": [*document.get("stac_extensions", []), VERSION_EXTENSION],
        "version": version.name,
        "deprecated": version.name != current,
        "extent": {
            "spatial": {"bbox": [list(version.bounds)]},
            "temporal": {"interval": [[times[0], times[-1]] if times else [None, None]]},
        },
        "links": [
            *kept,
            _link("self", here, JSON),
            _link("root", f"{base}/stac", JSON),
            _link("parent", f"{base}/mosaics/{mosaic}", JSON),
            _link("cite-as", f"{here}/cite?f=text", "text/plain", "How to cite this version"),
            _link("latest-version", f"{base}/mosaics/{mosaic}/versions/{current}", JSON),
            *(_search_links(f"{base}/collections/{mosaic}-{version.name}") if search else ()),
            *_item_links(here, scenes),
        ],
        "assets": _assets(here),
    }
    return document


def item(base: str, version: Version, scene_id: str, assets: str | None) -> dict[str, Any]:
    """The Item of a version's scene.

    Args:
        assets: address under which clients read the store's files; without one the Item has none.

    Raises:
        NotFound: the version has no such scene.
    """
    scenes = scenes_of(version)
    if scene_id not in scenes:
        raise NotFound(f"version {version.name} has no scene {scene_id!r}; see its links")
    mosaic = version.mosaic_id
    above = f"{base}/mosaics/{mosaic}/versions/{version.name}"
    document = with_assets(read_item(version.store, scenes[scene_id]), scenes[scene_id].prefix, assets)
    document = with_renders(document, version.bands)
    return in_collection(base, document, f"{mosaic}-{version.name}", above, f"{above}/scenes/{scene_id}")


def with_renders(document: dict[str, Any], bands: Sequence[str]) -> dict[str, Any]:
    """An Item that says how its assets are drawn, where it has any."""
    if not document["assets"]:
        return document
    return {
        **document,
        "properties": {**document["properties"], "renders": renders(bands)},
        "stac_extensions": [*document["stac_extensions"], RENDER],
    }


def in_collection(base: str, document: dict[str, Any], name: str, above: str, here: str) -> dict[str, Any]:
    """An Item of a collection, with its links.

    Args:
        above: address of the collection.
        here: address of the Item.
    """
    links = [
        *(k for k in document["links"] if k["rel"] not in ("self", "root", "parent", "collection")),
        _link("self", here, GEOJSON),
        _link("root", f"{base}/stac", JSON),
        _link("parent", above, JSON),
        _link("collection", above, JSON),
    ]
    return {**document, "collection": name, "links": links}


def scenes_of(version: Version) -> dict[str, Scene]:
    """The scenes of a version by name."""
    return {e.scene.id: e.scene for p in version.periods for e in version.entries(p)}


def _item_links(above: str, scenes: Iterable[str]) -> list[dict[str, Any]]:
    """Links to the Items of a version's scenes."""
    return [_link("item", f"{above}/scenes/{name}", GEOJSON) for name in sorted(scenes)]


def with_assets(document: dict[str, Any], prefix: str, assets: str | None) -> dict[str, Any]:
    """An Item whose assets clients can fetch: under `assets`, or none."""
    if assets is None:
        return {**document, "assets": {}}
    assets_here = {
        name: {**asset, "href": f"{assets.rstrip('/')}/{prefix}/{asset['href'].removeprefix('./')}"}
        for name, asset in document["assets"].items()
    }
    return {**document, "assets": assets_here}


def _link(rel: str, href: str, media: str, title: str | None = None) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": media} | ({"title": title} if title else {})
