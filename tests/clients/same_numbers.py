"""The same ten questions through every interface to a mosaic; `python -m tests.clients.same_numbers STORE` writes the table of docs/evidence/interfaces.md.

STORE is one with the sample area, such as `make demo` leaves in build/demo.
"""

import io
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import mcp
import numpy as np
import odc.stac
import pystac_client
import rasterio
import xarray
from click.testing import CliRunner
from mcp.client.stdio import StdioServerParameters, stdio_client
from odc.geo.geobox import GeoBox
from rasterio.windows import from_bounds

import terrazzo
from terrazzo.bands import SCALE
from terrazzo.cli import cli
from terrazzo.client import Client
from terrazzo.grid import Bounds
from terrazzo.mosaic.warp import transformer
from terrazzo.server.grids import zone_grid
from tests.clients.conftest import serving
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "evidence" / "interfaces.md"
BEGIN, END = "<!-- written by tests/clients/same_numbers.py -->\n", "<!-- end -->\n"
EPSG, PIXEL = 32633, 60.0
CRS = f"EPSG:{EPSG}"
HERE = Bounds(573840.0, 5066700.0, 573900.0, 5066760.0)
THERE = Bounds(576000.0, 5075520.0, 576060.0, 5075580.0)
AREA = Bounds(576000.0, 5075520.0, 576600.0, 5076120.0)
"""Whole pixels of the zone 33N, the area within one tile."""
NDVI = "(B08-B04)/(B08+B04)"


class Case(NamedTuple):
    """A question: the mean of some pixels, of one as a rule."""

    text: str
    box: Bounds
    asked: Mapping[str, Any]


QUESTIONS = (
    Case("red", HERE, {"bands": ["B04"]}),
    Case("near infrared of 13 August", HERE, {"bands": ["B08"], "datetime": "2023-08-13"}),
    Case("NDVI", HERE, {"expression": NDVI}),
    Case("red, not normalized", HERE, {"bands": ["B04"], "normalize": False}),
    Case("red, median", HERE, {"bands": ["B04"], "method": "median"}),
    Case("red, from orbit 122", HERE, {"bands": ["B04"], "orbit": 122}),
    Case("red elsewhere", THERE, {"bands": ["B04"]}),
    Case("NDVI elsewhere, first scene", THERE, {"expression": NDVI, "method": "first"}),
    Case("green elsewhere, only corrected", THERE, {"bands": ["B03"], "stage": "corrected"}),
    Case("mean NDVI of 36 ha", AREA, {"expression": NDVI}),
)


class Interfaces:
    """The interfaces of a mosaic; a method returns None where its interface cannot answer a question."""

    def __init__(self, address: str, store: Path, folder: Path) -> None:
        """Opens the interfaces.

        Args:
            address: of a server over the store.
            folder: where exports are written.
        """
        self._address, self._store, self._folder = address, str(store), folder
        self._client = Client(address)
        (self._item,) = (
            pystac_client.Client.open(f"{address}/stac").search(collections=["mosaic.periods"]).items()
        )

    def tile(self, case: Case) -> float | None:
        """A GeoTIFF tile of the mosaic's own grid."""
        grid = zone_grid(EPSG, PIXEL)
        tile = grid.tile(*degrees(*middle(case.box)), grid.maxzoom)
        data = self._client.tile(*(tile.z, tile.x, tile.y), form="tif", tms="UTM33N", **case.asked)
        with rasterio.open(io.BytesIO(data)) as raster:
            return mean_of(raster, case.box)

    def point(self, case: Case) -> float | None:
        """The values at a place."""
        if case.box == AREA:
            return None
        return self._client.point(*degrees(*middle(case.box)), **case.asked)["values"][0]

    def box(self, case: Case) -> float | None:
        """A box of so many pixels, as numpy reads it."""
        corners = ",".join(map(str, case.box))
        rows, cols = shape_of(case.box)
        answer = httpx.get(
            f"{self._address}/mosaics/mosaic/bbox/{corners}/{cols}x{rows}.npy",
            params={"bbox_crs": CRS, **texts(case.asked)},
            timeout=120,
        )
        values = np.load(io.BytesIO(answer.raise_for_status().content))
        return float(values[0].mean(dtype="float64")) * (1 if values.dtype.kind == "f" else SCALE)

    def export(self, case: Case) -> float | None:
        """`terrazzo export` to a GeoTIFF."""
        with rasterio.open(self._exported(case, "tif")) as raster:
            return mean_of(raster, case.box)

    def zarr(self, case: Case) -> float | None:
        """`terrazzo export` to a Zarr."""
        with xarray.open_dataset(self._exported(case, "zarr"), engine="zarr") as cube:
            (name,) = (n for n in cube.data_vars if {"y", "x"} <= set(cube[n].dims))
            return float(cube[name].mean(dtype="float64"))

    def _exported(self, case: Case, ending: str) -> Path:
        path = self._folder / f"{QUESTIONS.index(case)}.{ending}"
        options = [word for k, v in texts(case.asked).items() for word in (f"--{k.replace('_', '-')}", v)]
        box = [str(v) for v in inside(case.box)]
        command = ["export", "--store", self._store, "--bbox", *box, "--bbox-crs", CRS, *options]
        done = CliRunner().invoke(cli, [*command, "--extras", "none", "-o", str(path)])
        if done.exit_code:
            raise RuntimeError(done.output) from done.exception
        return path

    def statistics(self, case: Case) -> float | None:
        """Statistics of a polygon."""
        feature = {"type": "Feature", "geometry": polygon(case.box), "properties": {}}
        described = self._client.statistics(feature, **case.asked)["properties"]["statistics"]
        (about,) = described.values()
        return about["mean"]

    def client(self, case: Case) -> float | None:
        """`terrazzo.client`: a box as xarray."""
        array = self._client.array(inside(case.box), bbox_crs=CRS, crs=CRS, **case.asked)
        return float(array.mean(dtype="float64"))

    def xarray(self, case: Case) -> float | None:
        """`terrazzo.open` of the store."""
        about = {"bbox": inside(case.box), "bbox_crs": CRS, "crs": CRS, "chunks": None}
        return float(terrazzo.open(self._store, **about, **case.asked).mean(dtype="float64"))

    def odc_stac(self, case: Case) -> float | None:
        """The mosaic's STAC Item, with further parameters in the address of its assets, read by odc-stac."""
        asked = dict(case.asked)
        expression, bands = asked.pop("expression", None), asked.pop("bands", ["B04", "B08"])
        asked = texts(asked)
        pixels = GeoBox.from_bbox(case.box, CRS, resolution=PIXEL)
        read = odc.stac.load(
            [self._item],
            bands=bands,
            geobox=pixels,
            patch_url=lambda href: str(httpx.URL(href).copy_merge_params(asked)),
        )
        values = {n: read[n].values[0] * SCALE for n in bands}
        if expression is not None:
            return float(((values["B08"] - values["B04"]) / (values["B08"] + values["B04"])).mean())
        return float(values[bands[0]].mean())

    def mcp(self, case: Case) -> float | None:
        """`terrazzo mcp`, whose tools know days, bands and expressions."""
        return self._assistant.get(case.text)

    @cached_property
    def _assistant(self) -> dict[str, float]:
        """What one conversation answers: starting the command is most of the time."""
        start = StdioServerParameters(
            command=str(Path(sys.executable).parent / "terrazzo"), args=["mcp", "--url", self._address]
        )

        async def answer(session: mcp.Client, case: Case) -> float:
            if case.box == AREA:
                asked = {"mosaic": "mosaic", "geometry": polygon(case.box), **case.asked}
                described = (await session.call_tool("statistics_of", asked)).structured_content
                return next(iter(described["statistics"].values()))["mean"]
            lon, lat = degrees(*middle(case.box))
            asked = {"mosaic": "mosaic", "longitude": lon, "latitude": lat, **case.asked}
            return (await session.call_tool("value_at", asked)).structured_content["values"][0]

        async def converse() -> dict[str, float]:
            known = [q for q in QUESTIONS if set(q.asked) <= {"bands", "expression", "datetime"}]
            async with mcp.Client(stdio_client(start)) as session:
                return {q.text: await answer(session, q) for q in known}

        return anyio.run(converse)


INTERFACES: Mapping[str, Callable[[Interfaces, Case], float | None]] = {
    "tile": Interfaces.tile,
    "point": Interfaces.point,
    "box": Interfaces.box,
    "export": Interfaces.export,
    "Zarr": Interfaces.zarr,
    "statistics": Interfaces.statistics,
    "client": Interfaces.client,
    "xarray": Interfaces.xarray,
    "STAC, odc-stac": Interfaces.odc_stac,
    "mcp": Interfaces.mcp,
}


def answers(interfaces: Interfaces) -> dict[str, list[float | None]]:
    """The number that each interface gives to each case."""
    return {q.text: [ask(interfaces, q) for ask in INTERFACES.values()] for q in QUESTIONS}


def table(numbers: Mapping[str, Sequence[float | None]]) -> str:
    """The table of the page."""
    rows = [
        f"| {text} | {' | '.join('–' if v is None else f'{v:.4f}' for v in row)} |\n"
        for text, row in numbers.items()
    ]
    return f"| | {' | '.join(INTERFACES)} |\n|---{'|---' * len(INTERFACES)}|\n{''.join(rows)}"


def texts(asked: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as an address or a command line has them."""
    flags = {True: "on", False: "off"}
    return {
        k: flags[v] if isinstance(v, bool) else ",".join(v) if isinstance(v, list) else str(v)
        for k, v in asked.items()
    }


def middle(box: Bounds) -> tuple[float, float]:
    """The middle of a box; of an area that of its first pixel."""
    return box.left + PIXEL / 2, box.bottom + PIXEL / 2


def inside(box: Bounds) -> Bounds:
    """A box that touches the same pixels, and no neighbour by rounding."""
    return Bounds(box.left + 1, box.bottom + 1, box.right - 1, box.top - 1)


def shape_of(box: Bounds) -> tuple[int, int]:
    """Rows and columns of pixels."""
    return round((box.top - box.bottom) / PIXEL), round((box.right - box.left) / PIXEL)


def degrees(x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude."""
    lon, lat = transformer(CRS, "EPSG:4326").transform(x, y)
    return lon, lat


def polygon(box: Bounds) -> dict[str, Any]:
    """A box as a GeoJSON polygon in degrees."""
    left, bottom, right, top = box
    ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    return {"type": "Polygon", "coordinates": [[list(degrees(*c)) for c in ring]]}


def mean_of(raster: Any, box: Bounds) -> float:
    """The mean of a raster's pixels within a box, in units of reflectance or of the expression."""
    values = raster.read(1, window=from_bounds(*box, raster.transform).round_offsets().round_lengths())
    return float(values.mean(dtype="float64")) * raster.scales[0] + raster.offsets[0]


def main(store: Path) -> None:
    """Writes the table into its page."""
    with tempfile.TemporaryDirectory() as folder, serving(store, Path(folder) / "cache") as address:
        written = table(answers(Interfaces(address, store, Path(folder))))
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{written}{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
