"""A band, a format, an index style: each is one entry of one table, which all rooms read."""

import ast
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terrazzo.bands import BANDS, BY_COMMON_NAME, DEFAULT_BANDS, FOUR, STYLES, Style
from terrazzo.expression import meant
from terrazzo.formats import FORMATS, Format, format_of, media_of_file, offered
from terrazzo.request.parameters import EXPORT, TABULATED
from tests.conftest import ROOT
from tests.test_recipes import recipe

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728"
OWN_ORDER = {"terrazzo/bands.py", "precompute/clouds/model.py", "precompute/correct/brdf.py"}
"""Where bands are listed for another reason: the order that a model was trained in, measured coefficients."""


def sources() -> list[Path]:
    """The modules of the three packages."""
    return [p for part in ("terrazzo", "precompute", "server") for p in sorted((ROOT / part).rglob("*.py"))]


def test_bands_are_listed_in_one_place():
    listed = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict | ast.Tuple | ast.List | ast.Set):
                members = node.keys if isinstance(node, ast.Dict) else node.elts
                members = [*members, *node.values] if isinstance(node, ast.Dict) else members
                names = {m.value for m in members if isinstance(m, ast.Constant)}
                if len(names & set(BANDS)) > 6:
                    listed.add(str(path.relative_to(ROOT)))
    assert listed <= OWN_ORDER


def test_the_bands_of_a_store_follow_from_their_resolution():
    assert FOUR == ("B02", "B03", "B04", "B08")
    assert DEFAULT_BANDS == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


def test_every_common_name_leads_to_its_band():
    assert len(BY_COMMON_NAME) == sum(1 + len(b.also) for b in BANDS.values())
    assert all(f"did you mean {band}?" in meant(name, tuple(BANDS)) for name, band in BY_COMMON_NAME.items())


def test_every_interface_has_the_formats_of_the_table():
    assert EXPORT["format"].choices == (*offered("export"), "zarr")
    assert TABULATED["format"].choices == tuple(offered("table"))
    endings = [e for f in FORMATS.values() for e in (f.name, *f.aliases)]
    assert len(endings) == len(set(endings))
    assert format_of("JPEG", "tile") == format_of("image/jpeg", "wmts") == FORMATS["jpg"]
    assert format_of("webp", "wmts") is None
    assert media_of_file("forest_2023.gpkg") == FORMATS["gpkg"].media


@pytest.mark.parametrize("name", [n for n, f in offered("tile").items() if f.is_picture])
def test_a_tile_of_each_format_of_pictures_is_one(client, name):
    answer = client.get(f"{TILE}.{name}")
    assert answer.headers["content-type"] == FORMATS[name].media
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == (FORMATS[name].driver, (256, 256))


def test_a_new_format_of_pictures_is_the_row_of_its_recipe(client, monkeypatch):
    (row,) = recipe("a format")
    new = eval(row, {"Format": Format})
    assert new.name == "bmp"
    monkeypatch.setitem(FORMATS, "bmp", new)
    answer = client.get(f"{TILE}.bmp")
    assert answer.headers["content-type"] == "image/bmp"
    ours = np.asarray(Image.open(io.BytesIO(answer.content)), int)
    lossless = np.asarray(Image.open(io.BytesIO(client.get(f"{TILE}.png").content)).convert("RGBA"), int)
    seen = lossless[..., 3] == 255
    assert seen.any()
    assert (ours[seen] == lossless[seen][:, :3]).all()
    links = client.get("/mosaics/mosaic/tiles/WebMercatorQuad").json()["links"]
    assert "image/bmp" in {link["type"] for link in links}


def test_a_new_index_style_is_one_entry(client, monkeypatch):
    new = Style(
        "gndvi", "Green vegetation index", ("B08", "B03"), "(B08-B03)/(B08+B03)", (-0.2, 0.9), "rdylgn"
    )
    monkeypatch.setitem(STYLES, "gndvi", new)
    tile = client.get(f"{TILE}.png", params={"style": "gndvi"})
    assert tile.status_code == 200
    named = {"expression": new.expression, "colormap_name": "rdylgn", "rescale": "-0.2,0.9"}
    assert client.get(f"{TILE}.png", params=named).content == tile.content
    assert client.get("/mosaics/mosaic/legend/gndvi.png").status_code == 200
    wmts = {"service": "WMTS", "request": "GetTile", "version": "1.0.0", "layer": "mosaic", "style": "gndvi"}
    wmts |= {"format": "image/png", "tilematrixset": "WebMercatorQuad", "tilematrix": "11"}
    answer = client.get("/mosaics/mosaic/wmts", params={**wmts, "tilerow": "728", "tilecol": "1113"})
    assert answer.content == tile.content
