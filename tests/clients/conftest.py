"""A running server, and the programs of others that are let loose on it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing, program

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL", "GDAL", "PROJ"))}
"""Debian's Python must not see our virtual environment."""


@contextmanager
def serving(store: Path, cache: Path, **variables: str) -> Iterator[str]:
    """Address of a server over a store, with a cache on disk."""
    terrazzo = Path(sys.executable).parent / "terrazzo"
    process = subprocess.Popen(
        [terrazzo, "serve", "--store", store, "--port", "0", "--cache-dir", cache],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
    )
    assert process.stdout is not None
    found = re.match(r"map: (http://127\.0\.0\.1:\d+)/", process.stdout.readline())
    assert found
    try:
        yield found[1]
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="session")
def address(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server over the sample store."""
    with serving(sample_store, tmp_path_factory.mktemp("cache")) as address:
        yield address


@pytest.fixture(scope="session")
def capabilities(address: str) -> str:
    """Address of the RESTful capabilities document."""
    return f"{address}/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml"


@pytest.fixture(scope="session")
def kit(shared: Path) -> Path:
    """The folder of client scripts that nobody of this project wrote."""
    return shared / "kit"


@pytest.fixture(scope="session")
def debian() -> str:
    """Debian's Python with QGIS and GDAL."""
    program("gdalinfo", "gdal-bin")
    python = "/usr/bin/python3"
    for module, package in (("osgeo.gdal", "python3-gdal"), ("qgis.core", "python3-qgis qgis-providers")):
        done = subprocess.run([python, "-c", f"import {module}"], env=CLEAN, capture_output=True)
        if done.returncode:
            missing(f"{module} is not installed: apt-get install {package}")
    return python


@pytest.fixture(scope="session")
def browser(kit: Path) -> list[str]:
    """The command that drives Chromium."""
    program("chromium", "chromium")
    node = program("node", "nodejs npm")
    modules = Path(os.environ.get("KIT_NODE_MODULES", ROOT / "build" / "browser" / "node_modules"))
    if not all((modules / name).is_dir() for name in ("playwright-core", "axe-core")):
        missing(
            f"{modules} is not complete: copy {kit}/browser/package.json to build/browser, run `npm install axe-core@4` there"
        )
    os.environ["KIT_NODE_MODULES"] = str(modules)
    return [node, str(kit / "browser" / "browser_map.mjs")]


def green(command: list[object]) -> str:
    """Runs a client's script; its output, when it found nothing wrong."""
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=300, env=CLEAN | _modules()
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1500:]
    return done.stdout


def _modules() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k == "KIT_NODE_MODULES"}
