"""Programs of others that some tests drive: what each consists of, and the command that installs it on Debian.

A test says `@pytest.mark.needs("nginx")`. Where a program is missing, one line of the summary stands for all tests that need it.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
MODULES = ROOT / "build" / "browser" / "node_modules"
DEBIAN = "/usr/bin/python3"
"""Debian's own Python, which sees Debian's packages."""
PACKAGES = "/usr/lib/python3/dist-packages"


class Program(NamedTuple):
    """Names of executables and absolute paths of files, and the command that brings all of them."""

    parts: tuple[str, ...]
    command: str


PROGRAMS = {
    "cc": Program(("cc",), "apt-get install gcc libc6-dev"),
    "GDAL": Program(
        ("gdalinfo", DEBIAN, f"{PACKAGES}/osgeo/gdal.py"), "apt-get install gdal-bin python3-gdal"
    ),
    "QGIS": Program(
        (DEBIAN, f"{PACKAGES}/qgis/core/__init__.py"),
        "apt-get install --no-install-recommends qgis python3-qgis qgis-providers",
    ),
    "Chromium": Program(
        (
            "chromium",
            "node",
            *(str(MODULES / m) for m in ("playwright-core", "axe-core", "ol", "maplibre-gl")),
        ),
        "apt-get install chromium fonts-dejavu-core nodejs npm && make browser",
    ),
    "Leaflet": Program(("/usr/share/javascript/leaflet/leaflet.js",), "apt-get install libjs-leaflet"),
    "nginx": Program(("nginx", "openssl"), "apt-get install nginx openssl"),
    "systemd": Program(
        ("systemd-analyze", "/lib/systemd/systemd", "ip", "nsenter", "su"),
        "apt-get install systemd iproute2 util-linux",
    ),
}


def lacking(name: str) -> str | None:
    """The command that brings a program, or None where it is."""
    parts, command = PROGRAMS[name]
    return (
        None if all(shutil.which(p) or (p.startswith("/") and Path(p).exists()) for p in parts) else command
    )
