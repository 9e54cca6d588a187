"""Chooses where compiled kernels are kept."""

import os
import sys
import tempfile
from pathlib import Path

SETTING = "NUMBA_CACHE_DIR"


def keep_kernels(beside: Path = Path(__file__).parent) -> None:
    """Sets `NUMBA_CACHE_DIR` to a folder of this user's in the temporary folder where numba would find no other.

    Numba keeps compiled kernels beside their source or in the user's cache folder, and raises on import where it can write to
    neither: on a read-only root, or for a user without a home.

    Args:
        beside: folder of the package's source.
    """
    if os.environ.get(SETTING) or any(map(_writable, (beside, _user_cache()))):
        return
    folder = Path(tempfile.gettempdir()) / f"terrazzo-kernels-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return
    # The cache is unpickled: a folder that somebody else made must not be read.
    if folder.is_symlink() or folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        folder = Path(tempfile.mkdtemp(prefix="terrazzo-kernels-"))
    os.environ[SETTING] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "numba"


def _writable(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, takes new files."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
