"""The application, without what its libraries import only where it is installed: for processes that do nothing but serve.

rio_tiler and pyogrio offer readers for xarray and geopandas, which no answer uses, and import those, pandas and dask for them. pyarrow
looks for pandas once, with its first array of Python objects, and numba for scipy's linear algebra, which no kernel calls. A
fork server imports this module once, and its processes share the memory.
"""

import gc
import sys

UNUSED = ("geopandas", "pandas", "rioxarray", "scipy", "xarray")


class _KeptOut:
    """A finder by which these modules are not there; None in `sys.modules` would pass for a module in compiled code."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Knows no module, and lets nobody else find one of these."""
        if name in UNUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


_kept_out = _KeptOut()
sys.meta_path.insert(0, _kept_out)
# What is imported stays: looking for garbage among it takes a tenth of the time.
gc.disable()
try:
    import numpy as np
    import pyarrow as pa

    from terrazzo.mosaic import gather_kernels
    from terrazzo.server.app import create_app
    from terrazzo.server.memory import keep_freed_memory

    pa.array([0])
    # The first compiled function that runs brings the most of numba into memory.
    gather_kernels.extremes(np.zeros((1, 1)), np.zeros((1, 1)))
finally:
    gc.enable()
    sys.meta_path.remove(_kept_out)
keep_freed_memory()
# What the collector never visits is not copied when a process is forked. A round before would take as long as numba's import, and
# free next to nothing.
gc.freeze()

__all__ = ["create_app"]
