"""The further WMTS documents: every period, where pixels come from, every stage; and the default one's few periods."""

import shutil

import pytest
from fastapi.testclient import TestClient
from lxml import etree

from terrazzo.server.app import create_app
from terrazzo.server.settings import Settings
from terrazzo.server.wmts.offers import DOCUMENTS

WMTS = "/mosaics/mosaic/wmts"
N = {
    "w": "http://www.opengis.net/wmts/1.0",
    "o": "http://www.opengis.net/ows/1.1",
    "x": "http://www.w3.org/1999/xlink",
}
HREF = f"{{{N['x']}}}href"


def entries(root):
    """As QGIS counts them: style × format × matrix set × time."""
    count = 0
    for layer in root.findall("w:Contents/w:Layer", N):
        n = [len(layer.findall(f"w:{tag}", N)) for tag in ("Style", "Format", "TileMatrixSetLink")]
        count += n[0] * n[1] * n[2] * max(1, len(layer.findall("w:Dimension/w:Value", N)))
    return count


def read(client, path):
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) < 50_000
    return etree.fromstring(answer.content)


def ids(root):
    return [e.text for e in root.findall("w:Contents/w:Layer/o:Identifier", N)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_further_document_is_the_same_by_pairs_and_by_path_and_names_itself(client, name):
    path = f"{WMTS}/{name}/1.0.0/WMTSCapabilities.xml"
    by_pairs = client.get(f"{WMTS}/{name}?service=WMTS&request=GetCapabilities")
    assert by_pairs.content == client.get(path).content == client.get(f"{WMTS}/{name}").content
    root = read(client, path)
    assert root.find("w:ServiceMetadataURL", N).get(HREF).endswith(path)
    gets = {g.get(HREF) for g in root.findall(".//o:Get", N)}
    assert gets == {f"http://testserver{WMTS}/{name}?", f"http://testserver{WMTS}/{name}/1.0.0/"}
    assert 0 < entries(root) < 200


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_style_a_document_names_has_tiles_values_and_a_legend(client, name):
    for layer in read(client, f"{WMTS}/{name}").findall("w:Contents/w:Layer", N):
        for style in layer.findall("w:Style", N):
            legend = style.find("w:LegendURL", N)
            picture = client.get(legend.get(HREF))
            assert picture.content[16:24] == b"".join(
                int(legend.get(side)).to_bytes(4, "big") for side in ("width", "height")
            )
            values = {
                "Style": style.findtext("o:Identifier", namespaces=N), "TileMatrixSet": "WebMercatorQuad", "TileMatrix": 11,
                "TileRow": 728, "TileCol": 1113, "I": 7, "J": 9, "Time": layer.findtext("w:Dimension/w:Default", namespaces=N),
            }  # fmt: skip
            for url in layer.findall("w:ResourceURL", N):
                template = url.get("template")
                for key, value in values.items():
                    template = template.replace(f"{{{key}}}", str(value))
                answer = client.get(template)
                assert answer.status_code == 200, answer.text
                assert answer.headers["content-type"].startswith(url.get("format"))
        query = {
            "service": "WMTS", "request": "GetTile", "version": "1.0.0", "layer": layer.findtext("o:Identifier", namespaces=N),
            "style": "", "format": "image/png", **{k.lower(): v for k, v in values.items() if k.startswith("Tile")},
        }  # fmt: skip
        assert client.get(f"{WMTS}/{name}", params=query).headers["content-type"] == "image/png"


def test_the_documents_list_what_they_are_named_for(client):
    assert ids(read(client, WMTS)) == ["mosaic", "mosaic_time"]
    assert ids(read(client, f"{WMTS}/time")) == ["mosaic_time"]
    assert ids(read(client, f"{WMTS}/quality")) == ["mosaic_quality"]
    stages = read(client, f"{WMTS}/stages")
    assert ids(stages) == [f"mosaic_{s}" for s in ("raw", "mask", "corrected", "merged", "normalized")]


@pytest.mark.parametrize("stage", ["raw", "mask", "corrected", "merged", "normalized"])
def test_a_stages_layer_is_the_stages_tile(client, stage):
    style = "classes" if stage == "mask" else "natural"
    tile = client.get(f"{WMTS}/1.0.0/mosaic_{stage}/{style}/WebMercatorQuad/11/728/1113.png")
    plain = client.get(f"/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png?stage={stage}")
    assert tile.content == plain.content


def test_an_unknown_document_is_404_with_the_known_ones(client):
    answer = client.get(f"{WMTS}/nothing")
    assert (answer.status_code, "stages" in answer.json()["detail"]) == (404, True)


def test_many_periods_stay_few_in_the_default_document_and_below_200_in_the_time_document(
    sample_store, tmp_path
):
    import json

    store = tmp_path / "store"
    shutil.copytree(sample_store, store)
    lock = next(store.glob("mosaics/mosaic/versions/*/lock.json"))
    document = json.loads(lock.read_text())
    document["periods"] += [
        {"name": f"week {i}", "start": f"{2010 + i // 12}-{i % 12 + 1:02d}-01", "end": f"{2010 + i // 12}-{i % 12 + 1:02d}-07", "members": []}
        for i in range(150)
    ]  # fmt: skip
    lock.write_text(json.dumps(document))
    with TestClient(create_app(Settings(store=str(store)))) as client:
        root = read(client, WMTS)
        assert entries(root) <= 24
        times = [v.text for v in root.findall(".//w:Dimension/w:Value", N)]
        assert times == ["2023-08-10", "2022-06-01", "2022-05-01", "2022-04-01"]
        root = read(client, f"{WMTS}/time")
        assert 190 < entries(root) < 200
        assert root.findtext(".//w:Dimension/w:Default", namespaces=N) == "2023-08-10"
