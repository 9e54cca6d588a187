"""What the routes read of a request: where the mosaics are, and what is asked of one."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request

from terrazzo.mosaic.engine import Engine
from terrazzo.server.answer import Desk
from terrazzo.server.request import PARAMETERS, Ask, parse_ask
from terrazzo.server.urls import PREFIX

MOUNT = "terrazzo.mount"
"""Name in a request's scope."""


@dataclass(frozen=True)
class Mount:
    """A FastAPI dependency that tells the routes of a router which mosaics they serve, and where.

    Attributes:
        prefix: path that the router lies under, such as `/sentinel`; empty for the application's root.
        conforms_to: the standards that the routes follow.
        links: (rel, path, media type, title) of documents that the application has besides the routes.
        exports: whether exports can be ordered here.
    """

    desk: Desk
    prefix: str
    conforms_to: tuple[str, ...]
    links: tuple[tuple[str, str, str, str | None], ...]
    exports: bool

    def __call__(self, request: Request) -> None:
        """Notes it in the request; a parameter in the prefix takes its value from the request's path."""
        request.scope[MOUNT] = self
        request.scope[PREFIX] = self.prefix.format_map(request.path_params)


def mount_of(request: Request) -> Mount:
    """Where the router lies that a request came to."""
    mount: Mount = request.scope[MOUNT]
    return mount


def desk_of(request: Request) -> Desk:
    """The desk of the router that a request came to."""
    return mount_of(request).desk


def opened(desk: Desk, mosaic: str, request: Request, drop: tuple[str, ...] = ()) -> tuple[Engine, Ask]:
    """The engine a request means, and what it asks; `drop` names parameters an endpoint reads itself."""
    query = {k: v for k, v in request.query_params.items() if k not in drop}
    engine = desk.mosaics.engine(mosaic, query.get("version") or None)
    return engine, parse_ask(query, engine.version)


def _documented(name: str) -> Any:
    return Query(description=PARAMETERS[name])


def asked(
    style: Annotated[str | None, _documented("style")] = None,
    bands: Annotated[str | None, _documented("bands")] = None,
    expression: Annotated[str | None, _documented("expression")] = None,
    datetime: Annotated[str | None, _documented("datetime")] = None,
    baseline: Annotated[str | None, _documented("baseline")] = None,
    max_cloud: Annotated[str | None, _documented("max_cloud")] = None,
    orbit: Annotated[str | None, _documented("orbit")] = None,
    ids: Annotated[str | None, _documented("ids")] = None,
    method: Annotated[str | None, _documented("method")] = None,
    normalize: Annotated[str | None, _documented("normalize")] = None,
    stage: Annotated[str | None, _documented("stage")] = None,
    fill: Annotated[str | None, _documented("fill")] = None,
    snow: Annotated[str | None, _documented("snow")] = None,
    resampling: Annotated[str | None, _documented("resampling")] = None,
    rescale: Annotated[str | None, _documented("rescale")] = None,
    colormap_name: Annotated[str | None, _documented("colormap_name")] = None,
    quality: Annotated[str | None, _documented("quality")] = None,
    version: Annotated[str | None, _documented("version")] = None,
) -> None:
    """Documents the parameters; `parse_ask` reads them, so that unknown ones are refused too."""
