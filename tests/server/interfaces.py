"""Every way to ask a mosaic, for the tests of the one request language."""

import re

from click.testing import CliRunner
from lxml import etree
from morecantile import tms

from terrazzo.cli import cli
from terrazzo.client import Client
from terrazzo.errors import TerrazzoError

LON, LAT = 15.0013, 46.0452
"""A place that both scenes of the golden store show."""
BOX = (15.004, 46.048, 15.008, 46.052)
TILE = tms.get("WebMercatorQuad").tile(LON, LAT, 14)
SQUARE = [[15.004, 46.048], [15.008, 46.048], [15.008, 46.052], [15.004, 46.052], [15.004, 46.048]]
FEATURE = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [SQUARE]}}
MOSAIC = "/mosaics/mosaic"
PAIRS = {
    **{"service": "WMTS", "request": "GetTile", "version": "1.0.0", "layer": "mosaic", "style": "default"},
    **{"format": "image/png", "tilematrixset": "WebMercatorQuad", "tilematrix": str(TILE.z)},
    **{"tilerow": str(TILE.y), "tilecol": str(TILE.x)},
}


class Interfaces:
    """Every way to ask; each gives the request as it was understood, or `refused: ` and why."""

    def __init__(self, http, store):
        self.http, self.store = http, store
        self.client = Client("http://127.0.0.1")
        self.client._http.close()
        self.client._http = http

    def tile(self, asked):
        return self._header(f"{MOSAIC}/tiles/WebMercatorQuad/{TILE.z}/{TILE.x}/{TILE.y}.png", asked)

    def box(self, asked):
        return self._header(f"{MOSAIC}/bbox/{','.join(map(str, BOX))}/8x8.png", asked)

    def point(self, asked):
        return self._json("GET", f"{MOSAIC}/point/{LON},{LAT}", lambda d: d["request"], params=asked)

    def explain(self, asked):
        found = self._json("GET", f"{MOSAIC}/explain/{LON},{LAT}", lambda d: d, params={**asked, "f": "json"})
        if isinstance(found, str):
            return found
        # An account tells of bands; what is computed of them, the other interfaces say.
        more = [f"&expression={asked['expression']}"] if asked.get("expression") else []
        more += [f"&baseline={asked['baseline']}"] if asked.get("baseline") else []
        return found["request"] + "".join(more)

    def dates(self, asked):
        near = f"{LON - 2e-4:.4f} {LAT - 2e-4:.4f} {LON + 2e-4:.4f} {LAT + 2e-4:.4f}"
        return self._json("GET", f"{MOSAIC}/dates/{near}", lambda d: d["request"], params=asked)

    def scenes(self, asked):
        return self._json("GET", f"{MOSAIC}/scenes", lambda d: None, params=asked)

    def tilejson(self, asked):
        def shown(document):
            address = document["tiles"][0].replace("http://127.0.0.1", "")
            for name in "zxy":
                address = address.replace(f"{{{name}}}", str(getattr(TILE, name)))
            return self._header(address, {})

        return self._json("GET", f"{MOSAIC}/WebMercatorQuad/tilejson.json", shown, params=asked)

    def gdal(self, asked):
        answer = self.http.get(f"{MOSAIC}/gdal.xml", params=asked)
        if answer.status_code != 200:
            return f"refused: {answer.json()['detail']}"
        return etree.fromstring(answer.content).findtext("Metadata/MDI[@key='TERRAZZO_REQUEST']")

    def wmts(self, asked):
        return self._header(f"{MOSAIC}/wmts", {**PAIRS, **asked})

    def wmts_upper(self, asked):
        return self._header(f"{MOSAIC}/wmts", {k.upper(): v for k, v in {**PAIRS, **asked}.items()})

    def wmts_path(self, asked):
        path = f"{MOSAIC}/wmts/1.0.0/mosaic/default/WebMercatorQuad/{TILE.z}/{TILE.y}/{TILE.x}.png"
        return self._header(path, asked)

    def export(self, asked):
        body = {"bbox": BOX, **asked, "dry_run": True}
        return self._json("POST", f"{MOSAIC}/exports", lambda d: d["request"], json=body)

    def command(self, asked):
        given = [w for k, v in asked.items() for w in (f"--{k.replace('_', '-')}", v)]
        command = ["export", "--store", self.store, "--bbox", *map(str, BOX), "--dry-run", *given]
        done = CliRunner().invoke(cli, command)
        if done.exit_code:
            return f"refused: {done.output.strip().removeprefix('Error: ')}"
        return done.output.strip().splitlines()[-1]

    def statistics(self, asked):
        path = f"{MOSAIC}/statistics"
        return self._json("POST", path, lambda d: d["properties"]["request"], params=asked, json=FEATURE)

    def table(self, asked):
        body = {"features": [FEATURE], **asked}
        path = f"{MOSAIC}/exports/statistics"
        return self._json(
            "POST", path, lambda d: self.http.delete(f"{MOSAIC}/exports/{d['jobID']}") and None, json=body
        )

    def python(self, asked):
        try:
            return self.client.point(LON, LAT, **asked)["request"]
        except TerrazzoError as error:
            return f"refused: {error}"

    def picture(self, asked, form="png"):
        """The bytes of a tile, and the same by endpoint."""
        path = f"{MOSAIC}/tiles/WebMercatorQuad/{TILE.z}/{TILE.x}/{TILE.y}.{form}"
        document = self.http.get(f"{MOSAIC}/WebMercatorQuad/tilejson.json", params=asked).json()
        address = document["tiles"][0].replace("http://testserver", "").replace(".png", f".{form}")
        for name in "zxy":
            address = address.replace(f"{{{name}}}", str(getattr(TILE, name)))
        # WMTS has a style itself, and classes are a layer of it.
        style = asked.get("style", "default")
        beside = {k: v for k, v in asked.items() if k != "style"}
        pairs = {**PAIRS, "style": style, "format": {"png": "image/png", "jpg": "image/jpeg"}[form]}
        wmts = f"{MOSAIC}/wmts/1.0.0/mosaic/{style}/WebMercatorQuad/{TILE.z}/{TILE.y}/{TILE.x}.{form}"
        return self.http.get(path, params=asked).content, {
            "tilejson": self.http.get(address).content,
            "wmts": self.http.get(f"{MOSAIC}/wmts", params={**pairs, **beside}).content,
            "wmts_path": self.http.get(wmts, params=beside).content,
            "python": self.client.tile(TILE.z, TILE.x, TILE.y, form=form, **asked),
        }

    def _json(self, method, path, value, **options):
        answer = self.http.request(method, path, **options)
        if answer.status_code >= 400:
            return f"refused: {answer.json()['detail']}"
        return value(answer.json())

    def _header(self, path, asked):
        answer = self.http.get(path, params=asked) if asked else self.http.get(path)
        if answer.status_code == 200:
            return re.sub(r"^mosaic=\w+&version=\w+&", "", answer.headers["x-terrazzo-request"])
        if answer.headers["content-type"].startswith("application/xml"):
            return f"refused: {''.join(etree.fromstring(answer.content).itertext())}"
        return f"refused: {answer.json()['detail']}"
