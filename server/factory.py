"""The mosaics of a store as a factory of titiler.core: any TiTiler application can mount them."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import Factory, define, field
from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from titiler.core.factory import BaseFactory

from terrazzo.errors import TerrazzoError
from terrazzo.server.answer import ServerContext
from terrazzo.server.cache import TileCache
from terrazzo.server.grids import Grids
from terrazzo.server.mosaics import Mosaics
from terrazzo.server.routes import exports, mosaics, pictures, tilesets, values, wmts
from terrazzo.server.routes.inputs import Mount
from terrazzo.server.settings import Settings
from terrazzo.server.stac import ITEM_SEARCH
from terrazzo.server.tilesets import CONFORMS_TO

log = logging.getLogger(__name__)
READING = (mosaics.router, tilesets.router, pictures.router, values.router, wmts.router)
"""What needs nothing but a store: routes that answer at once."""
WMTS = "http://www.opengis.net/spec/wmts/1.0"


def open_context(settings: Settings) -> ServerContext:
    """Opens a store for requests.

    Raises:
        StoreError: the store is missing or of another format.
    """
    mosaics = Mosaics.of(settings)
    cache = TileCache(settings.cache_dir, settings.cache_size)
    grids = Grids(settings.tms)
    if settings.tms:
        for name in mosaics.names():
            try:
                grids.name_left_out(mosaics.engine(name).version)
            except TerrazzoError as error:
                # Requests for it say the same; the other mosaics are served.
                log.warning("%s cannot be opened: %s", name, error)
    return ServerContext(settings, mosaics, cache, grids)


@define(kw_only=True)
class MosaicFactory(BaseFactory):
    """Documents, tiles, boxes, values and WMTS of the mosaics of a store.

    The router's lifespan closes the store when the application ends.

    Attributes:
        settings: the store and how it is served; `Settings(store=…)` reads the rest from `TERRAZZO_*` variables.
        routers: the routes; those of exports need a worker beside the application.
        links: (rel, path, media type, title) of further documents of the application, for the landing page.
    """

    settings: Settings
    routers: tuple[APIRouter, ...] = READING
    links: tuple[tuple[str, str, str, str | None], ...] = ()
    conforms_to: set[str] = field(factory=lambda: {WMTS, *CONFORMS_TO})
    context: ServerContext = field(
        init=False, default=Factory(lambda self: open_context(self.settings), takes_self=True)
    )

    @property
    def mount(self) -> Mount:
        """The dependency that binds routes to this factory's store and prefix."""
        return Mount(
            self.context,
            self.router_prefix,
            tuple(sorted(self.conforms_to)),
            self.links,
            exports=self.context.exports and exports.router in self.routers,
            searches=ITEM_SEARCH in self.conforms_to,
        )

    def register_routes(self) -> None:
        """Adds the routes, each bound to this factory's store and prefix."""
        bound = Depends(self.mount)
        for route in (r for router in self.routers for r in router.routes):
            assert isinstance(route, APIRoute)
            self.router.add_api_route(
                route.path,
                route.endpoint,
                methods=list(route.methods or ()),
                tags=route.tags,
                status_code=route.status_code,
                operation_id=route.operation_id,
                openapi_extra=route.openapi_extra,
                dependencies=[bound, *route.dependencies],
            )
        self.router.include_router(APIRouter(lifespan=self._open))

    @asynccontextmanager
    async def _open(self, app: object) -> AsyncIterator[None]:
        yield
        await self.context.close()
