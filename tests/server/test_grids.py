"""The tile matrix sets of `TERRAZZO_TMS`: known names, files, a national grid; what each says of its place."""

import io
import json

import morecantile
import numpy as np
import pytest
from fastapi.testclient import TestClient
from lxml import etree
from pyproj import Transformer

from terrazzo.errors import StoreError
from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from tests.conftest import ROOT

N = {"w": "http://www.opengis.net/wmts/1.0", "o": "http://www.opengis.net/ows/1.1"}
FINLAND = ROOT / "docs" / "grids" / "ETRS-TM35FIN.json"
SETS = (
    "WebMercatorQuad512",
    "WGS1984Quad",
    "WorldCRS84Quad",
    "EuropeanETRS89_LAEAQuad",
    "UTM33N",
    "WebMercatorQuad",
)


@pytest.fixture(scope="module")
def many(sample_store):
    """A client of a server that offers many sets."""
    with TestClient(create_app(Settings(store=str(sample_store), tms=SETS))) as client:
        yield client


@pytest.fixture(scope="module")
def sets(many):
    root = etree.fromstring(many.get("/mosaics/mosaic/wmts").content)
    return {
        s.findtext("o:Identifier", namespaces=N): s for s in root.findall("w:Contents/w:TileMatrixSet", N)
    }


def limits(client, name):
    root = etree.fromstring(client.get("/mosaics/mosaic/wmts").content)
    link = next(k for k in root.find("w:Contents/w:Layer", N).findall("w:TileMatrixSetLink", N)
                if k.findtext("w:TileMatrixSet", namespaces=N) == name)  # fmt: skip
    found = {}
    for one in link.findall(".//w:TileMatrixLimits", N):
        tags = ("TileMatrix", "MinTileRow", "MaxTileRow", "MinTileCol", "MaxTileCol")
        zoom, *box = (int(one.findtext(f"w:{t}", namespaces=N)) for t in tags)
        found[zoom] = tuple(box)
    return found


def test_the_document_lists_the_sets_asked_for_in_their_order(sets):
    assert tuple(sets) == SETS


@pytest.mark.parametrize(
    ("name", "crs", "corner", "well_known"),
    [
        ("WebMercatorQuad", "EPSG::3857", (-20037508.3427892, 20037508.3427892), "GoogleMapsCompatible"),
        ("WebMercatorQuad512", "EPSG::3857", (-20037508.3427892, 20037508.3427892), None),
        ("WGS1984Quad", "EPSG::4326", (90, -180), None),
        ("WorldCRS84Quad", "OGC:1.3:CRS84", (-180, 90), "GoogleCRS84Quad"),
        ("EuropeanETRS89_LAEAQuad", "EPSG::3035", (5500000, 2000000), None),
    ],
)
def test_a_set_has_its_coordinate_system_and_its_origin_in_the_order_of_its_axes(
    sets, name, crs, corner, well_known
):
    one = sets[name]
    assert one.findtext("o:SupportedCRS", namespaces=N) == f"urn:ogc:def:crs:{crs}"
    told = [float(v) for v in one.findtext("w:TileMatrix/w:TopLeftCorner", namespaces=N).split()]
    assert told == pytest.approx(corner)
    scale_set = one.findtext("w:WellKnownScaleSet", namespaces=N)
    assert (scale_set or "").removeprefix("urn:ogc:def:wkss:OGC:1.0:") == (well_known or "")


@pytest.mark.parametrize("name", SETS)
def test_a_set_ends_where_the_data_do(many, sets, name):
    """The finest pixel shows every one of the data's 60 m, the next finer matrix would only repeat them."""
    matrices = sets[name].findall("w:TileMatrix", N)
    assert [m.findtext("o:Identifier", namespaces=N) for m in matrices] == list(
        map(str, range(len(matrices)))
    )
    mercator = 1 / np.cos(np.radians(46)) if "Mercator" in name else 1
    metres = [float(m.findtext("w:ScaleDenominator", namespaces=N)) * 0.00028 / mercator for m in matrices]
    assert metres[-1] <= 60 * 1.02 < metres[-2]
    assert set(limits(many, name)) == set(range(len(matrices)))


@pytest.mark.parametrize("name", SETS)
def test_no_data_lie_outside_the_limits(many, name):
    zoom, (row0, row1, col0, col1) = list(limits(many, name).items())[-3]

    def filled(row, col):
        answer = many.get(f"/mosaics/mosaic/tiles/{name}/{zoom}/{col}/{row}.npy?bands=B04")
        return answer.status_code == 200 and bool(np.load(io.BytesIO(answer.content))[1].any())

    cols, rows = range(col0 - 1, col1 + 2), range(row0, row1 + 1)
    assert not any(filled(row, col) for row in (row0 - 1, row1 + 1) for col in cols)
    assert not any(filled(row, col) for col in (col0 - 1, col1 + 1) for row in rows)
    # A box whose axes lie askew to the data's may hold a rim of empty tiles, not more.
    assert sum(filled(row, col) for row in rows for col in cols) >= 0.5 * len(rows) * (col1 - col0 + 1)


def test_a_file_is_a_set_like_others(sample_store, tmp_path):
    """Numbered from the coarsest on, cut off at the data, listed among the server's sets."""
    matrices = [
        {"id": f"level{i}", "scaleDenominator": r / 0.00028, "cellSize": r, "pointOfOrigin": [400_000, 5_200_000],
         "tileWidth": 200, "tileHeight": 100, "matrixWidth": 50, "matrixHeight": 50} for i, r in enumerate((25.0, 50.0, 100.0, 500.0))
    ]  # fmt: skip
    about = {"id": "County", "crs": "http://www.opengis.net/def/crs/EPSG/0/32633", "tileMatrices": matrices}
    path = tmp_path / "county.json"
    path.write_text(json.dumps(about))
    with TestClient(
        create_app(Settings(store=str(sample_store), tms=(str(path), "WebMercatorQuad")))
    ) as client:
        assert {z: b[0] for z, b in limits(client, "County").items()}.keys() == {0, 1, 2}
        tile = client.get("/mosaics/mosaic/wmts/1.0.0/mosaic/natural/County/2/15/12.png")
        assert tile.status_code == 200
        assert "County" in client.get("/tileMatrixSets").text
        assert client.get("/mosaics/mosaic/County/tilejson.json").json()["maxzoom"] == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read"),
        ("{}", "no tile matrix set"),
        ("nonsense", "no tile matrix set"),
    ],
)
def test_a_file_that_is_no_set_stops_the_server_with_a_reason(sample_store, tmp_path, text, told):
    path = tmp_path / "set.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StoreError, match=told):
        create_app(Settings(store=str(sample_store), tms=(str(path),)))


def test_an_unknown_name_stops_the_server_with_the_known_ones(sample_store):
    with pytest.raises(StoreError, match="WebMercatorQuad512"):
        create_app(Settings(store=str(sample_store), tms=("Moon",)))


def test_a_set_without_a_place_for_the_mosaic_is_left_out_of_its_documents(sample_store):
    names = ("WebMercatorQuad", "LINZAntarticaMapTilegrid", "UTM34N", str(FINLAND))
    with TestClient(create_app(Settings(store=str(sample_store), tms=names))) as client:
        root = etree.fromstring(client.get("/mosaics/mosaic/wmts").content)
        assert [s.text for s in root.findall("w:Contents/w:TileMatrixSet/o:Identifier", N)] == [
            "WebMercatorQuad"
        ]


def test_codes_can_be_written_short(sample_store):
    with TestClient(create_app(Settings(store=str(sample_store), short_crs=True))) as client:
        assert "<ows:SupportedCRS>EPSG:3857</ows:SupportedCRS>" in client.get("/mosaics/mosaic/wmts").text


GK_EAST = {"id": "GKEast", "crs": "http://www.opengis.net/def/crs/EPSG/0/31256"}
"""Austria's grid: its first axis, X, points north."""


def austrian(path, origin, **more):
    """A grid file of Austria with an origin, of 1600 m and finer."""
    matrices = [
        {"id": str(i), "cellSize": 1600 / 2**i, "scaleDenominator": 1600 / 2**i / 0.00028, "pointOfOrigin": origin,
         "tileWidth": 256, "tileHeight": 256, "matrixWidth": 2**i, "matrixHeight": 2**i} for i in range(6)
    ]  # fmt: skip
    path.write_text(json.dumps({**GK_EAST, **more, "tileMatrices": matrices}))
    return str(path)


@pytest.mark.parametrize(
    ("origin", "more"),
    [
        ([200_000.0, -300_000.0], {}),
        ([-300_000.0, 200_000.0], {}),
        ([200_000.0, -300_000.0], {"orderedAxes": ["X", "Y"]}),
        ([-300_000.0, 200_000.0], {"orderedAxes": ["Y", "X"]}),
        ([-300_000.0, 200_000.0], {"orderedAxes": ["E", "N"]}),
    ],
)
def test_a_grids_origin_is_read_by_its_axes_and_written_north_first_where_the_first_axis_points_north(
    sample_store, tmp_path, origin, more
):
    path = austrian(tmp_path / "gk.json", origin, **more)
    with TestClient(create_app(Settings(store=str(sample_store), tms=(path,)))) as client:
        root = etree.fromstring(client.get("/mosaics/mosaic/wmts").content)
        told = root.findtext("w:Contents/w:TileMatrixSet/w:TileMatrix/w:TopLeftCorner", namespaces=N)
        assert [float(v) for v in told.split()] == [200_000, -300_000]
        own = client.get("/mosaics/mosaic/tileMatrixSets/GKEast").json()
        assert own["tileMatrices"][0]["pointOfOrigin"] == [200_000, -300_000]
        assert own["orderedAxes"] == ["N", "E"]
        zoom, (row, _, col, _) = list(limits(client, "GKEast").items())[-1]
        assert client.get(f"/mosaics/mosaic/tiles/GKEast/{zoom}/{col + 2}/{row + 2}.png").status_code == 200


def test_a_set_that_is_left_out_is_named_at_start_with_the_reason(sample_store, tmp_path, caplog):
    """A file whose `orderedAxes` contradict its numbers holds nothing, and is not turned against its word."""
    path = austrian(tmp_path / "gk.json", [-300_000.0, 200_000.0], orderedAxes=["X", "Y"])
    names = ("WebMercatorQuad", "LINZAntarticaMapTilegrid", path)
    with TestClient(create_app(Settings(store=str(sample_store), tms=names))):
        told = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert len(told) == 2
    assert "LINZAntarticaMapTilegrid is left out of mosaic" in told[0]
    assert "GKEast is left out of mosaic" in told[1]
    assert "pointOfOrigin" in told[1]


def test_a_grid_of_a_deprecated_system_stops_the_server_with_the_successor(sample_store, tmp_path):
    path = tmp_path / "old.json"
    about = {**GK_EAST, "crs": "http://www.opengis.net/def/crs/EPSG/0/31275"}
    austrian(path, [0, 0], **about)
    with pytest.raises(StoreError, match="use EPSG:8677"):
        create_app(Settings(store=str(sample_store), tms=(str(path),)))


def test_tilejson_answers_where_a_set_has_tiles_and_nowhere_else(many):
    for name in many.get("/tileMatrixSets").json()["tileMatrixSets"]:
        answers = {
            many.get(f"/mosaics/mosaic/{name['id']}/tilejson.json").status_code,
            many.get(f"/mosaics/mosaic/tiles/{name['id']}").status_code,
        }
        assert answers in ({200}, {404}), name["id"]
    assert many.get("/mosaics/mosaic/LINZAntarticaMapTilegrid/tilejson.json").status_code == 404


def test_tiles_beyond_the_last_zoom_show_the_same_pixels_larger(many):
    """Each pixel of a tile three zooms deeper is that of the mosaic's grid under it."""
    last = many.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json").json()["maxzoom"]
    web = morecantile.tms.get("WebMercatorQuad")
    tile = web.tile(15.97, 45.81, last + 3)
    asked = "bands=B04&resampling=nearest"
    values, known = np.load(
        io.BytesIO(
            many.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.npy?{asked}").content
        )
    )
    assert known.all()
    left, _, right, top = web.xy_bounds(tile)
    step = (right - left) / 256
    x, y = np.meshgrid(left + (np.arange(256) + 0.5) * step, top - (np.arange(256) + 0.5) * step)
    x, y = Transformer.from_crs(3857, 32633, always_xy=True).transform(x, y)
    west, north = x.min() // 60 * 60 - 60, y.max() // 60 * 60 + 120
    width, height = int((x.max() - west) // 60 + 2), int((north - y.min()) // 60 + 2)
    box = f"{west},{north - 60 * height},{west + 60 * width},{north}"
    raw = many.get(f"/mosaics/mosaic/bbox/{box}/{width}x{height}.npy?{asked}&bbox_crs=EPSG:32633")
    native = np.load(io.BytesIO(raw.content))[0]
    rows, cols = (north - y) / 60, (x - west) / 60
    # Places are exact to a thousandth of a pixel: those on an edge may be either side of it.
    inside = np.minimum(np.abs(rows - np.rint(rows)), np.abs(cols - np.rint(cols))) > 0.01
    expected = native[rows.astype(int), cols.astype(int)]
    assert (values == expected)[inside].all()
    deepest = web.tile(15.97, 45.81, 24)
    assert (
        many.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/24/{deepest.x}/{deepest.y}.png").status_code == 200
    )
    assert (
        many.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/25/{deepest.x}/{deepest.y}.png").status_code == 404
    )
