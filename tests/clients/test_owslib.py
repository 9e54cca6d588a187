"""OWSLib and OGC's schemas, against a running server: both bindings, every format, times, values, exceptions."""

import io
import re
import urllib.error
import urllib.parse
import urllib.request

import pytest
import requests
from lxml import etree
from owslib.crs import Crs
from owslib.util import ServiceException
from owslib.wmts import WebMapTileService
from PIL import Image

from tests.clients.rules import broken
from tests.waiting import PATIENCE

pytestmark = pytest.mark.clients


class Rest(WebMapTileService):
    """OWSLib chooses a binding by itself; this one speaks only REST."""

    restonly = True


class Kvp(WebMapTileService):
    """Key-value pairs only."""

    restonly = False


def read(url):
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.read()


@pytest.fixture(scope="module", params=["rest", "kvp"])
def document(request, capabilities, address):
    """The document's address, as each binding has it."""
    kvp = f"{address}/mosaics/mosaic/wmts?service=WMTS&request=GetCapabilities"
    return capabilities if request.param == "rest" else kvp


def middle(layer, tms):
    """A tile in the middle of a layer: matrix, row and column."""
    matrix, limits = list(layer.tilematrixsetlinks[tms].tilematrixlimits.items())[-1]
    return {
        "tilematrix": matrix,
        "row": (limits.mintilerow + limits.maxtilerow) // 2,
        "column": (limits.mintilecol + limits.maxtilecol) // 2,
    }


def test_the_document_is_valid_and_breaks_no_rule(capabilities):
    assert broken(read(capabilities)) == []


def test_a_document_that_breaks_rules_would_be_found(capabilities):
    right = read(capabilities).decode()
    for old, new, told in (
        ("<ows:ServiceType>OGC WMTS", "<ows:ServiceType>WMTS", "ServiceType"),
        ("<MinTileRow>", "<MinTileRow>-", "schema"),
        ("<MaxTileCol>", "<MaxTileCol>9", "Col"),
        ("urn:ogc:def:crs:", "EPSG:", "URN"),
        ('isDefault="true"', 'isDefault="false"', "default style"),
        ("{TileRow}", "{Row}", "template lacks"),
    ):
        assert old in right
        assert any(told in p for p in broken(right.replace(old, new).encode())), told


@pytest.mark.parametrize("binding", [Rest, Kvp])
@pytest.mark.parametrize("tms", ["WebMercatorQuad", "UTM33N"])
def test_owslib_reads_tiles_of_every_format(document, binding, tms):
    service = binding(document, xml=read(document))
    layer = service.contents["mosaic"]
    assert layer.boundingBoxWGS84
    assert any(s.get("isDefault") for s in layer.styles.values())
    assert Crs(service.tilematrixsets[tms].crs).getcode()
    for media in layer.formats:
        tile = service.gettile(layer="mosaic", tilematrixset=tms, format=media, **middle(layer, tms))
        picture = Image.open(io.BytesIO(tile.read()))
        assert picture.size == (256, 256)
        assert len(picture.convert("RGB").getcolors(1 << 16)) > 4


@pytest.mark.parametrize("binding", [Rest, Kvp])
def test_owslib_reads_the_time_layer(document, binding):
    service = binding(document, xml=read(document))
    layer = service.contents["mosaic_time"]
    (time,) = layer.dimensions
    about = layer.dimensions[time]
    place = middle(layer, "WebMercatorQuad") | {"layer": "mosaic_time", "tilematrixset": "WebMercatorQuad"}
    assert about["default"] in about["values"]
    for value in about["values"]:
        tile = service.gettile(format="image/png", **place, **{time: value})
        assert len(Image.open(io.BytesIO(tile.read())).convert("RGB").getcolors(1 << 16)) > 4
    # A time that is none is refused, so the times above were read.
    with pytest.raises((ServiceException, requests.HTTPError)):
        service.gettile(format="image/png", **place, **{time: "1999-01-01"})


@pytest.mark.parametrize("name", ["mosaic", "mosaic_time"])
def test_what_is_at_a_pixel_comes_in_every_format_by_both_bindings(capabilities, address, name):
    """OWSLib's own request is not implemented: what it parsed, and plain requests."""
    service = WebMapTileService(capabilities, xml=read(capabilities))
    layer = service.contents[name]
    place = middle(layer, "UTM33N")
    values = {"tilematrixset": "UTM33N", "tilematrix": place["tilematrix"], "tilerow": place["row"]}
    values |= {
        "tilecol": place["column"],
        "i": 128,
        "j": 128,
        "style": next(iter(layer.styles)),
        "layer": name,
    }
    values |= {k.lower(): v["default"] for k, v in layer.dimensions.items()}
    templates = {r["format"]: r["template"] for r in layer.resourceURLs if r["resourceType"] == "FeatureInfo"}
    assert layer.infoformats
    for media in layer.infoformats:
        rest = re.sub(r"\{(\w+)\}", lambda m: str(values[m[1].lower()]), templates[media])
        question = values | {
            "service": "WMTS",
            "version": "1.0.0",
            "request": "GetFeatureInfo",
            "infoformat": media,
        }
        kvp = f"{address}/mosaics/mosaic/wmts?{urllib.parse.urlencode(question)}"
        assert read(rest) == read(kvp) != b""


def test_owslib_asks_for_the_document_itself_and_reports_an_exception(address):
    service = Kvp(f"{address}/mosaics/mosaic/wmts")
    place = middle(service.contents["mosaic"], "WebMercatorQuad")
    with pytest.raises((ServiceException, urllib.error.HTTPError, etree.XMLSyntaxError)) as told:
        service.gettile(layer="bogus", style="", tilematrixset="WebMercatorQuad", format="image/png", **place)
    assert told.type is ServiceException
