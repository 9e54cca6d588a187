"""The endpoints of a mosaic, as a factory in the manner of titiler.core's."""

import json
from typing import Annotated, Any
from urllib.parse import urlencode

import numpy as np
from attrs import define
from fastapi import Depends, Path, Query, Request, Response
from morecantile import TileMatrixSet
from titiler.core.factory import BaseFactory

from terrazzo.bands import SCALE
from terrazzo.crs import DEGREES
from terrazzo.errors import InvalidRequest, OutsideCoverage
from terrazzo.grid import Bounds
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.measure import choose, draw, known
from terrazzo.mosaic.quality import quality
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Points, Target, transformer
from terrazzo.request.boxes import box_of, in_one_piece, place_of, swap_of
from terrazzo.request.parameters import BOXED, asked_names
from terrazzo.scene import Scene, read_item, resampled
from terrazzo.server import grids
from terrazzo.server.answer import Desk, Job, document
from terrazzo.server.cite import citation
from terrazzo.server.explain import POLICY, account, as_document, as_page, as_text
from terrazzo.server.gdal import description, zone_of
from terrazzo.server.keys import key_query
from terrazzo.server.request import Ask, asked, beside, documented, only, parse_ask, parse_format, query_of
from terrazzo.server.stac import collection, item, version_collection
from terrazzo.server.tilesets import tileset, tilesets
from terrazzo.server.urls import public_base

MOST_SIDE = 4096
"""Pixels of a side of a box that is answered at once."""


boxed = documented(BOXED)


def desk_of(request: Request) -> Desk:
    """The server's desk."""
    desk: Desk = request.app.state.desk
    return desk


def opened(desk: Desk, mosaic: str, request: Request, drop: tuple[str, ...] = ()) -> tuple[Engine, Ask]:
    """The engine a request means, and what it asks; `drop` names parameters an endpoint reads itself."""
    query = query_of(request, drop)
    engine = desk.mosaics.engine(mosaic, query.get("version") or None)
    return engine, parse_ask(query, engine.version)


@define(kw_only=True)
class MosaicFactory(BaseFactory):
    """Tiles, TileJSON, points, boxes and scenes of the mosaics of a store."""

    def register_routes(self) -> None:
        """Registers the endpoints."""
        self._documents()
        self._pictures()
        self._values()

    def _documents(self) -> None:
        @self.router.get("/mosaics", tags=["Mosaics"])
        async def mosaics(request: Request) -> Any:
            """The mosaics, as STAC Collections."""
            only(request.query_params, ())
            desk = desk_of(request)
            base = public_base(request)
            found = await desk.look(
                lambda: [
                    collection(base, desk.mosaics.engine(n).version, exports=desk.exports)
                    for n in desk.mosaics.names()
                ]
            )
            return {"collections": found, "links": [{"rel": "self", "href": f"{base}/mosaics"}]}

        @self.router.get("/mosaics/{mosaic}", tags=["Mosaics"])
        async def one_mosaic(request: Request, mosaic: str) -> Any:
            """A mosaic, as a STAC Collection."""
            only(request.query_params, ())
            desk = desk_of(request)
            base = public_base(request)
            return await desk.look(
                lambda: collection(base, desk.mosaics.engine(mosaic).version, exports=desk.exports)
            )

        @self.router.get("/mosaics/{mosaic}/versions/{version}", tags=["Mosaics"])
        async def one_version(request: Request, mosaic: str, version: str) -> Any:
            """A version of a mosaic, as a STAC Collection that links the Items of its scenes."""
            only(request.query_params, ())
            desk, base = desk_of(request), public_base(request)

            def told() -> dict[str, Any]:
                current = desk.mosaics.engine(mosaic).version.name
                return version_collection(base, desk.mosaics.engine(mosaic, version).version, current)

            return await desk.look(told)

        @self.router.get("/mosaics/{mosaic}/versions/{version}/cite", tags=["Mosaics"])
        async def cite(
            request: Request,
            mosaic: str,
            version: str,
            f: Annotated[str, Query(description="json, text or bibtex")] = "json",
        ) -> Response:
            """How a version is cited: text and BibTeX, with the hash of all that determines its pixels."""
            only(request.query_params, ("f",))
            desk, base = desk_of(request), public_base(request)
            if f not in ("json", "text", "bibtex"):
                raise InvalidRequest(f"f={f}: use json, text or bibtex")

            def told() -> dict[str, str]:
                opened_version = desk.mosaics.engine(mosaic, version).version
                return citation(base, opened_version, desk.settings.provider)

            found = await desk.look(told)
            if f == "json":
                return document(request, json.dumps(found), "application/json", desk.settings)
            media = {"text": "text/plain", "bibtex": "application/x-bibtex"}[f]
            return document(request, found[f], media, desk.settings)

        @self.router.get("/mosaics/{mosaic}/versions/{version}/scenes/{scene}", tags=["Mosaics"])
        async def one_scene(request: Request, mosaic: str, version: str, scene: str) -> Any:
            """The STAC Item of a version's scene."""
            only(request.query_params, ())
            desk, base = desk_of(request), public_base(request)

            def told() -> str:
                opened_version = desk.mosaics.engine(mosaic, version).version
                return json.dumps(item(base, opened_version, scene, desk.settings.assets_url))

            return document(request, await desk.look(told), "application/geo+json", desk.settings)

        @self.router.get("/mosaics/{mosaic}/scenes", tags=["Mosaics"], dependencies=[Depends(asked)])
        async def scenes(request: Request, mosaic: str) -> Any:
            """The STAC Items of the scenes that a request selects, in their order; then those of its baseline."""
            desk = desk_of(request)

            def items() -> list[dict[str, Any]]:
                engine, ask = opened(desk, mosaic, request)
                version, base = engine.version, public_base(request)
                chosen = choose(engine, ask.measure)
                sides = [s for s in (chosen.selection, chosen.baseline) if s is not None]
                names = dict.fromkeys(e.scene.id for side in sides for e in side.entries)
                return [item(base, version, name, desk.settings.assets_url) for name in names]

            return {"type": "FeatureCollection", "features": await desk.look(items), "links": []}

        @self.router.get(
            "/mosaics/{mosaic}/{tms}/tilejson.json", tags=["Tiles"], dependencies=[Depends(asked)]
        )
        async def tilejson(request: Request, mosaic: str, tms: str) -> Any:
            """TileJSON 3 of a mosaic with the parameters given."""
            desk = desk_of(request)

            def described() -> str:
                engine, ask = opened(desk, mosaic, request)
                choose(engine, ask.measure)
                return json.dumps(_tilejson(request, engine, desk.grids.find(engine.version, tms)))

            return document(request, await desk.look(described), "application/json", desk.settings)

        @self.router.get("/mosaics/{mosaic}/gdal.xml", tags=["Tiles"], dependencies=[Depends(asked)])
        async def gdal_xml(
            request: Request,
            mosaic: str,
            tms: Annotated[str | None, Query(description="the mosaic's own grid of a zone, UTM33N")] = None,
        ) -> Response:
            """What GDAL, and so QGIS, opens as a raster of int16 reflectance, band by band."""
            desk = desk_of(request)

            def described() -> str:
                query = query_of(request, ("tms",))
                if {"style", "expression", "baseline"} & set(query):
                    raise InvalidRequest("gdal.xml: bands, not a style, an expression or a change")
                engine = desk.mosaics.engine(mosaic, query.get("version") or None)
                kept = {"bands": ",".join(engine.version.bands)} | query
                ask = parse_ask(kept, engine.version)
                epsg = zone_of(engine.version, tms)
                tile = f"{public_base(request)}/mosaics/{mosaic}/tiles/{grids.own_name(epsg)}"
                address = f"{tile}/${{z}}/${{x}}/${{y}}.tif?{urlencode(kept)}"
                if key := key_query(request):
                    address += f"&{key}"
                return description(engine.version, engine.select(ask.pixels).request, epsg, address)

            return document(request, await desk.look(described), "application/xml", desk.settings)

        @self.router.get("/mosaics/{mosaic}/tiles", tags=["Tiles"], dependencies=[Depends(asked)])
        async def tile_sets(request: Request, mosaic: str) -> Any:
            """The tile sets of a mosaic (OGC API – Tiles)."""
            desk, base = desk_of(request), public_base(request)

            def told() -> dict[str, Any]:
                version = opened(desk, mosaic, request)[0].version
                sets = [desk.grids.find(version, n) for n in desk.grids.names(version)]
                return tilesets(base, version, sets, _query(request))

            return await desk.look(told)

        @self.router.get("/mosaics/{mosaic}/tiles/{tms}", tags=["Tiles"], dependencies=[Depends(asked)])
        async def tile_set(request: Request, mosaic: str, tms: str) -> Any:
            """A tile set of a mosaic with the limits of its matrices (OGC API – Tiles)."""
            desk, base = desk_of(request), public_base(request)

            def told() -> dict[str, Any]:
                version = opened(desk, mosaic, request)[0].version
                return tileset(base, version, desk.grids.find(version, tms), _query(request))

            return await desk.look(told)

        @self.router.get("/mosaics/{mosaic}/tileMatrixSets/{tms}", tags=["Tiles"])
        async def matrix_set(request: Request, mosaic: str, tms: str) -> Any:
            """A tile matrix set as this mosaic has it: it ends where the data do."""
            only(request.query_params, ())
            desk = desk_of(request)

            def told() -> Any:
                found = desk.grids.find(desk.mosaics.engine(mosaic).version, tms)
                return found.model_dump(mode="json", exclude_none=True) | {"crs": grids.uri(found)}

            return await desk.look(told)

    def _pictures(self) -> None:
        @self.router.get(
            "/mosaics/{mosaic}/tiles/{tms}/{z}/{x}/{tile}",
            tags=["Tiles"],
            dependencies=[Depends(asked)],
        )
        async def tile(
            request: Request,
            mosaic: str,
            tms: str,
            z: str,
            x: str,
            tile: Annotated[str, Path(description="{y}, {y}@2x, with .png, .jpg, .webp, .tif or .npy")],
        ) -> Response:
            """An XYZ tile."""
            desk = desk_of(request)
            name, _, ending = tile.partition(".")
            form = parse_format(ending or "png")
            y, _, scale = name.partition("@")
            if scale not in ("", "1x", "2x"):
                raise InvalidRequest(f"@{scale}: use @2x or nothing")
            zoom, column, row = (_whole(v) for v in (z, x, y))

            def find() -> Job:
                engine, ask = opened(desk, mosaic, request)
                matrix = desk.grids.find(engine.version, tms)
                size = matrix.tileMatrices[0].tileWidth * (2 if scale == "2x" else 1)
                try:
                    return Job(engine, ask, tile_target(matrix, column, row, zoom, size))
                except InvalidRequest as error:
                    raise OutsideCoverage(str(error)) from None

            return await desk.picture(request, find, form)

        @self.router.get(
            "/mosaics/{mosaic}/bbox/{minx},{miny},{maxx},{maxy}.{form}",
            tags=["Boxes"],
            dependencies=[Depends(asked), Depends(boxed)],
        )
        @self.router.get(
            "/mosaics/{mosaic}/bbox/{minx},{miny},{maxx},{maxy}/{width}x{height}.{form}",
            tags=["Boxes"],
            dependencies=[Depends(asked), Depends(boxed)],
        )
        async def bbox(
            request: Request,
            mosaic: str,
            minx: float,
            miny: float,
            maxx: float,
            maxy: float,
            form: str,
            width: int | None = None,
            height: int | None = None,
        ) -> Response:
            """A box as GeoTIFF or picture, at full resolution unless a size is given."""
            desk = desk_of(request)
            chosen = parse_format(form)
            given = beside(request, BOXED)
            crs, bounds = given.get("bbox_crs", DEGREES), Bounds(minx, miny, maxx, maxy)

            def find() -> Job:
                engine, ask = opened(desk, mosaic, request, asked_names(BOXED))
                box = box_of(bounds, crs, engine.version.bounds)
                return Job(engine, ask, box_target(engine, box, crs, given.get("crs"), width, height))

            return await desk.picture(request, find, chosen, name=f"{mosaic}.{chosen}")

    def _values(self) -> None:
        @self.router.get(
            "/mosaics/{mosaic}/point/{lon},{lat}", tags=["Points"], dependencies=[Depends(asked)]
        )
        async def point(request: Request, mosaic: str, lon: float, lat: float) -> Any:
            """Reflectance, an expression or a change at a place, and the scene it comes from."""
            desk = desk_of(request)

            def values() -> dict[str, Any]:
                engine, ask = opened(desk, mosaic, request)
                return point_values(engine, ask, lon, lat)

            return await desk.work(request, values)

        @self.router.get(
            "/mosaics/{mosaic}/explain/{lon},{lat}", tags=["Points"], dependencies=[Depends(asked)]
        )
        async def explain(
            request: Request,
            mosaic: str,
            lon: float,
            lat: float,
            f: Annotated[
                str | None, Query(description="json, html or txt; by default what Accept names first")
            ] = None,
        ) -> Response:
            """Why a pixel is as it is: every scene with its reason, the chosen one's numbers, and the way back."""
            desk = desk_of(request)
            form = f or _preferred(request.headers.get("accept", ""))
            if form not in ("json", "html", "txt"):
                raise InvalidRequest(f"f={form}: use json, html or txt")

            def told() -> str:
                engine, ask = opened(desk, mosaic, request, ("f",))
                found = account(engine, ask, lon, lat)
                if form == "html":
                    return as_page(engine, found, lon, lat)
                if form == "txt":
                    return as_text(engine, found)
                return json.dumps(as_document(engine, found, lon, lat))

            media = {"json": "application/json", "html": "text/html", "txt": "text/plain"}[form]
            headers = {"Cache-Control": "no-cache", "Vary": "Accept", "Content-Security-Policy": POLICY}
            return Response(await desk.work(request, told), media_type=media, headers=headers)


def _preferred(accept: str) -> str:
    """The first kind of document that a client names and that we have."""
    kinds = {"text/html": "html", "text/plain": "txt"}
    for kind in accept.split(","):
        name = kind.split(";")[0].strip().lower()
        if name == "application/json":
            return "json"
        if name in kinds:
            return kinds[name]
    return "json"


def point_values(engine: Engine, ask: Ask, lon: float, lat: float) -> dict[str, Any]:
    """Values at a place: what a tile shows there at full resolution.

    Raises:
        OutsideCoverage: the mosaic has no data there.
    """
    place_of(lon, lat, "point")
    chosen = choose(engine, ask.measure)
    place = Points("EPSG:4326", np.array([lon]), np.array([lat]))
    drawn = draw(chosen, lambda selection: engine.points(selection, place.crs, place.x, place.y))
    image, values = drawn.image, drawn.values[:, 0, 0]
    if not known(values).any():
        hint = swap_of(lon, lat, engine.version.bounds)
        raise OutsideCoverage(f"no data at {lon},{lat} for {chosen.text()}{hint}")
    is_float = values.dtype.kind == "f"
    is_whole = chosen.selection.request.stage in ("raw", "mask") and not is_float
    told = [
        None if not here else int(v) if is_whole else round(float(v) * (1 if is_float else SCALE), 4)
        for v, here in zip(values, known(values), strict=True)
    ]
    scene = image.entries[int(image.provenance[0, 0])].scene
    return {
        "coordinates": [lon, lat],
        "band_names": list(ask.measure.names if is_float else image.bands),
        "values": told,
        "scene": scene.id,
        "datetime": scene.datetime.isoformat(),
        "scenes_usable": int(image.count[0, 0]),
        "quality": int(quality(engine, chosen.selection, place, image)[0, 0]),
        **_interpolated(engine, chosen.selection, scene),
        "request": chosen.text(),
        "version": engine.version.name,
        "attribution": engine.version.attribution,
    }


def _interpolated(engine: Engine, selection: Selection, scene: Scene) -> dict[str, list[str]]:
    """Of `stage=raw`: what lies between the value and the product's own number; empty where it is that number."""
    if selection.request.stage != "raw":
        return {}
    told = [resampled(read_item(engine.version.store, scene)["properties"])]
    if selection.request.resampling != "nearest":
        told.append("interpolated between the store's pixels to the place; resampling=nearest does not")
    return {"interpolated": [t for t in told if t]}


def box_target(
    engine: Engine, box: Bounds, crs: str, out: str | None, width: int | None, height: int | None
) -> Target:
    """The pixels of a box: of a given size, or at full resolution of the answer's coordinate system.

    Raises:
        InvalidRequest: the box is too large to be answered at once.
    """
    zone = f"EPSG:{engine.version.zones[0]}"
    pixel = engine.version.store.config.pixel
    answer = out or crs
    in_one_piece(box, crs, answer)
    if answer != crs:
        box = Bounds(*transformer(crs, answer).transform_bounds(*box, densify_pts=21))
        if box.left > box.right:
            # PROJ's sign that a box in degrees crosses the antimeridian.
            box = box._replace(right=box.right + 360)
    if width is None or height is None:
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        to_zone = transformer(answer, zone)
        dx, dy = (box.right - box.left) / 2000, (box.top - box.bottom) / 2000
        (x0, x1, x2, x3), (y0, y1, y2, y3) = to_zone.transform([x - dx, x + dx, x, x], [y, y, y - dy, y + dy])
        across, up = np.hypot(x1 - x0, y1 - y0) * 1000, np.hypot(x3 - x2, y3 - y2) * 1000
        if not (np.isfinite(across) and np.isfinite(up)):
            raise InvalidRequest("bbox: the box lies outside the mosaic's zone")
        width, height = max(1, round(across / pixel)), max(1, round(up / pixel))
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise InvalidRequest(
            f"bbox: {width} × {height} px; at most {MOST_SIDE} a side, or use `terrazzo export`"
        )
    return Target(answer, box, height, width)


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InvalidRequest(f"tile number {text!r}: a whole number")
    return int(text)


def _query(request: Request) -> str:
    """The request's parameters and key, for the addresses in its answer."""
    parts = [p for p in (request.url.query, key_query(request)) if p]
    return f"?{'&'.join(parts)}" if parts else ""


def _tilejson(request: Request, engine: Engine, matrix: TileMatrixSet) -> dict[str, Any]:
    version = engine.version
    b = version.bounds
    mosaic = version.mosaic_id
    # With the version, so that one view never mixes two.
    query = f"?{urlencode({**query_of(request), 'version': version.name})}"
    if key := key_query(request):
        query += f"&{key}"
    tiles = f"{public_base(request)}/mosaics/{mosaic}/tiles/{matrix.id}/{{z}}/{{x}}/{{y}}.png{query}"
    return {
        "tilejson": "3.0.0",
        "name": version.config.title or mosaic,
        "version": "1.0.0",
        "scheme": "xyz",
        "tiles": [tiles],
        "attribution": version.attribution,
        "bounds": list(b),
        "center": [(b.left + b.right) / 2, (b.bottom + b.top) / 2, max(0, matrix.maxzoom - 3)],
        "minzoom": matrix.minzoom,
        "maxzoom": matrix.maxzoom,
        "terrazzo:version": version.name,
    }
