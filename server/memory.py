"""Keeps freed memory for the next picture instead of handing it back to the system after each."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's `mallopt(3)`."""
KEPT = 32 << 20
"""Bytes at the end of a heap that stay: the arrays of one picture and its decoded blocks have less."""
LARGE = 1 << 20
"""Bytes from which an array has pages of its own, which are zero for nothing: most of the sums of `feather` are never touched."""


def keep_freed_memory() -> None:
    """Sets the allocator of this process; nothing where it is not glibc's.

    Otherwise each block and each layer of a picture, 128 KB and more, gets new pages from the system: a fault for every 4 KB costs
    more than what is computed in them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, LARGE)
