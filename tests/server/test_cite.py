"""A version is cited by what determines its pixels."""

import re

import yaml

from tests.conftest import ROOT


def test_a_version_is_cited_in_text_and_bibtex_with_its_hash(client):
    version = client.get("/mosaics/mosaic").json()["terrazzo:version"]
    address = f"/mosaics/mosaic/versions/{version}/cite"
    told = client.get(address).json()
    assert re.fullmatch(r"[0-9a-f]{32}", told["hash"])
    for part in (
        version,
        told["hash"],
        "10 scenes",
        "Contains modified Copernicus Sentinel data 2023",
        address[:-5],
    ):
        assert part in told["text"]
        assert part in told["bibtex"]
    assert client.get(f"{address}?f=text").text == told["text"]
    bibtex = client.get(f"{address}?f=bibtex")
    assert bibtex.headers["content-type"].startswith("application/x-bibtex")
    assert bibtex.text == told["bibtex"]
    assert bibtex.text.count("{") == bibtex.text.count("}")
    assert client.get(f"{address}?f=ris").status_code == 400
    assert client.get("/mosaics/mosaic/versions/000000000000/cite").status_code == 404


def test_the_software_says_how_it_is_cited():
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version"} <= set(told)
    assert f'version = "{told["version"]}"' in (ROOT / "pyproject.toml").read_text()
