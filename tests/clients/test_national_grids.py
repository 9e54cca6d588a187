"""GDAL's WMTS client in every national grid of Europe that PROJ knows, and in ten from elsewhere, pixel by pixel."""

import json
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from lxml import etree
from pyproj import CRS, Transformer
from pyproj.database import query_crs_info

from terrazzo.crs import canonical, northing_first
from terrazzo.errors import InvalidRequest
from terrazzo.server import MosaicFactory, Settings
from tests.chain import precompute
from tests.clients.conftest import DEBIAN, ENVIRONMENT
from tests.clients.truth import natural
from tests.waiting import PATIENCE, until
from tests.world.worlds import make_world

pytestmark = pytest.mark.clients
EUROPE = (-32.0, 33.0, 45.0, 84.0)
"""Degrees; areas of use of national grids lie inside and are less than `WIDEST` wide."""
WIDEST = 40.0
PLACES = (
    (13.7, 48.7), (6.1, 49.8), (30.0, 65.4), (21.2, 54.8), (36.0, 47.2), (6.7, 42.4), (-6.9, 61.9), (-1.3, 51.8),
    (10.2, 51.0), (2.5, 46.0), (28.4, 47.0), (19.7, 66.3), (15.0, 46.2), (11.3, 54.6), (22.7, 48.4), (9.6, 47.2),
    (38.8, 48.6), (16.6, 48.9), (32.0, 51.4), (-7.9, 39.6), (3.9, 55.6), (27.1, 39.3), (12.0, 58.4), (23.0, 66.8),
    (27.3, 57.4), (42.0, 54.9), (19.4, 60.2), (20.9, 42.5), (14.9, 55.2), (42.0, 39.3), (-15.7, 65.0), (25.5, 69.9),
    (9.3, 55.1), (-6.8, 54.7), (19.0, 50.4), (33.0, 39.0), (-25.5, 70.5), (22.8, 42.9), (10.7, 35.8), (-27.9, 38.7),
    (-15.0, 76.3), (3.0, 44.0), (33.4, 35.2), (37.0, 76.0), (14.5, 66.5), (-2.6, 53.4),
)  # fmt: skip
"""Longitude and latitude; each area of use holds one, or lies a few degrees from it."""
ELSEWHERE = {
    2263: (-74.0, 40.7), 3978: (-95.0, 50.0), 7855: (147.0, -35.0), 2193: (172.5, -43.5), 6677: (139.7, 35.7),
    4547: (114.2, 30.6), 2048: (19.2, -32.0), 7755: (77.5, 23.0), 5880: (-47.9, -15.8), 5347: (-60.0, -33.0),
    2039: (35.1, 31.8), 5641: (-38.5, -4.0), 3413: (-45.0, 74.0), 3031: (0.0, -72.0), 5479: (170.5, -77.0),
}  # fmt: skip
"""Feet, north before east, west before south, and the poles: codes, and a place of each."""
LIMIT = 0.05
"""Pixels."""
PARTS = 4
"""In which all grids are drawn, by place."""
N = {"w": "http://www.opengis.net/wmts/1.0", "o": "http://www.opengis.net/ows/1.1"}
Codes = dict[int, tuple[float, float]]
"""Places by code."""


class Site(NamedTuple):
    """A place with a simulated mosaic, its server and the codes of national grids there."""

    capabilities: str
    truth: Path
    codes: list[int]


def national() -> Codes:
    """Codes of the national grids, each with its place."""
    west, south, east, north = EUROPE
    found = {}
    for about in query_crs_info(auth_name="EPSG", pj_types="PROJECTED_CRS", allow_deprecated=False):
        area = about.area_of_use
        if not (west <= area.west < area.east <= east and south <= area.south and area.north <= north):
            continue
        if area.east - area.west < WIDEST:
            middle = (area.west + area.east) / 2, (area.south + area.north) / 2
            inside = [
                p for p in PLACES if area.west <= p[0] <= area.east and area.south <= p[1] <= area.north
            ]
            found[int(about.code)] = min(
                inside or PLACES,
                key=lambda p: abs(p[0] - middle[0]) * np.cos(np.radians(p[1])) + abs(p[1] - middle[1]),
            )
    return found | ELSEWHERE


def zone_of(lon: float, lat: float) -> int:
    return (32600 if lat >= 0 else 32700) + int((lon + 180) // 6) + 1


def grid_file(folder: Path, code: int, place: tuple[float, float], *, up_first: bool) -> str:
    """A grid of six matrices whose finest pixels have 10 m, with its place near the middle; returns the file's path.

    Args:
        up_first: whether the origin stands as (up, right); the file does not tell.
    """
    crs = CRS.from_epsg(code)
    unit = crs.axis_info[0].unit_conversion_factor
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
    side = 81_920 / unit
    left, top = round(x - side * 0.45, -3), round(y + side * 0.55, -3)
    matrices = [
        {
            "id": str(i), "cellSize": 320 / unit / 2**i, "scaleDenominator": 320 / 2**i / 0.00028,
            "pointOfOrigin": [top, left] if up_first else [left, top],
            "tileWidth": 256, "tileHeight": 256, "matrixWidth": 2**i, "matrixHeight": 2**i,
        }
        for i in range(6)
    ]  # fmt: skip
    name = f"E{code}{'own' if up_first == northing_first(crs) else 'other'}"
    about = {
        "id": name,
        "crs": f"http://www.opengis.net/def/crs/EPSG/0/{code}",
        "tileMatrices": matrices,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(about))
    return str(path)


@contextmanager
def answering(app: FastAPI) -> Iterator[str]:
    """Address of a server of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def sites(folder: Path, codes: Codes) -> Iterator[list[Site]]:
    """A mosaic at each place, all served, with both orders of origin of each code."""
    app, asked = FastAPI(), []
    for number, place in enumerate(sorted(set(codes.values()))):
        lon, lat = place
        epsg = zone_of(lon, lat)
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
        left, top = x // 60 * 60, (y - 40) // 60 * 60 + 40 if epsg > 32700 else y // 60 * 60
        base = folder / str(number)
        mgrs = f"{epsg % 100:02d}{'CDEFGHJKLMNPQRSTUVWX'[min(19, int((lat + 80) // 8))]}AA"
        make_world(base / "p", seed=number, where=(mgrs, epsg, top, left), size=(360, 360), dates=1)
        precompute(base / "p", base / "s", normalize=False, window=128)
        here = [c for c, p in codes.items() if p == place]
        files = [grid_file(base, c, place, up_first=up) for c in here for up in (False, True)]
        settings = Settings(store=str(base / "s"), tms=tuple(files))
        app.include_router(
            MosaicFactory(settings=settings, router_prefix=f"/{number}").router, prefix=f"/{number}"
        )
        box = f"{left},{top - 3600},{left + 3600},{top}"
        asked.append((number, base, box, epsg, here))
    with answering(app) as address:
        yield [
            Site(
                f"{address}/{n}/mosaics/mosaic/wmts/1.0.0/WMTSCapabilities.xml",
                natural(f"{address}/{n}", box, epsg, base / "truth.tif"),
                here,
            )
            for n, base, box, epsg, here in asked
        ]


def matrices(document: etree._Element, name: str) -> bytes:
    """All that a document says of a set's matrices."""
    (found,) = (
        s
        for s in document.iterfind("w:Contents/w:TileMatrixSet", N)
        if s.findtext("o:Identifier", namespaces=N) == name
    )
    return b"".join(etree.tostring(m) for m in found.iterfind("w:TileMatrix", N))


def drawn(folder: Path, codes: Codes) -> dict[str, Any]:
    """What GDAL saw of each set: contrast, shift and difference, or why it saw nothing.

    Both orders of origin have to give the very same matrices, so GDAL draws one of the two, in turns.
    """
    asked = []
    with sites(folder, codes) as found:
        for site in found:
            with urllib.request.urlopen(site.capabilities, timeout=PATIENCE) as answer:
                document = etree.fromstring(answer.read())
            for code in site.codes:
                assert matrices(document, f"E{code}own") == matrices(document, f"E{code}other"), code
            names = [f"E{c}{'own' if i % 2 else 'other'}" for i, c in enumerate(site.codes)]
            asked.append((site.capabilities, str(site.truth), names))
        script = Path(__file__).with_name("gdal_grids.py")
        done = subprocess.run(
            [str(DEBIAN), str(script)],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def wrong(seen: dict[str, Any]) -> dict[str, Any]:
    """The sets whose picture is missing, flat or beside its place."""
    return {k: v for k, v in seen.items() if isinstance(v, str) or v[0] < 4 or v[1] > LIMIT or v[2] > 1.5}


def accepted(codes: Codes) -> Codes:
    """Those that are not refused by name."""
    found = {}
    for code, place in codes.items():
        try:
            canonical(f"EPSG:{code}")
        except InvalidRequest:
            continue
        found[code] = place
    return found


def ends(codes: Codes) -> Codes:
    """The first and the last of the zones of each system: between, only the middle meridian moves."""
    kinds: dict[object, list[int]] = {}
    for code in codes:
        crs = CRS.from_epsg(code)
        method = crs.coordinate_operation and crs.coordinate_operation.method_name
        country = re.split(r" - | \(| between", crs.area_of_use.name)[0]
        axes = tuple(a.direction for a in crs.axis_info)
        kinds.setdefault((crs.geodetic_crs.name, method, axes, country), []).append(code)
    return {c: codes[c] for found in kinds.values() for c in (found[0], found[-1])}


SAMPLE = (31256, 2180, 2193, 2048, 2263)
"""Austria and Poland (north first), New Zealand, South Africa (west, south), New York (feet)."""


@pytest.mark.needs("GDAL")
def test_gdal_draws_grids_of_each_kind_of_axes_with_the_origin_in_either_order(tmp_path):
    known = national()
    seen = drawn(tmp_path, {c: known[c] for c in SAMPLE})
    assert len(seen) == len(SAMPLE)
    assert wrong(seen) == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.needs("GDAL")
def test_gdal_draws_every_national_grid_with_the_origin_in_either_order(tmp_path, part):
    known = ends(national())
    places = sorted(set(known.values()))[part::PARTS]
    codes = accepted({c: p for c, p in known.items() if p in places})
    assert len(codes) > 200 / PARTS
    assert wrong(drawn(tmp_path, codes)) == {}
