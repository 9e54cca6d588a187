"""The application, without what its libraries import only where it is installed: for processes that do nothing but serve.

rio_tiler and pyogrio offer readers for xarray and geopandas, which no answer uses, and import those, pandas and dask for them. A
fork server imports this module once, and its processes share the memory.
"""

import gc
import sys

import numpy as np

from terrazzo.mosaic import kernels
from terrazzo.server.memory import keep_freed_memory

UNUSED = ("geopandas", "pandas", "rioxarray", "xarray")
_kept_out = [name for name in UNUSED if name not in sys.modules]
# Python's own way to say that a module is not there.
sys.modules.update(dict.fromkeys(_kept_out))  # type: ignore[arg-type]
try:
    from terrazzo.server.app import create_app
finally:
    for _name in _kept_out:
        del sys.modules[_name]
keep_freed_memory()
# The first compiled function that runs brings the most of numba into memory.
kernels.extremes(np.zeros((1, 1)), np.zeros((1, 1)))
# What the collector never visits is not copied when a process is forked.
gc.collect()
gc.freeze()

__all__ = ["create_app"]
