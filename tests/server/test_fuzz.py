"""Thousands of odd requests, drawn from the OpenAPI document and by hand: none is the server's fault, each gets a reason."""

import json
import string
from urllib.parse import urlencode

import hypothesis.strategies as st
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from lxml import etree

from terrazzo.server.app import create_app
from terrazzo.server.search.asked import KNOWN
from terrazzo.server.search.filters import ARGUMENTS
from terrazzo.server.settings import Settings

CASES = 2000
TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"


@pytest.fixture(scope="module")
def api(sample_store):
    """A client that tells of errors as a server would."""
    app = create_app(Settings(store=str(sample_store)))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def likely(name):
    """Values that lead past the first check, for parameters of any endpoint."""
    known = {
        "mosaic": ["mosaic"], "tms": ["WebMercatorQuad", "UTM33N", "EuropeanETRS89_LAEAQuad"], "matrix_set": ["WebMercatorQuad", "UTM33N"],
        "z": ["11", "10", "0", "99", "-1"], "x": ["1113", "556", "0"], "tile": ["728.png", "728@2x.webp", "364.npy", "728.tif", "0"],
        "matrix": ["11", "99"], "row": ["728", "-1"], "col": ["1113", "1e9"], "i": ["7", "256"], "j": ["9", "x"], "ending": ["png", "json", "html", "gif"],
        "layer": ["mosaic", "mosaic_time", "mosaic_mask"], "style": ["natural", "ndvi", "count", "classes"], "time": ["2023-08-10", "2023", "x"],
        "document": ["time", "quality", "stages"], "form": ["tif", "png", "npy"], "lon": ["15.9", "nan", "1e308"], "lat": ["45.9", "-inf"],
        "bbox": ["15.8,45.8,15.9,45.9", "15.8 45.8 15.9 45.9", "-1e300,nan,1e300,45.9", "15.8,45.8"], "width": ["64", "0", "99999999"],
        "height": ["64", "-5"], "bands": ["B04", "B04,B03,B02", "B99"], "expression": ["B04/B08", "(B04", "B04**9"], "datetime": ["2023-08", "../.."],
        "method": ["median", "robust"], "stage": ["raw", "mask"], "normalize": ["on", "off"], "rescale": ["0,0.3", "inf,nan"], "version": ["000000000000"],
        "max_cloud": ["50", "nan", "1e999"], "resampling": ["nearest"], "coord_crs": ["EPSG:32633", "EPSG:0", "+proj=nonsense"],
        "dst_crs": ["EPSG:3035"], "f": ["json", "html"], "colormap_name": ["viridis"], "fill": ["best"], "snow": ["drop"], "orbit": ["79"],
    }  # fmt: skip
    return known.get(name)


@pytest.mark.slow
def test_no_request_of_the_openapi_document_is_the_servers_fault(api):
    """The share of cases that each operation gets is equal; half of the parameters' values are drawn blindly."""
    schema = schemathesis.openapi.from_dict(api.get("/openapi.json").json())
    operations = [o.ok() for o in schema.get_all_operations()]
    assert len(operations) > 20
    # Some operations have no parameters, so fewer cases than asked for.
    each = 3 * CASES // (2 * len(operations))
    asked, faults = 0, []

    for operation in operations:

        @settings(
            max_examples=each,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), data=st.data())
        def run(case, data):
            nonlocal asked
            for values in (case.path_parameters, case.query):
                for name in values or {}:
                    if (choices := likely(name)) and data.draw(st.booleans()):
                        values[name] = data.draw(st.sampled_from(choices))
            request = case.as_transport_kwargs(base_url="http://testserver")
            answer = api.request(request["method"], request["url"], params=request.get("params"))
            asked += 1
            if answer.status_code >= 500 and answer.status_code != 501:
                faults.append((str(answer.url), answer.status_code))

        run()
    assert faults == []
    assert asked >= CASES


ODD = st.one_of(
    st.text(max_size=40), st.text(string.printable, max_size=40), st.floats().map(str), st.integers().map(str),
    st.sampled_from(["../../etc/passwd", "%2e%2e%2f", "\x00", "1e999", "99" * 200, "<!ENTITY x>", "${z}", "{{7*7}}", "', --", "٣", "NaN"]),
)  # fmt: skip
NAMES = ["service", "request", "version", "layer", "style", "format", "tilematrixset", "tilematrix", "tilerow", "tilecol", "time", "i", "j",
         "infoformat", "acceptversions", "sections", "acceptformats", "updatesequence"]  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.dictionaries(st.sampled_from(NAMES), ODD, min_size=1, max_size=3), info=st.booleans())
def test_a_wmts_request_with_odd_values_gets_a_tile_or_a_report(api, changes, info):
    query = {
        "service": "WMTS", "request": "GetFeatureInfo" if info else "GetTile", "version": "1.0.0", "layer": "mosaic", "style": "natural",
        "format": "image/png", "tilematrixset": "WebMercatorQuad", "tilematrix": "11", "tilerow": "728", "tilecol": "1113", "i": "1", "j": "1",
    }  # fmt: skip
    answer = api.get("/mosaics/mosaic/wmts", params=query | changes)
    assert answer.status_code in (200, 400, 501)
    if answer.status_code != 200:
        assert etree.fromstring(answer.content).findtext(".//{*}ExceptionText")


VALUES = st.one_of(
    ODD, st.none(), st.booleans(), st.integers(), st.floats(), st.just("\ud800"), st.just("2023-08-15"),
    st.sampled_from([{"property": n} for n in ("id", "datetime", "eo:cloud_cover", "instruments", "nothing")]),
    st.sampled_from([{"interval": [".."]}, {"date": 5}, {"bbox": [1]}, {"type": "Point", "coordinates": []}]),
)  # fmt: skip
OPERATORS = [*ARGUMENTS, "accenti", "a_contains", "+", "\ud800"]
FILTERS = st.recursive(
    VALUES,
    lambda inner: st.builds(
        lambda op, args: {"op": op, "args": args},
        st.sampled_from(OPERATORS),
        st.lists(st.one_of(inner, st.lists(inner, max_size=2)), max_size=3),
    ),
    max_leaves=6,
)
SEARCHES = st.fixed_dictionaries(
    {"filter": FILTERS, "limit": st.just(1)},
    optional={n: VALUES for n in KNOWN if n not in ("filter", "limit")},
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=SEARCHES)
def test_an_odd_search_gets_items_or_a_reason(api, asked):
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in asked.items()}
    query = {k.encode(): v.encode("utf-8", "surrogatepass") for k, v in texts.items()}
    for answer in (
        api.post("/search", content=json.dumps(asked)),
        api.get(f"/search?{urlencode(query)}"),
    ):
        assert answer.status_code in (200, 400), answer.text
        assert answer.status_code == 200 or answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/mosaics/mosaic/point/1e400,0",
        "/mosaics/mosaic/point/-inf,nan",
        "/mosaics/mosaic/bbox/15,46,14,45.png",
        "/mosaics/mosaic/bbox/-1e308,-1e308,1e308,1e308.tif",
        "/mosaics/mosaic/bbox/15.8,45.8,15.9,45.9/4097x1.png",
        "/mosaics/mosaic/bbox/15.8,45.8,15.9,45.9/999999999999999999999x1.png",
        "/mosaics/mosaic/bbox/15,45,16,46/4096x4096.tif?expression=" + ";".join(["B04"] * 100),
        "/mosaics/mosaic/bbox/15,45,16,46/4096x4096.tif?bands=" + ",".join(["B04"] * 200),
        "/mosaics/mosaic/bbox/15.8,45.8,15.9,45.9.tif?coord_crs=%2Bproj%3Dpipeline",
        "/mosaics/mosaic/tiles/WebMercatorQuad/99/0/0.png",
        "/mosaics/mosaic/tiles/WebMercatorQuad/11/-1/0.png",
        "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728@9999x.png",
        "/mosaics/mosaic/tiles/..%2f..%2f..%2fetc%2fpasswd/0/0/0.png",
        "/mosaics/%2e%2e%2f%2e%2e/wmts",
        "/mosaics/mosaic/legend/..%2f..%2fapp.png",
        "/viewer/..%2f..%2fapp.py",
        "/viewer/%2e%2e/%2e%2e/settings.py",
        f"{TILE}?expression=" + "(" * 250 + "B04" + ")" * 250,
        "/colorMaps/viridis?f=png&width=999999&height=999999",
        f"{TILE}?expression=B04**B08**B08",
        f"{TILE}?rescale=" + ";".join(["0,1"] * 5000),
        f"{TILE}?ids=" + "a" * 20000,
        f"{TILE}?datetime=0000-00-00/9999-99-99",
        f"{TILE}?version=%00",
        f"{TILE}?max_cloud=1e999",
        f"{TILE}?style=natural&style=ndvi&bands=B04",
    ],
)
def test_a_hostile_address_gets_a_reason_and_no_file(api, path):
    answer = api.get(path)
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert json.loads(answer.text)["detail"]
    assert "import" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example/a?b#c"},
        {"Host": "a" * 5000},
        {"X-Forwarded-Host": "evil.example, also.evil"},
        {"X-Forwarded-Prefix": "//evil.example"},
        {"X-Forwarded-Prefix": "/../.."},
        {"X-Forwarded-Proto": "javascript"},
        {"If-None-Match": '"' + "a," * 3000},
        {"Accept": "text/html;q=" + "9" * 3000},
        {"Range": "bytes=99999999999999-1"},
        {"Origin": "null"},
        {"X-Request-Id": "<script>"},
    ],
)
def test_tricks_with_headers_change_no_link_and_break_nothing(api, headers):
    for path in (
        "/mosaics/mosaic/wmts",
        "/mosaics/mosaic/WebMercatorQuad/tilejson.json",
        TILE,
        "/mosaics/mosaic/explain/15.9,45.9",
    ):
        answer = api.get(path, headers=headers)
        assert answer.status_code in (200, 304), answer.text[:200]
        assert "javascript:" not in answer.text
        assert "evil.example/a" not in answer.text
        assert "<script>" not in str(answer.headers)


def test_a_body_is_never_read(api):
    bomb = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/mosaics/mosaic/wmts", TILE, "/"):
            assert (
                api.request(method, path, content=bomb, headers={"Content-Type": "text/xml"}).status_code
                == 405
            )
