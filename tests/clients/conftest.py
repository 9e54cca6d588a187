"""A running server, and the programs of others that are let loose on it."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CLEAN, missing
from tests.programs import DEBIAN, MODULES, lacking
from tests.waiting import PATIENCE


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
        process.wait(PATIENCE)


@pytest.fixture(scope="session")
def files(sample_store: Path) -> Iterator[str]:
    """Address under which a web server of its own process serves the sample store's files, with ranges."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        # It listens already: who asks before the process has started waits.
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--fd", str(number), "tests.clients.files:app"],
            pass_fds=[number],
            env=os.environ | {"FILES": str(sample_store)},
            stderr=subprocess.DEVNULL,
        )
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="session")
def address(sample_store: Path, files: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server over the sample store."""
    # Behind a proxy, as some tests have it, exports would need a key.
    settings = {"TERRAZZO_PROTECT": "none", "TERRAZZO_ASSETS_URL": files}
    with serving(sample_store, tmp_path_factory.mktemp("cache"), **settings) as address:
        yield address


@pytest.fixture(scope="session")
def capabilities(address: str) -> str:
    """Address of the RESTful capabilities document."""
    return f"{address}/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml"


@pytest.fixture(scope="session")
def browser() -> list[str]:
    """The command that runs a script which drives Chromium."""
    if command := lacking("Chromium"):
        missing(f"Chromium or what drives it is not installed: {command}")
    return ["node"]


ENVIRONMENT = CLEAN | {"NODE_MODULES": str(MODULES)}
"""Of the scripts that drive a client."""


def green(command: list[object]) -> str:
    """Runs a script that drives a client; what it printed, when it ended well."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1500:]
    return done.stdout


def by_gdal(capabilities: str, layer: str, tms: str, truth: Path, *how: str) -> dict[str, Any]:
    """What GDAL saw of a layer, beside the truth; `how`: resampling, and rest or kvp."""
    script = Path(__file__).with_name("gdal_wmts.py")
    return dict(json.loads(green([DEBIAN, script, capabilities, layer, tms, truth, *how])))


def by_qgis(folder: Path, **question: Any) -> dict[str, Any]:
    """What QGIS saw; no request failed, and every picture has twenty colours."""
    told = green([DEBIAN, Path(__file__).with_name("qgis_wmts.py"), folder, json.dumps(question)])
    seen = dict(json.loads(told.splitlines()[-1]))
    assert not seen["failed"]
    for picture in seen["renders"]:
        assert picture["colours"] >= 20, picture
        assert not picture["errors"], picture
    return seen
