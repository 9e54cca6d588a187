"""Chooses where compiled kernels are kept."""

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

SETTING = "NUMBA_CACHE_DIR"
COMPILED = "TERRAZZO_KERNELS"
"""Names a folder that `terrazzo warm` filled, such as in an image: numba only reads from a folder it can write to."""


def keep_kernels(beside: Path = Path(__file__).parent) -> None:
    """Sets `NUMBA_CACHE_DIR` to a folder of this user's in the temporary folder where numba would find no other.

    The folder that is set begins as a copy of the one `TERRAZZO_KERNELS` names.

    Numba keeps compiled kernels beside their source or in the user's cache folder, and raises on import where it can write to
    neither: on a read-only root, or for a user without a home.

    Args:
        beside: folder of the package's source.
    """
    if os.environ.get(SETTING):
        _begin_with_compiled(Path(os.environ[SETTING]))
        return
    if any(map(_writable, (beside, _user_cache()))):
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


def _begin_with_compiled(folder: Path) -> None:
    """Copies what is compiled into a folder that is not there yet; it appears whole, also if several processes start at once."""
    compiled = os.environ.get(COMPILED)
    if not compiled or folder.exists():
        return
    # Without it numba compiles.
    with suppress(OSError, shutil.Error):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _copy_whole(compiled, folder)


def _copy_whole(compiled: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        shutil.copytree(compiled, Path(beside, "kernels"))
        Path(beside, "kernels").rename(folder)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "numba"


def _writable(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, takes new files."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
