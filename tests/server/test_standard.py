"""What OGC 07-057r7 demands of a WMTS, clause by clause, by key-value pairs and by path, and the golden document."""

import difflib
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from lxml import etree

from tests.clients.rules import schema

WMTS = "/mosaics/mosaic/wmts"
REST = f"{WMTS}/1.0.0"
N = {
    "w": "http://www.opengis.net/wmts/1.0",
    "o": "http://www.opengis.net/ows/1.1",
    "x": "http://www.w3.org/1999/xlink",
}
HREF = f"{{{N['x']}}}href"
GOLDEN = Path(__file__).parent / "capabilities.xml"
LAYERS = ("mosaic", "mosaic_time")


@pytest.fixture(scope="module")
def root(client):
    return etree.fromstring(client.get(f"{REST}/WMTSCapabilities.xml").content)


def text(element, path):
    return element.findtext(path, namespaces=N)


def layer_of(root, name):
    return next(e for e in root.findall("w:Contents/w:Layer", N) if text(e, "o:Identifier") == name)


def place(layer, row, col, **more):
    """A tile of the finest web mercator matrix, as both bindings name it."""
    found = {
        "Layer": text(layer, "o:Identifier"),
        "Style": text(layer, "w:Style/o:Identifier"),
        "TileMatrixSet": "WebMercatorQuad",
        "TileMatrix": "11",
        "TileRow": str(row),
        "TileCol": str(col),
    }
    if layer.find("w:Dimension", N) is not None:
        found["Time"] = text(layer, "w:Dimension/w:Default")
    return found | more


def by_path(client, layer, values, kind="tile", media="image/png"):
    url = next(
        u
        for u in layer.findall("w:ResourceURL", N)
        if (u.get("resourceType"), u.get("format")) == (kind, media)
    )
    return client.get(re.sub(r"\{(\w+)\}", lambda m: values[m[1]], url.get("template")))


def by_pairs(client, values, operation="GetTile", **more):
    asked = {"Service": "WMTS", "Request": operation, "Version": "1.0.0", "Format": "image/png"}
    return client.get(WMTS, params=asked | values | more)


def told(answer):
    """Status, code and locator; the report is one of OWS 1.1 (clause 7.1.2, 8.4 of 06-121r3)."""
    assert answer.headers["content-type"].startswith(("application/xml", "text/xml"))
    report = etree.fromstring(answer.content)
    assert report.tag == f"{{{N['o']}}}ExceptionReport"
    assert report.get("version") == "1.1.0"
    (exception,) = report.findall("o:Exception", N)
    assert text(exception, "o:ExceptionText")
    return answer.status_code, exception.get("exceptionCode"), exception.get("locator")


def test_the_golden_document(client, root):
    """Byte for byte, but for the version's name. `GOLDEN=write pytest` writes it anew: read the difference."""
    sequence = root.get("updateSequence")
    now = client.get(f"{REST}/WMTSCapabilities.xml").text.replace(sequence, "000000000000")
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(now)
    changed = list(difflib.unified_diff(GOLDEN.read_text().splitlines(), now.splitlines(), lineterm="", n=0))
    assert changed == []


@pytest.mark.parametrize("sections", ["", "All", "ServiceIdentification", "ServiceProvider", "OperationsMetadata", "Contents",
                                      "Themes", "ServiceIdentification,Contents", "contents"])  # fmt: skip
def test_getcapabilities_sections_are_valid_and_only_those_asked_for(client, sections):
    """Table 3 of 06-121r3; a section's name is matched as written."""
    answer = client.get(WMTS, params={"service": "WMTS", "request": "GetCapabilities", "sections": sections})
    if sections == "contents":
        assert told(answer) == (400, "InvalidParameterValue", "Sections")
        return
    document = etree.fromstring(answer.content)
    assert schema().validate(document), schema().error_log
    names = [etree.QName(e).localname for e in document if etree.QName(e).localname != "ServiceMetadataURL"]
    every = ["ServiceIdentification", "ServiceProvider", "OperationsMetadata", "Contents"]
    wanted = every if sections in ("", "All") else [s for s in every if s in sections.split(",")]
    assert names == wanted


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 200),
        ({"acceptversions": "1.0.0"}, 200),
        ({"acceptversions": "3.0.0,1.0.0"}, 200),
        ({"acceptversions": "1.1.0"}, "VersionNegotiationFailed"),
        ({"version": "9.9.9"}, 200),
        ({"updatesequence": ""}, 200),
        ({"acceptformats": "text/xml"}, 200),
        ({"acceptformats": "image/png"}, 200),
        ({"acceptlanguages": "fi"}, 200),
    ],
)
def test_version_negotiation(client, query, expected):
    """7.3.2 of 06-121r3: GetCapabilities is never refused for `version`, only for AcceptVersions without a match."""
    answer = client.get(WMTS, params={"service": "WMTS", "request": "GetCapabilities"} | query)
    if expected == 200:
        assert (answer.status_code, etree.fromstring(answer.content).get("version")) == (200, "1.0.0")
    else:
        assert told(answer)[:2] == (400, expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"request": "GetCapabilities"}, (400, "MissingParameterValue", "Service")),
        ({"service": "WMTS"}, (400, "MissingParameterValue", "Request")),
        ({"service": "WMS", "request": "GetCapabilities"}, (400, "InvalidParameterValue", "Service")),
        ({"service": "WMTS", "request": "GetNothing"}, (501, "OperationNotSupported", "GetNothing")),
        ({"service": "WMTS", "request": "GetTile"}, (400, "MissingParameterValue", "Version")),
    ],
)
def test_requests_that_name_no_operation(client, query, expected):
    """Table 25 of 06-121r3 for codes and locators; 07-057r7 table 20 for statuses."""
    assert told(client.get(WMTS, params=query)) == expected


def test_the_document_names_every_operation_and_binding_it_has(root):
    """Clause 8.1, 10.3 of 07-057r7: GetEncoding tells KVP from RESTful."""
    for name in ("GetCapabilities", "GetTile", "GetFeatureInfo"):
        operation = next(o for o in root.findall(".//o:Operation", N) if o.get("name") == name)
        assert {v.text for v in operation.findall(".//o:Value", N)} == {"KVP", "RESTful"}


def test_sets_are_numbered_scaled_and_linked_as_clause_6_words_it(root):
    """Scale denominators fall and belong to a pixel of 0.28 mm; each link has its set and each set its link."""
    links = {e.text for e in root.findall(".//w:TileMatrixSetLink/w:TileMatrixSet", N)}
    sets = {text(s, "o:Identifier"): s for s in root.findall("w:Contents/w:TileMatrixSet", N)}
    assert links == set(sets)
    for one in sets.values():
        scales = [float(e.text) for e in one.findall("w:TileMatrix/w:ScaleDenominator", N)]
        assert scales == sorted(scales, reverse=True)
        halves = [a / b for a, b in pairwise(scales)]
        assert halves == pytest.approx([2] * len(halves))
    first = float(text(sets["WebMercatorQuad"], "w:TileMatrix/w:ScaleDenominator"))
    assert first == pytest.approx(559082264.0287178, rel=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_both_bindings_give_one_tile_in_every_format_and_style(client, root, name):
    """Clauses 7.2.2, 10.2: equal tiles, of the format's type and the matrix's size."""
    layer = layer_of(root, name)
    for style in layer.findall("w:Style/o:Identifier", N):
        for media in (f.text for f in layer.findall("w:Format", N)):
            values = place(layer, 728, 1113, Style=style.text)
            rest, kvp = by_path(client, layer, values, media=media), by_pairs(client, values, Format=media)
            assert rest.status_code == kvp.status_code == 200
            assert rest.headers["content-type"] == kvp.headers["content-type"] == media
            assert rest.content == kvp.content


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("media", ["text/html", "application/json", "text/plain"])
def test_both_bindings_give_one_account_of_a_pixel_in_every_format(client, root, name, media):
    layer = layer_of(root, name)
    values = place(layer, 728, 1113, I="7", J="9")
    rest = by_path(client, layer, values, kind="FeatureInfo", media=media)
    kvp = by_pairs(client, values, operation="GetFeatureInfo", InfoFormat=media)
    assert rest.status_code == kvp.status_code == 200
    assert rest.headers["content-type"].split(";")[0] == kvp.headers["content-type"].split(";")[0] == media
    assert rest.content == kvp.content


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("change", "code", "locator"),
    [
        ({"Layer": "none"}, "InvalidParameterValue", "Layer"),
        ({"Style": "none"}, "InvalidParameterValue", "Style"),
        ({"TileMatrixSet": "none"}, "InvalidParameterValue", "TileMatrixSet"),
        ({"TileMatrix": "none"}, "InvalidParameterValue", "TileMatrix"),
        ({"TileMatrix": "-1"}, "InvalidParameterValue", "TileMatrix"),
        ({"TileRow": "99999"}, "TileOutOfRange", "TileRow"),
        ({"TileCol": "-5"}, "TileOutOfRange", "TileCol"),
        ({"TileRow": "1.5"}, "InvalidParameterValue", "TileRow"),
    ],
)
def test_a_wrong_value_has_one_code_in_both_bindings(client, root, name, change, code, locator):
    """Tables 20 and 24: 400 by pairs; an address that names nothing is 404."""
    layer = layer_of(root, name)
    values = place(layer, 728, 1113, **change)
    assert told(by_pairs(client, values)) == (400, code, locator)
    if "Layer" not in change:
        assert told(by_path(client, layer, values)) == (404, code, locator)


@pytest.mark.parametrize(
    "parameter", ["Layer", "Style", "TileMatrixSet", "TileMatrix", "TileRow", "TileCol", "Version", "Format"]
)
@pytest.mark.parametrize("operation", ["GetTile", "GetFeatureInfo"])
def test_every_mandatory_parameter_is_missed_by_its_name(client, root, parameter, operation):
    values = place(layer_of(root, "mosaic"), 728, 1113)
    asked = {"Service": "WMTS", "Request": operation, "Version": "1.0.0", "Format": "image/png", **values,
             "I": "0", "J": "0", "InfoFormat": "text/plain"}  # fmt: skip
    del asked[parameter]
    answer = client.get(WMTS, params=asked)
    if (operation, parameter) == ("GetFeatureInfo", "Format"):
        # The standard demands it, QGIS and GDAL leave it out.
        assert answer.status_code == 200
    else:
        assert told(answer) == (400, "MissingParameterValue", parameter)


@pytest.mark.parametrize(("i", "j", "code", "locator"), [("256", "0", "PointIJOutOfRange", "I"), ("0", "256", "PointIJOutOfRange", "J"),
                                                        ("x", "0", "InvalidParameterValue", "I")])  # fmt: skip
def test_a_pixel_outside_the_tile_is_refused_in_both_bindings(client, root, i, j, code, locator):
    """Table 30."""
    layer = layer_of(root, "mosaic")
    values = place(layer, 728, 1113, I=i, J=j)
    assert told(by_pairs(client, values, operation="GetFeatureInfo", InfoFormat="text/plain")) == (
        400,
        code,
        locator,
    )
    rest = by_path(client, layer, values, kind="FeatureInfo", media="text/plain")
    assert told(rest) == (404, code, locator)


def test_a_corner_of_the_matrix_without_data_is_a_tile_and_beyond_it_an_error(client, root):
    layer = layer_of(root, "mosaic")
    assert by_path(client, layer, place(layer, 0, 0)).status_code == 200
    assert by_pairs(client, place(layer, 2047, 2047)).status_code == 200
    assert told(by_pairs(client, place(layer, 2048, 0)))[1] == "TileOutOfRange"


def test_a_time_of_none_of_the_values_is_refused_in_both_bindings(client, root):
    layer = layer_of(root, "mosaic_time")
    values = place(layer, 728, 1113, Time="1980-01-01")
    assert told(by_pairs(client, values)) == (400, "InvalidParameterValue", "Time")
    assert told(by_path(client, layer, values)) == (404, "InvalidParameterValue", "Time")


def test_post_is_not_offered_and_entities_are_never_read(client):
    """The document offers Get alone; a body is refused unread."""
    body = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><GetTile>&x;</GetTile>'
    answer = client.post(WMTS, content=body, headers={"Content-Type": "text/xml"})
    assert answer.status_code == 405
    assert "root:" not in answer.text
