"""Prints the path of the newest Python on this machine that is newer than the one that runs this; nothing where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
UV = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))


def runs(path: str | Path, minor: int) -> bool:
    """Whether a path is a Python that runs: pyenv's shims stand for versions that are switched off too."""
    try:
        done = subprocess.run(
            [path, "-c", "import ssl, sys, venv; print(sys.version_info[1])"], capture_output=True, text=True
        )
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == str(minor)


for minor in range(30, sys.version_info.minor, -1):
    name = f"python3.{minor}"
    places = [
        shutil.which(name),
        *sorted(PYENV.glob(f"3.{minor}.*/bin/{name}")),
        *sorted(UV.glob(f"cpython-3.{minor}.*/bin/{name}")),
    ]
    found = next((p for p in places if p and runs(p, minor)), None)
    if found:
        print(found)
        break
