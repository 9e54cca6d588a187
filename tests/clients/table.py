"""The tables of clients (docs/evidence/clients.md) and of places (docs/evidence/platforms.md), made of what the last runs of the tests found.

Each run of pytest notes its outcomes in build/outcomes.json; `python -m tests.clients.table` writes the tables.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.conftest import ROOT
from tests.programs import MODULES

OUTCOMES = ROOT / "build" / "outcomes.json"
Rows = tuple[tuple[str, str, str], ...]
BEGIN, END = "<!-- made by tests/clients/table.py -->\n", "<!-- end -->\n"
CLIENTS: Rows = (
    ("QGIS", "lists at most 24 lines; renders WMTS in two sets and XYZ in three coordinate systems; identifies", "test_gis.py::test_qgis_lists*"),
    ("QGIS", "time layer", "test_gis.py::test_qgis_shows_a_time*"),
    ("QGIS", "512 px, WGS 84 (both axis orders), ETRS89-LAEA, UTM", "test_grids.py::test_qgis_renders*"),
    ("QGIS", "a national grid (ETRS-TM35FIN)", "test_grids.py::test_qgis_shows_finlands*"),
    ("QGIS", "further documents, below 200 lines each", "test_grids.py::test_qgis_lists_each*"),
    ("QGIS", "`gdal.xml` as multiband reflectance", "test_gdal_xml.py::test_qgis*"),
    ("GDAL", "WMTS by KVP and REST, every pixel within 0.05 px in every set", "*::test_gdal_finds*"),
    ("GDAL", "`gdal.xml` equal to an export, number by number", "test_gdal_xml.py::test_gdal_translate*"),
    ("GDAL", "national grids: both ends of every system of Europe that PROJ knows and others from elsewhere, both orders of origin, within 0.05 px (old datums 0.15)", "test_national_grids.py::test_gdal_draws_every*"),
    ("GDAL", "grids of each kind of axes, both orders of origin: Austria, Poland, New Zealand, South Africa, New York", "test_national_grids.py::test_gdal_draws_grids*"),
    ("GDAL of pyogrio", "driver OGCAPI (GDAL 3.8 and newer; 3.6 reads only the draft of tile matrix sets): tile sets in web mercator and ETRS89-LAEA, pixel by pixel", "test_ogcapi.py::test_gdals*"),
    ("GDAL", "driver OGCAPI: the map of a Collection (`-oo API=MAP`)", "test_ogcapi.py::test_debians*"),
    ("GDAL", "exports: COG by its validator, every level, systems with north first, VRT", "test_exports_opened.py::test_debians*|test_exports_opened.py::test_the_validators*"),
    ("QGIS", "exports, in several systems, and a divided one", "test_exports_opened.py::test_qgis*"),
    ("QGIS", "XYZ past the last zoom", "test_overzoom.py::test_qgis*"),
    ("rasterio", "exports: COG by rio-cogeo, every level as GDAL of Debian reads it", "test_exports_opened.py::test_debians*|test_exports_opened.py::test_the_validators*"),
    ("odc-geo", "the grid of exports and of their overviews", "test_exports_opened.py::test_odc*"),
    ("OWSLib", "KVP and REST, tiles, values, time", "test_owslib.py::test_owslib*|test_owslib.py::test_what_is_at*"),
    ("OpenLayers", "XYZ, WMTS; no failed request, no console error", "test_snippets.py::*"),
    ("MapLibre", "XYZ", "test_snippets.py::*"),
    ("Leaflet", "XYZ; past the last zoom without `maxNativeZoom`", "test_snippets.py::*|test_overzoom.py::test_leaflet*"),
    ("nginx", "cache, lock, stale answers, limits, sub-path, keys before hits, TLS, /vsicurl, uploads, the map's exports; Debian's variant", "test_nginx.py::*|test_nginx_cache.py::*"),
    ("pystac, pystac-client", "catalogue to Items, Items of a Collection", "test_stac.py::test_pystac*|test_stac.py::test_the_scenes*"),
    ("TiTiler", "`renders` of Items, drawn as they are, beside our own pictures", "test_renders.py::*"),
    ("curl, Chromium, rasterio", "downloads in parts, cut and continued", "test_downloads.py::*"),
    ("OGC schemas", "every document valid, no rule broken", "test_owslib.py::test_the_document*|test_grids.py::test_the_document*"),
    ("ArcGIS Pro", "the [ten steps](../start/gis.md#add-to-arcgis)", ""),
)  # fmt: skip
"""Client, what is tried, and the tests that try it."""
PLACES: Rows = (
    ("Python 3.11", "all tests", "test_export.py::*|test_export_runs.py::*|test_tiles.py::*|test_chain.py::*|test_golden.py::*"),
    ("newest Python installed", "kernels, the golden store, exports of each format, styles; version's name and pixels as on the oldest", "newest/*"),
    ("wheel in an empty environment", "the demo to its first tile, an export", "test_wheel.py::test_the_demo*"),
    ("image: Debian trixie, Python 3.13, read-only root, user without rights", "built from docker/Dockerfile; every command; services as compose.yaml says, behind nginx", "test_images.py::*"),
    ("systemd", "docs/operate/debian.md from installation to removal: server, watch, keys, nginx, backup, restore", "test_units.py::*"),
    ("nginx of Debian", "nginx.conf and docker/nginx-debian.conf, TLS, exports of the map, uploads", "test_nginx.py::*"),
    ("S3: moto and SeaweedFS", "archives and stores", "test_acquire.py::*|test_remote.py::*"),
    ("Dask, three workers", "precompute with a worker that is killed", "test_dask.py::*"),
    ("Kubernetes", "docker/kubernetes.yaml follows its schema; it is not run", ""),
    ("Docker, macOS, Windows", "", ""),
)  # fmt: skip
"""Where something runs, what is run there, and the tests that do it."""
TABLES = (
    (ROOT / "docs" / "evidence" / "clients.md", "client", CLIENTS),
    (ROOT / "docs" / "evidence" / "platforms.md", "where", PLACES),
)


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
        ("nginx of Debian", "nginx -v"),
        ("systemd", "systemctl --version"),
        ("QGIS", "dpkg-query -W -f ${Version} qgis"),
        ("Leaflet", "dpkg-query -W -f ${Version} libjs-leaflet"),
    ):
        if shutil.which(command.split()[0]):
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if number := re.search(r"\d+(\.\d+)*", done.stdout + done.stderr):
                found[client] = number[0]
    with suppress(ImportError):
        import pyogrio

        found["GDAL of pyogrio"] = ".".join(map(str, pyogrio.__gdal_version__))
    for client, package in (
        ("TiTiler", "titiler-core"),
        ("OWSLib", "owslib"),
        ("pystac, pystac-client", "pystac-client"),
        ("odc-geo", "odc-geo"),
        ("rasterio", "rasterio"),
    ):
        try:
            found[client] = version(package)
        except PackageNotFoundError:
            continue
    return found


def table(outcomes: dict[str, str], known: dict[str, str], head: str, rows: Rows) -> str:
    """A table in Markdown."""
    lines = [f"| {head} | what | |", "|---|---|---|"]
    for client, what, patterns in rows:
        result = told(outcomes, patterns)
        shown = f"{client} {known[client]}" if client in known and result != "not run" else client
        lines.append(f"| {shown} | {what} | {result} |")
    return "\n".join(lines) + "\n"


def name_of(nodeid: str) -> str:
    """File and test of a node, without its folders; in a run of `make newest` below `newest/`."""
    path, _, test = nodeid.partition("::")
    where = "newest/" if "TERRAZZO_OTHER_PYTHON" in os.environ else ""
    return f"{where}{Path(path).name}::{test}"


def main() -> None:
    """Writes the tables into their documents."""
    outcomes, known = json.loads(OUTCOMES.read_text()), versions()
    for document, head, rows in TABLES:
        before, rest = document.read_text().split(BEGIN)
        _, after = rest.split(END)
        document.write_text(f"{before}{BEGIN}{table(outcomes, known, head, rows)}{END}{after}")


if __name__ == "__main__":
    main()
