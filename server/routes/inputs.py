"""What the routes read of a request: where the mosaics are, and what is asked of one."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Request

from terrazzo.mosaic.engine import Engine
from terrazzo.server.answer import ServerContext
from terrazzo.server.request import Ask, parse_ask, query_of
from terrazzo.server.urls import PREFIX

MOUNT = "terrazzo.mount"
"""Name in a request's scope."""
Corners = Annotated[
    str, Path(description="W,S,E,N with commas or blanks; W east of E crosses the antimeridian")
]
"""A box in an address."""
Place = Annotated[str, Path(description="longitude and latitude with a comma or a blank between")]
"""A place in an address."""


@dataclass(frozen=True)
class Mount:
    """A FastAPI dependency that gives a router's routes their mosaics and prefix.

    Attributes:
        prefix: path that the router lies under, such as `/sentinel`; empty for the application's root.
        conforms_to: the standards that the routes follow.
        links: (rel, path, media type, title) of documents that the application has besides the routes.
        exports: whether exports can be ordered here.
        searches: whether STAC's Item Search is answered here.
    """

    context: ServerContext
    prefix: str
    conforms_to: tuple[str, ...]
    links: tuple[tuple[str, str, str, str | None], ...]
    exports: bool
    searches: bool

    async def __call__(self, request: Request) -> None:
        """Notes it in the request; a parameter in the prefix takes its value from the request's path."""
        # Not a plain function: FastAPI would run it in another thread.
        request.scope[MOUNT] = self
        request.scope[PREFIX] = self.prefix.format_map(request.path_params)


def mount_of(request: Request) -> Mount:
    """Where the router lies that a request came to."""
    mount: Mount = request.scope[MOUNT]
    return mount


def context_of(request: Request) -> ServerContext:
    """The `ServerContext` of the router that handles a request."""
    return mount_of(request).context


def opened(
    context: ServerContext, mosaic: str, request: Request, drop: tuple[str, ...] = ()
) -> tuple[Engine, Ask]:
    """The engine a request means, and what it asks; `drop` names parameters an endpoint reads itself."""
    query = query_of(request, drop)
    engine = context.mosaics.engine(mosaic, query.get("version") or None)
    return engine, parse_ask(query, engine.version)
