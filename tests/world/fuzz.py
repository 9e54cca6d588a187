"""What parses bytes of others, one function each: it takes any bytes, and raises nothing but errors that are written for users."""

import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from fastapi.testclient import TestClient

from terrazzo.bulk.area import area_of_geometry
from terrazzo.errors import TerrazzoError
from terrazzo.expression import checked
from terrazzo.grid import Grid, PixelBox
from terrazzo.mosaic.index import Cog
from terrazzo.precompute.products.angles import read_angles
from terrazzo.precompute.products.files import opened, zip_member, zip_members
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.offset import read_xml_offset
from terrazzo.precompute.products.quality import read_defects, read_detectors, says_undegraded
from terrazzo.precompute.products.safe import product_from_safe
from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from terrazzo.store import Store, StoreConfig, create_store
from tests.golden.make import STORE

Target = Callable[[bytes], None]
CORPUS = Path(__file__).parent.parent / "data" / "fuzz"
"""A folder a target, of inputs that once were a fault or reach far."""
SAFE = "S2B_MSIL1C_20220615T101559_N0400_R065_T32UPC_20220615T122549.SAFE"
GRID, BOX = Grid(32632, 20.0, 256), PixelBox(-275_001, 30_000, -274_981, 30_020)
READ = 1 << 20
"""Bytes that are read of a member of a zip."""


def expression(folder: Path) -> Target:
    """Expressions of tiles, statistics and exports."""

    def one(data: bytes) -> None:
        with suppress(TerrazzoError):
            checked(data.decode("latin-1"))

    return one


def geojson(folder: Path) -> Target:
    """Geometries of orders and questions."""

    def one(data: bytes) -> None:
        with suppress(TerrazzoError, ValueError, RecursionError):
            document = json.loads(data)
            # What is no JSON has been refused by the framework.
            with suppress(TerrazzoError):
                _only(area_of_geometry, document)

    return one


def item(folder: Path) -> Target:
    """Items in a folder of products."""
    path = folder / "item.json"

    def one(data: bytes) -> None:
        path.write_bytes(data)
        find_products(folder)

    return one


def tiff(folder: Path) -> Target:
    """Indexes of rasters, of stores with checksums in them (odd lengths) and without."""
    stores = [Store(create_store(folder / "new", StoreConfig()).url)]
    (folder / "old").mkdir()
    (folder / "old" / "store.json").write_text(
        json.dumps(json.loads((STORE / "store.json").read_text()) | {"format": 1})
    )
    stores.append(Store(folder / "old"))

    def one(data: bytes) -> None:
        store = stores[len(data) % 2]
        assert store.root is not None
        (store.root / "a.tif").write_bytes(data)
        with suppress(TerrazzoError):
            Cog(store, "a.tif")

    return one


def xml(folder: Path) -> Target:
    """Metadata of products, and masks in GML."""
    safe = folder / SAFE
    granule = safe / "GRANULE" / "L1C_T32UPC_A027547_20220615T102248"
    granule.mkdir(parents=True)
    product, tile, mask = safe / "MTD_MSIL1C.xml", granule / "MTD_TL.xml", folder / "mask.gml"
    product.write_text("<a/>")

    def one(data: bytes) -> None:
        for path in (tile, mask):
            path.write_bytes(data)
        readers: list[Callable[[], object]] = [
            lambda: product_from_safe(safe),
            lambda: read_angles(str(tile)),
            lambda: read_xml_offset(tile),
            lambda: says_undegraded(str(tile)),
            lambda: read_detectors(str(mask), GRID, BOX),
            lambda: read_defects({"DEFECT_B02": str(mask)}, GRID, BOX),
        ]
        for read in readers:
            with suppress(TerrazzoError):
                read()

    return one


def zipped(folder: Path) -> Target:
    """Zips of products."""
    path = folder / "a.zip"

    def one(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(TerrazzoError):
            for member in zip_members(path)[:3]:
                with suppress(TerrazzoError), opened(zip_member(path, member)) as file:
                    file.read(READ)
        with suppress(TerrazzoError):
            product_from_safe(path)

    return one


def wmts(folder: Path) -> Target:
    """The pairs of a WMTS address."""
    client = TestClient(create_app(Settings(store=str(STORE))), raise_server_exceptions=True)

    def one(data: bytes) -> None:
        pairs = quote(data.decode("latin-1"), safe="&=?,:;/+%")
        answer = client.get(f"/mosaics/mosaic/wmts?{pairs}")
        assert answer.status_code < 500 or answer.status_code == 501, answer.text[:200]

    return one


TARGETS: dict[str, Callable[[Path], Target]] = {
    f.__name__: f for f in (expression, geojson, item, tiff, wmts, xml, zipped)
}
"""By name, what gives the function that is tried, for a folder of its own."""


def seeds(name: str) -> Iterator[bytes]:
    """Inputs to begin with: whole ones, and those of the corpus."""
    yield from {"expression": _expressions, "geojson": _geometries, "item": _items, "tiff": _rasters,
                "wmts": _addresses, "xml": _documents, "zipped": _zips}[name]()  # fmt: skip
    yield from (p.read_bytes() for p in sorted((CORPUS / name).glob("*")))


def tried(name: str, inputs: Iterator[bytes]) -> int:
    """Gives inputs to a target; how many there were."""
    with tempfile.TemporaryDirectory() as folder:
        one, count = TARGETS[name](Path(folder)), 0
        for data in inputs:
            one(data)
            count += 1
    return count


def _only(work: Callable[[object], object], value: object) -> None:
    """Runs what must raise no ValueError of its own."""
    try:
        work(value)
    except (ValueError, RecursionError) as error:
        raise AssertionError(repr(error)) from error


def _expressions() -> Iterator[bytes]:
    yield b"(B08-B04)/(B08+B04)"
    yield b"where(B04>0.1,maximum(B02,B03)**2,-B8A);sqrt(abs(B11))"
    yield b"B04**2.5+1e3*B02"


def _geometries() -> Iterator[bytes]:
    ring = [[15.0, 46.0], [15.1, 46.0], [15.1, 46.1], [15.0, 46.0]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    yield json.dumps(polygon).encode()
    yield json.dumps({"type": "MultiPolygon", "coordinates": [[ring], [ring]]}).encode()
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    yield json.dumps({"type": "Feature", "geometry": polygon, "crs": crs}).encode()
    point = {"type": "Point", "coordinates": [15, 46, 300]}
    yield json.dumps({"type": "GeometryCollection", "geometries": [polygon, point]}).encode()


def _items() -> Iterator[bytes]:
    known = next(STORE.glob("scenes/*/*/*/*/item.json")).read_bytes()
    yield known
    yield json.dumps({"type": "FeatureCollection", "features": [json.loads(known)]}).encode()


def _rasters() -> Iterator[bytes]:
    whole = next(STORE.glob("scenes/*/*/*/*/mask.tif")).read_bytes()
    yield whole
    # Of odd and of even length, so that both kinds of stores see its head.
    yield whole[:2000]
    yield whole[:2001]
    yield struct.pack("<2sHIHHHIIII", b"II", 42, 8, 1, 256, 3, 1, 16, 0, 0)


def _addresses() -> Iterator[bytes]:
    tile = "layer=mosaic&style=natural&tilematrixset=WebMercatorQuad&tilematrix=11&tilerow=728&tilecol=1113"
    yield b"service=WMTS&request=GetCapabilities&acceptversions=1.0.0&sections=Contents"
    yield f"service=WMTS&request=GetTile&version=1.0.0&format=image/png&{tile}&time=2023-08".encode()
    yield f"service=WMTS&request=GetFeatureInfo&version=1.0.0&{tile}&i=1&j=2&infoformat=text/html".encode()


def _documents() -> Iterator[bytes]:
    from tests.precompute.products.test_quality import detectors_gml
    from tests.precompute.scene.test_l1c import product_metadata, tile_metadata

    yield tile_metadata(40.0, range(2)).encode()
    yield product_metadata().encode()
    yield detectors_gml(500.0).encode()


def _zips() -> Iterator[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as container:
            container.writestr(f"{SAFE}/MTD_MSIL1C.xml", "<a/>")
            container.writestr(f"{SAFE}/GRANULE/A/MTD_TL.xml", "<a/>")
        yield out.getvalue()
