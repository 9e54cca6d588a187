"""Keeps freed memory for the next arrays of a process instead of handing it back to the system after each.

New pages from the system cost more than what is computed in them: a fault for every 4 KB, and they are zeroed first.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Numbers of glibc's `mallopt(3)`."""
PICTURE, LARGE = 32 << 20, 1 << 20
"""Bytes that stay at the end of a heap: the arrays of one picture and its decoded blocks have less. And bytes from which an array has
pages of its own, which are zero for nothing: most of the sums of `feather` are never touched."""
BANDS = 1 << 30
"""Bytes that stay with a worker: the bands of a whole tile that are in memory at a time."""


def keep_pictures() -> None:
    """Keeps what one picture frees, blocks and layers of 128 KB and more; nothing where the allocator is not glibc's."""
    _set({TRIM_THRESHOLD: PICTURE, MMAP_THRESHOLD: LARGE})


def keep_bands() -> None:
    """Keeps what one band of a scene frees for the next band, up to 241 MB; nothing where the allocator is not glibc's."""
    # glibc gives arrays above 32 MB pages of their own whatever the threshold, unless it may not.
    _set({TRIM_THRESHOLD: BANDS, MMAP_MAX: 0})


def _set(options: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)
