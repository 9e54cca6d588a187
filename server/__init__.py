"""The server answers requests from a store: tiles, WMTS, points, boxes, and a map."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrazzo.server.errors import STATUS_CODES
    from terrazzo.server.factory import MosaicFactory
    from terrazzo.server.settings import Settings

__all__ = ["STATUS_CODES", "MosaicFactory", "Settings"]
_HOMES = {"MosaicFactory": "factory", "STATUS_CODES": "errors", "Settings": "settings"}


def __getattr__(name: str) -> Any:
    """What other applications use, imported when it is asked for: the web framework takes seconds."""
    if name in _HOMES:
        return getattr(import_module(f"terrazzo.server.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
