"""Terrazzo computes pixels: grids, scenes, the store and the one mosaic engine."""

from importlib.metadata import PackageNotFoundError, version

from terrazzo.kernel_cache import keep_kernels

try:
    __version__ = version("terrazzo")
except PackageNotFoundError:
    __version__ = "0+unknown"

PIXELS = 11
"""Raised by hand when a change of the code changes pixel values; part of every content hash."""

keep_kernels()
