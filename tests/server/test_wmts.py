"""WMTS as the standard words it (OGC 07-057r7): operations, exceptions, negotiation, time, limits."""

import re

import pytest
from lxml import etree

WMTS = "/mosaics/mosaic/wmts"
REST = f"{WMTS}/1.0.0"
N = {
    "w": "http://www.opengis.net/wmts/1.0",
    "o": "http://www.opengis.net/ows/1.1",
    "x": "http://www.w3.org/1999/xlink",
}
TILE = {
    "service": "WMTS",
    "request": "GetTile",
    "version": "1.0.0",
    "layer": "mosaic",
    "style": "natural",
    "format": "image/png",
    "tilematrixset": "WebMercatorQuad",
    "tilematrix": "11",
    "tilerow": "728",
    "tilecol": "1113",
}
INFO = TILE | {"request": "GetFeatureInfo", "i": "7", "j": "9", "infoformat": "application/json"}


def problem(answer):
    """Status, code and locator of an exception report."""
    exception = etree.fromstring(answer.content).find("o:Exception", N)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, exception.get("exceptionCode"), exception.get("locator")


def document(answer):
    assert answer.status_code == 200, answer.text
    return etree.fromstring(answer.content)


def test_kvp_and_rest_give_the_same_tile_and_the_same_document(client):
    assert client.get(WMTS, params=TILE).content == (
        client.get(f"{REST}/mosaic/natural/WebMercatorQuad/11/728/1113.png").content
    )
    query = {"service": "WMTS", "request": "GetCapabilities"}
    assert client.get(WMTS, params=query).content == client.get(f"{REST}/WMTSCapabilities.xml").content


def test_parameter_names_know_no_case_and_stray_separators_do_no_harm(client):
    assert client.get(f"{WMTS}??SERVICE=WMTS&&ReQuEsT=GetCapabilities&").status_code == 200
    odd = {k.upper() if i % 2 else k.title(): v for i, (k, v) in enumerate(TILE.items())}
    assert client.get(WMTS, params=odd | {"elevation": "3", "TRANSPARENT": "true"}).status_code == 200


def test_the_document_is_small_cached_and_lists_two_sets_and_few_entries(client):
    answer = client.get(f"{REST}/WMTSCapabilities.xml")
    assert len(answer.content) < 50_000
    # Packed, as the client takes it: so the ETag is weak.
    assert answer.headers["etag"].startswith("W/")
    again = client.get(f"{REST}/WMTSCapabilities.xml", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    root = document(answer)
    sets = root.findall("w:Contents/w:TileMatrixSet", N)
    assert [s.findtext("o:Identifier", namespaces=N) for s in sets] == ["WebMercatorQuad", "UTM33N"]
    entries = 0
    for layer in root.findall("w:Contents/w:Layer", N):
        count = [len(layer.findall(f"w:{tag}", N)) for tag in ("Style", "Format", "TileMatrixSetLink")]
        entries += count[0] * count[1] * count[2] * max(1, len(layer.findall("w:Dimension/w:Value", N)))
    assert entries <= 24


def test_every_legend_the_document_names_is_a_picture(client):
    root = document(client.get(f"{REST}/WMTSCapabilities.xml"))
    for legend in root.findall(".//w:LegendURL", N):
        answer = client.get(legend.get(f"{{{N['x']}}}href"))
        assert answer.headers["content-type"] == "image/png"


def test_tiles_at_the_limits_hold_data_and_those_beyond_none(client):
    root = document(client.get(f"{REST}/WMTSCapabilities.xml"))
    for link in root.find("w:Contents/w:Layer", N).findall("w:TileMatrixSetLink", N):
        name = link.findtext("w:TileMatrixSet", namespaces=N)
        limit = link.findall(".//w:TileMatrixLimits", N)[-2]
        zoom = limit.findtext("w:TileMatrix", namespaces=N)
        row0, row1, col0, col1 = (
            int(limit.findtext(f"w:{n}", namespaces=N))
            for n in ("MinTileRow", "MaxTileRow", "MinTileCol", "MaxTileCol")
        )

        def filled(rows, cols, name=name, zoom=zoom):
            tiles = (
                client.get(f"/mosaics/mosaic/tiles/{name}/{zoom}/{x}/{y}.npy?bands=B04")
                for y in rows
                for x in cols
            )
            import io

            import numpy as np

            return any(np.load(io.BytesIO(t.content))[1].any() for t in tiles)

        rows, cols = range(row0, row1 + 1), range(col0, col1 + 1)
        assert filled([row0], cols)
        assert filled([row1], cols)
        assert filled(rows, [col0])
        assert filled(rows, [col1])
        assert not filled([row0 - 1, row1 + 1], cols)
        assert not filled(rows, [col0 - 1, col1 + 1])


def test_the_origin_is_in_the_axis_order_of_its_coordinate_system(client):
    root = document(client.get(f"{REST}/WMTSCapabilities.xml"))
    corners = [s.findtext("w:TileMatrix/w:TopLeftCorner", namespaces=N).split() for s in
               root.findall("w:Contents/w:TileMatrixSet", N)]  # fmt: skip
    assert float(corners[0][0]) == pytest.approx(-20037508.3427892)
    assert float(corners[0][1]) == pytest.approx(20037508.3427892)
    assert float(corners[1][0]) == 0  # easting first in EPSG:32633
    assert float(corners[1][1]) > 5_130_000


@pytest.mark.parametrize("name", ["layer", "style", "format", "tilematrixset", "tilematrix", "tilerow", "tilecol"])  # fmt: skip
def test_a_missing_parameter_is_named(client, name):
    query = {k: v for k, v in TILE.items() if k != name}
    status, code, locator = problem(client.get(WMTS, params=query))
    assert (status, code, locator.lower()) == (400, "MissingParameterValue", name)


@pytest.mark.parametrize(
    ("change", "code", "locator"),
    [
        ({"service": "WMS"}, "InvalidParameterValue", "Service"),
        ({"version": "2.0.0"}, "InvalidParameterValue", "Version"),
        ({"layer": "nothing"}, "InvalidParameterValue", "Layer"),
        ({"style": "neon"}, "InvalidParameterValue", "Style"),
        ({"format": "image/gif"}, "InvalidParameterValue", "Format"),
        ({"tilematrixset": "Moon"}, "InvalidParameterValue", "TileMatrixSet"),
        ({"tilematrix": "77"}, "InvalidParameterValue", "TileMatrix"),
        ({"tilematrix": "x"}, "InvalidParameterValue", "TileMatrix"),
        ({"tilerow": "one"}, "InvalidParameterValue", "TileRow"),
        ({"tilerow": "2048"}, "TileOutOfRange", "TileRow"),
        ({"tilecol": "-1"}, "TileOutOfRange", "TileCol"),
    ],
)
def test_a_wrong_value_gets_its_code_and_locator(client, change, code, locator):
    assert problem(client.get(WMTS, params=TILE | change)) == (400, code, locator)


def test_an_unknown_operation_is_501_with_its_name(client):
    answer = client.get(WMTS, params=TILE | {"request": "GetMap"})
    assert problem(answer) == (501, "OperationNotSupported", "GetMap")


def test_in_rest_an_address_that_names_nothing_is_404_with_a_report(client):
    for path in (
        "mosaic/natural/WebMercatorQuad/11/2048/1113.png",
        "mosaic/neon/WebMercatorQuad/11/728/1113.png",
        "mosaic/natural/WebMercatorQuad/11/728/1113.gif",
        "mosaic_time/natural/1999-01-01/WebMercatorQuad/11/728/1113.png",
    ):
        assert problem(client.get(f"{REST}/{path}"))[0] == 404


def test_version_negotiation_sections_formats_and_update_sequence(client):
    query = {"service": "WMTS", "request": "GetCapabilities"}
    answer = client.get(WMTS, params=query | {"acceptversions": "2.0.0,1.5.0"})
    assert problem(answer) == (400, "VersionNegotiationFailed", None)
    assert client.get(WMTS, params=query | {"acceptversions": "2.0.0,1.0.0"}).status_code == 200
    root = document(client.get(WMTS, params=query | {"sections": "ServiceProvider,Contents"}))
    tags = [etree.QName(e).localname for e in root]
    assert tags == ["ServiceProvider", "Contents", "ServiceMetadataURL"]
    wrong = client.get(WMTS, params=query | {"sections": "Everything"})
    assert problem(wrong) == (400, "InvalidParameterValue", "Sections")
    text = client.get(WMTS, params=query | {"acceptformats": "application/pdf,text/xml"})
    assert text.headers["content-type"].startswith("text/xml")
    current = root.get("updateSequence")
    assert len(document(client.get(WMTS, params=query | {"updatesequence": current}))) == 0
    assert len(document(client.get(WMTS, params=query | {"updatesequence": "0"}))) > 2
    newer = client.get(WMTS, params=query | {"updatesequence": "zzz"})
    assert problem(newer) == (400, "InvalidUpdateSequence", None)


@pytest.mark.parametrize("time", ["2023-08-10", "2023-08-15T09:58:11Z", "2023-08", "2023", "all", "", None])
def test_any_moment_day_month_or_year_inside_a_period_and_its_name_mean_the_period(client, time):
    query = TILE | {"layer": "mosaic_time"} | ({} if time is None else {"time": time})
    assert "period=all" in client.get(WMTS, params=query).headers["x-terrazzo-request"]


@pytest.mark.parametrize("time", ["1999-01-01", "2022", "yesterday", "2023-08-10/2023-08-12", "2023-13"])  # fmt: skip
def test_any_other_time_is_refused(client, time):
    answer = client.get(WMTS, params=TILE | {"layer": "mosaic_time", "time": time})
    assert problem(answer) == (400, "InvalidParameterValue", "Time")


def test_the_time_layer_offers_plain_dates_and_a_default_among_them(client):
    root = document(client.get(f"{REST}/WMTSCapabilities.xml"))
    time = root.find(".//w:Dimension", N)
    values = [v.text for v in time.findall("w:Value", N)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", v) for v in values)
    assert time.findtext("w:Default", namespaces=N) in values


def test_feature_info_is_the_value_of_the_pixel_asked_for(client):
    import io

    import numpy as np

    found = client.get(WMTS, params=INFO).json()["features"][0]
    pixels = np.load(io.BytesIO(
        client.get("/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.npy?bands=B04,B03,B02").content
    ))  # fmt: skip
    values = [found["properties"][b] for b in ("B04", "B03", "B02")]
    assert values == pytest.approx((pixels[:3, 9, 7] * 1e-4).tolist(), abs=1e-6)
    html = client.get(WMTS, params={k: v for k, v in INFO.items() if k not in ("format", "infoformat")})
    assert html.headers["content-type"].startswith("text/html")
    assert client.get(WMTS, params=INFO | {"infoformat": "text/plain"}).text.startswith("B04: ")


@pytest.mark.parametrize(
    ("change", "code", "locator"),
    [
        ({"i": "256"}, "PointIJOutOfRange", "I"),
        ({"j": "-1"}, "PointIJOutOfRange", "J"),
        ({"j": "mid"}, "InvalidParameterValue", "J"),
        ({"i": ""}, "MissingParameterValue", "I"),
        ({"infoformat": "image/png"}, "InvalidParameterValue", "InfoFormat"),
    ],
)
def test_feature_info_outside_the_tile_or_of_no_format_is_refused(client, change, code, locator):
    assert problem(client.get(WMTS, params=INFO | change)) == (400, code, locator)


CHANGE = {"datetime": "2023-08-18", "baseline": "2023-08-13", "method": "first"}


def test_what_tiles_take_wmts_takes_too(client):
    tile = client.get(
        "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png", params=CHANGE | {"style": "natural"}
    )
    assert tile.status_code == 200
    assert client.get(WMTS, params=TILE | CHANGE).content == tile.content
    assert client.get(WMTS, params=TILE | {k.upper(): v for k, v in CHANGE.items()}).content == tile.content
    assert (
        client.get(f"{REST}/mosaic/natural/WebMercatorQuad/11/728/1113.png", params=CHANGE).content
        == tile.content
    )
    assert client.get(WMTS, params=TILE).content != tile.content


def test_expressions_go_with_the_default_style(client):
    asked = {"expression": "(B08-B04)/(B08+B04)"}
    tile = client.get("/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png", params=asked)
    assert client.get(WMTS, params=TILE | asked | {"style": "default"}).content == tile.content
    assert problem(client.get(WMTS, params=TILE | asked)) == (400, "InvalidParameterValue", None)


@pytest.mark.parametrize(
    ("asked", "locator"),
    [
        ({"baseline": "1999"}, None),
        ({"layer": "mosaic_raw", "stage": "merged"}, "stage"),
        ({"layer": "mosaic_time", "datetime": "1999"}, None),
        ({"layer": "mosaic_time", "time": "2023", "datetime": "2023-08-13"}, "datetime"),
    ],
)
def test_what_a_layer_cannot_be_asked_is_reported(client, asked, locator):
    assert problem(client.get(WMTS, params=TILE | asked)) == (400, "InvalidParameterValue", locator)


def test_a_change_can_be_asked_what_lies_under_a_pixel(client):
    query = (
        TILE | CHANGE | {"request": "GetFeatureInfo", "i": "100", "j": "90", "infoformat": "application/json"}
    )
    (feature,) = client.get(WMTS, params=query).json()["features"]
    assert feature["properties"]["change of B04"] == feature["properties"]["change"][0]
    assert feature["properties"]["baseline"]["datetime"].startswith("2023-08-13")


def test_a_document_asked_with_parameters_of_tiles_has_them_in_every_address_of_tiles(client):
    root = document(client.get(f"{REST}/WMTSCapabilities.xml", params={"baseline": "2023-08-13"}))
    addresses = [e.get("template") for e in root.iter(f"{{{N['w']}}}ResourceURL")]
    addresses += [e.get("{http://www.w3.org/1999/xlink}href") for e in root.iter(f"{{{N['o']}}}Get")]
    addresses = [a for a in addresses if not a.endswith("/1.0.0/")]
    assert len(addresses) > 4
    assert all("?baseline=2023-08-13" in a for a in addresses)
    assert problem(client.get(f"{REST}/WMTSCapabilities.xml?baseline=1999"))[1] == "InvalidParameterValue"
