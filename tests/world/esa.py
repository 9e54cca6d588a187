"""A product of the sample as ESA delivers it: JP2 in tiles, 1000 added to the numbers, an Item of Copernicus' kind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from terrazzo.precompute import sample
from tests.world.jp2 import write_jp2

ONE, GRANULE = "S2B_33TWL_20230813_0_L2A", "T33TWL_20230813T095559"
TILE = 64
NAMES = {
    "B02": "B02_10m", "B03": "B03_10m", "B04": "B04_10m", "B08": "B08_10m", "SCL": "SCL_20m", "CLDPRB": "CLDPRB_20m",
    "DETFOO": "DETFOO_B02",
}  # fmt: skip
KEYS = {"CLDPRB": "cloud", "DETFOO": "detector_footprint"}


def product_in_jp2(folder: Path, root: str, *, index: bool = True) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The Item of a product, its files at an address; and these by name.

    Args:
        folder: a scratch folder.
        index: with a list of the tile-parts (TLM).
    """
    files = dict[str, bytes]()
    for role, name in NAMES.items():
        with rasterio.open(sample.path() / ONE / f"{role}.tif") as image:
            # Half a pixel east they lie on the store's, so that nothing is resampled.
            values, corner = image.read(1), (image.bounds.left + 60, image.bounds.top)
        if role.startswith("B"):
            values = np.where(values > 0, values + 1000, 0).astype(np.uint16)
        path = folder / "image.jp2"
        write_jp2(path, values, metres=120, tile=TILE, index=index, corner=corner)
        files[f"{GRANULE}_{name}.jp2"] = path.read_bytes()
    files["MTD_TL.xml"] = (sample.path() / ONE / "granule_metadata.xml").read_bytes()
    assets: dict[str, Any] = {
        KEYS.get(role, name): {
            "href": f"{root}/{GRANULE}_{name}.jp2",
            "file:size": len(files[f"{GRANULE}_{name}.jp2"]),
        }
        for role, name in NAMES.items()
    }
    assets["granule_metadata"] = {"href": f"{root}/MTD_TL.xml"}
    item = json.loads((sample.path() / f"{ONE}.json").read_text())
    properties = {k: v for k, v in item["properties"].items() if not k.startswith("earthsearch:")}
    return {**item, "properties": properties, "assets": assets}, files
