"""What a folder of products becomes on the Python that runs this: `python -m tests.pixels PRODUCTS OUT`."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import rasterio
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from terrazzo.export.order import parse_order
from terrazzo.export.run import export
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.origin import ORIGINS
from terrazzo.server.app import create_app
from terrazzo.server.layers import LAYERS
from terrazzo.server.settings import Settings
from tests.chain import precompute

EXPORTS = {
    "plain.tif": {
        "bands": ["B02", "B08"],
        "extras": tuple(n for n, o in ORIGINS.items() if o.method is None),
    },
    "geomedian.tif": {"bands": ["B02", "B08"], "method": "geomedian", "extras": tuple(ORIGINS)},
    "warped.tif": {"crs": "EPSG:3857", "method": "robust", "dtype": "uint16", "extras": "none"},
    "laea.tif": {"crs": "EPSG:3035", "extras": "none"},
    "index.tif": {"expression": "(B08-B04)/(B08+B04)", "extras": "none"},
    "classes.tif": {"stage": "mask", "extras": "none"},
    "a.gpkg": {"format": "gpkg"},
    "a.mbtiles": {"format": "mbtiles"},
    "a.pmtiles": {"format": "pmtiles"},
}


def main(products: Path, out: Path) -> None:
    """Writes `version.txt` and `pixels.npz`: what exports (but PMTiles, which are MBTiles' tiles) and tiles hold, decoded, by their names."""
    done, _ = precompute(products, out / "store")
    assert done.version is not None
    (out / "version.txt").write_text(done.version.name)
    bounds = done.version.bounds
    found: dict[str, NDArray[np.generic]] = {}
    engine = Engine(done.version, Blocks())
    for name, asked in EXPORTS.items():
        list(export(engine, parse_order({"bbox": tuple(bounds), **asked}, done.version), out / name))
    for path in (*out.glob("*.tif"), *out.glob("*.gpkg"), *out.glob("*.mbtiles")):
        found[path.name] = _decoded(path)
    middle = ((bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2)
    with TestClient(create_app(Settings(store=str(out / "store"))), base_url="http://127.0.0.1") as client:
        zoom = client.get("/mosaics/mosaic/WebMercatorQuad/tilejson.json").json()["maxzoom"]
        col, row = (int(v) for v in _tile(*middle, zoom))
        for query in ("", "style=ndvi", *(f"style={name}" for name in LAYERS)):
            for form in ("png", "tif"):
                address = f"/mosaics/mosaic/tiles/WebMercatorQuad/{zoom}/{col}/{row}.{form}?{query}"
                answer = client.get(address)
                assert answer.status_code == 200, answer.text
                found[f"{form} {query}"] = _decoded(io.BytesIO(answer.content))
    np.savez(out / "pixels.npz", **found)  # type: ignore[arg-type]


def _decoded(file: Path | io.BytesIO) -> NDArray[np.generic]:
    with rasterio.open(file) as dataset:
        return dataset.read()


def _tile(lon: float, lat: float, zoom: int) -> tuple[float, float]:
    y = np.arcsinh(np.tan(np.radians(lat))) / np.pi
    return 2**zoom * (lon / 360 + 0.5), 2**zoom * (0.5 - y / 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(
        json.dumps(
            {"python": sys.version.split()[0], "numpy": np.__version__, "gdal": rasterio.__gdal_version__}
        )
    )
