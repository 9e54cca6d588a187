"""Terrazzo computes pixels: grids, scenes, the store and the one mosaic engine.

Public are the names in `__all__` here and in `terrazzo.client`, `terrazzo.errors` and `terrazzo.server`; all others are
internal and may change without notice (docs/reference/python.md, docs/reference/compatibility.md).
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from terrazzo.kernel_cache import keep_kernels

if TYPE_CHECKING:
    from terrazzo.arrays import open_array as open

__all__ = ["PIXELS", "__version__", "open"]

try:
    __version__ = version("terrazzo")
except PackageNotFoundError:
    __version__ = "0+unknown"

PIXELS = 15
"""Raised by hand when a change of the code changes pixel values; part of every content hash."""

keep_kernels()


def __getattr__(name: str) -> Any:
    """`terrazzo.open`, which needs xarray."""
    if name == "open":
        from terrazzo.arrays import open_array

        return open_array
    raise AttributeError(f"module 'terrazzo' has no attribute {name!r}")
