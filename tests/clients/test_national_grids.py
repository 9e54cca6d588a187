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

import pytest
import uvicorn
from fastapi import FastAPI
from lxml import etree
from pyproj import CRS, Transformer
from pyproj.database import query_crs_info

from terrazzo.crs import canonical, check_place, northing_first
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
AFRICA = ("Algeria", "Morocco", "Tunisia")
"""Whose areas of use begin inside too."""
WIDEST = 40.0
PLACES = (
    (13.6, 48.7), (6.1, 49.7), (22.6, 48.2), (9.0, 41.8), (-15.7, 64.5), (27.0, 58.0), (20.6, 54.7), (20.5, 42.3),
    (9.6, 47.1), (40.9, 42.1), (11.9, 50.7), (31.55, 62.91), (-8.0, 54.0), (-8.5, 38.8), (14.3, 45.9), (29.5, 44.1),
    (4.1, 52.7), (10.1, 50.8), (29.1, 46.5), (22.9, 42.3), (40.1, 49.1), (15.5, 47.4), (25.7, 37.3), (-28.3, 38.6),
    (14.8, 55.1), (43.9, 38.4), (17.4, 48.1), (18.4, 43.1), (-25.6, 37.3), (21.6, 66.0), (35.4, 53.3), (36.6, 75.1),
    (-24.5, 65.1), (-8.8, 70.9), (19.3, 60.2), (-10.2, 76.5), (-7.1, 61.7), (14.0, 51.0), (9.0, 53.6), (4.9, 59.8),
    (30.4, 69.9), (11.1, 54.7), (20.5, 52.4), (18.7, 50.1), (-31.2, 39.5), (10.3, 44.2), (11.5, 58.1), (18.3, 37.2),
    (13.3, 52.4), (-2.8, 49.5), (-2.3, 49.1), (30.1, 46.4), (20.4, 47.3), (33.5, 44.5), (-23.6, 67.9), (5.2, 74.6),
    (32.9, 35.0), (11.3, 46.8), (41.4, 51.9), (-14.9, 51.3), (-2.5, 54.9), (-1.1, 46.4), (1.1, 43.4),
)  # fmt: skip
"""Longitude and latitude; each area of use of `ends` holds one."""
ELSEWHERE = {
    2263: (-74.0, 40.7), 3978: (-95.0, 50.0), 7855: (147.0, -35.0), 2193: (172.5, -43.5), 6677: (139.7, 35.7),
    4547: (114.2, 30.6), 2048: (19.2, -32.0), 7755: (77.5, 23.0), 5880: (-47.9, -15.8), 5347: (-60.0, -33.0),
    2039: (35.1, 31.8), 5641: (-38.5, -4.0), 3413: (-45.0, 74.0), 3031: (0.0, -72.0), 5479: (170.5, -77.0),
}  # fmt: skip
"""Feet, north before east, west before south, and the poles: codes, and a place of each."""
LIMIT, OLD_LIMIT = 0.05, 0.15
"""Pixels; and of datums before those by satellites: GDAL 3.6 may choose another of the shifts that EPSG has, each good to metres."""
OTHERWISE = 6204, 6316, 9945, 31469, 5676
"""Codes that GDAL 3.6 places more than a metre from where today's PROJ and GDAL do, which agree. Of MGI 1901 over Macedonia
(6204, 6316, 9945) EPSG has shifts that lie 1.6 km apart, each said to be good to metres (findings/)."""
UNKNOWN = "Cannot parse CRS", "Too many points"
"""What GDAL 3.6 says of codes that came after it, and of Modified Krovak, of which its PROJ has no inverse."""
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


def national() -> dict[int, tuple[float, float] | None]:
    """Codes of the national grids, each with its place; None between the ends of a system."""
    west, south, east, north = EUROPE
    found = {}
    for about in query_crs_info(auth_name="EPSG", pj_types="PROJECTED_CRS", allow_deprecated=False):
        area = about.area_of_use
        if not (west <= area.west < area.east <= east and south <= area.south and area.north <= north):
            continue
        if area.east - area.west < WIDEST and not area.name.startswith(AFRICA):
            inside = [p for p in PLACES if area.west < p[0] < area.east and area.south < p[1] < area.north]
            found[int(about.code)] = inside[0] if inside else None
    return {**found, **ELSEWHERE}


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


def ambiguous(code: int, place: tuple[float, float]) -> bool:
    """Whether a grid of `grid_file` holds its place with the origin read in either order, so that only the axes decide."""
    crs = CRS.from_epsg(code)
    side = 81_920 / crs.axis_info[0].unit_conversion_factor
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
    left, top = round(x - side * 0.45, -3), round(y + side * 0.55, -3)
    return top - 5_000 <= x <= top + side + 5_000 and left - side - 5_000 <= y <= left + 5_000


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
    sets = document.iterfind("w:Contents/w:TileMatrixSet", N)
    found = [s for s in sets if s.findtext("o:Identifier", namespaces=N) == name]
    assert len(found) == 1, f"{name} is left out"
    return b"".join(etree.tostring(m) for m in found[0].iterfind("w:TileMatrix", N))


def drawn(folder: Path, codes: Codes) -> dict[str, Any]:
    """What GDAL saw of each set: contrast, shift and difference, or why it saw nothing.

    Both orders of origin have to give the very same matrices, so GDAL draws one of the two, in turns.
    """
    asked = []
    with sites(folder, codes) as found:
        for site in found:
            with urllib.request.urlopen(site.capabilities, timeout=PATIENCE) as answer:
                document = etree.fromstring(answer.read())
            for code in (c for c in site.codes if not ambiguous(c, codes[c])):
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
    """The sets whose picture is missing, flat or beside its place, of those that GDAL knows."""
    found = {}
    for name, told in seen.items():
        code = int("".join(filter(str.isdecimal, name)))
        if isinstance(told, str):
            if not told.startswith(UNKNOWN):
                found[name] = told
            continue
        contrast, shift, difference = told
        of_satellites = CRS.from_epsg(code).ellipsoid.name in ("GRS 1980", "WGS 84", "CGCS2000")
        if contrast < 4 or shift > (LIMIT if of_satellites else OLD_LIMIT) or difference > 1.5:
            found[name] = told
    return found


def accepted(codes: dict[int, tuple[float, float] | None]) -> Codes:
    """Those that are not refused by name; each of them has a place."""
    found = {}
    for code, place in codes.items():
        if code in OTHERWISE:
            continue
        try:
            canonical(f"EPSG:{code}")
            assert place is not None, f"no place lies where EPSG:{code} is used"
            check_place(f"EPSG:{code}", *place)
        except InvalidRequest:
            continue
        found[code] = place
    return found


def ends(codes: dict[int, tuple[float, float] | None]) -> dict[int, tuple[float, float] | None]:
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
    seen = drawn(tmp_path, accepted({c: p for c, p in national().items() if c in SAMPLE}))
    assert len(seen) == len(SAMPLE)
    assert wrong(seen) == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.needs("GDAL")
def test_gdal_draws_every_national_grid_with_the_origin_in_either_order(tmp_path, part):
    known = ends(national())
    places = sorted({*PLACES, *ELSEWHERE.values()})[part::PARTS]
    codes = accepted({c: p for c, p in known.items() if p in places or (p is None and part == 0)})
    assert len(codes) > 40
    assert wrong(drawn(tmp_path, codes)) == {}
