"""The table of clients in docs/clients.md, made of what the last run of the client tests found.

`pytest tests/clients tests/server/test_stac.py` notes outcomes in build/clients.json; `python -m tests.clients.table` writes the table.
"""

import fnmatch
import json
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.conftest import ROOT
from tests.programs import MODULES

OUTCOMES = ROOT / "build" / "clients.json"
DOCUMENT = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- made by tests/clients/table.py -->\n", "<!-- end -->\n"
ROWS = (
    ("QGIS", "lists at most 24 lines; renders WMTS in two sets and XYZ in three coordinate systems; identifies", "test_gis.py::test_qgis_lists*"),
    ("QGIS", "time layer", "test_gis.py::test_qgis_shows_a_time*"),
    ("QGIS", "512 px, WGS 84 (both axis orders), ETRS89-LAEA, UTM", "test_grids.py::test_qgis_renders*"),
    ("QGIS", "a national grid (ETRS-TM35FIN)", "test_grids.py::test_qgis_shows_finlands*"),
    ("QGIS", "further documents, below 200 lines each", "test_grids.py::test_qgis_lists_each*"),
    ("QGIS", "`gdal.xml` as multiband reflectance", "test_gdal_xml.py::test_qgis*"),
    ("GDAL", "WMTS by KVP and REST, every pixel within 0.05 px in every set", "*::test_gdal_finds*"),
    ("GDAL", "`gdal.xml` equal to an export, number by number", "test_gdal_xml.py::test_gdal_translate*"),
    ("OWSLib", "KVP and REST, tiles, values, time", "test_owslib.py::test_owslib*|test_owslib.py::test_what_is_at*"),
    ("OpenLayers", "XYZ, WMTS; no failed request, no console error", "test_snippets.py::*"),
    ("MapLibre", "XYZ, and the server's own map", "test_snippets.py::*|test_viewer.py::*"),
    ("Leaflet", "XYZ", "test_snippets.py::*"),
    ("nginx", "cache, lock, stale answers, limits, sub-path, keys before hits, TLS, /vsicurl, uploads, the map's exports; Debian's variant", "test_nginx.py::*|test_nginx_cache.py::*"),
    ("pystac, pystac-client", "catalogue to Items", "test_stac.py::test_pystac*"),
    ("OGC schemas", "every document valid, no rule broken", "test_owslib.py::test_the_document*|test_grids.py::test_the_document*"),
    ("ArcGIS Pro", "the ten steps above", ""),
)  # fmt: skip
"""Client, what is tried, and the tests that try it."""


def note(outcomes: dict[str, str]) -> None:
    """Adds outcomes by test to those of earlier runs."""
    OUTCOMES.parent.mkdir(exist_ok=True)
    known = json.loads(OUTCOMES.read_text()) if OUTCOMES.exists() else {}
    OUTCOMES.write_text(json.dumps(known | outcomes, indent=1, sort_keys=True))


def told(outcomes: dict[str, str], patterns: str) -> str:
    """`passed`, `failed` or `not run`, of all tests that a row names."""
    found = [v for k, v in outcomes.items() if any(fnmatch.fnmatch(k, p) for p in patterns.split("|") if p)]
    if not found or "skipped" in found:
        return "not run"
    return "passed" if set(found) == {"passed"} else "failed"


def versions() -> dict[str, str]:
    """Versions of the clients that are here."""
    modules = MODULES
    found = {}
    for client, package in (("OpenLayers", "ol"), ("MapLibre", "maplibre-gl")):
        about = modules / package / "package.json"
        if about.exists():
            found[client] = json.loads(about.read_text())["version"]
    for client, command in (
        ("GDAL", "gdalinfo --version"),
        ("nginx", "nginx -v"),
        ("QGIS", "dpkg-query -W -f ${Version} qgis"),
        ("Leaflet", "dpkg-query -W -f ${Version} libjs-leaflet"),
    ):
        if shutil.which(command.split()[0]):
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if number := re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr):
                found[client] = number[0]
    for client, package in (("OWSLib", "owslib"), ("pystac, pystac-client", "pystac-client")):
        try:
            found[client] = version(package)
        except PackageNotFoundError:
            continue
    return found


def table(outcomes: dict[str, str], known: dict[str, str]) -> str:
    """The table in Markdown."""
    lines = ["| client | what | |", "|---|---|---|"]
    for client, what, patterns in ROWS:
        result = told(outcomes, patterns)
        shown = f"{client} {known[client]}" if client in known and result != "not run" else client
        lines.append(f"| {shown} | {what} | {result} |")
    return "\n".join(lines) + "\n"


def name_of(nodeid: str) -> str:
    """File and test of a node, without its folders."""
    path, _, test = nodeid.partition("::")
    return f"{Path(path).name}::{test}"


def main() -> None:
    """Writes the table into the document."""
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    found = table(json.loads(OUTCOMES.read_text()), versions())
    DOCUMENT.write_text(f"{before}{BEGIN}{found}{END}{after}")


if __name__ == "__main__":
    main()
