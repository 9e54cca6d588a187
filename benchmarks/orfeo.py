"""Orfeo Toolbox's Mosaic, given scenes as files: `apt-get install otb-bin`."""

import subprocess
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray


def mosaic(folder: Path, scenes: NDArray[np.float32], transform: Affine) -> NDArray[np.float32]:
    """(band, row, col) Orfeo Toolbox's mosaic of scenes, harmonized by band and feathered; the last scene lies on top there."""
    folder = folder / "otb"
    folder.mkdir()
    profile = {
        "driver": "GTiff", "dtype": "float32", "count": scenes.shape[1], "height": scenes.shape[2], "width": scenes.shape[3],
        "crs": "EPSG:32633", "transform": transform, "nodata": 0.0,
    }  # fmt: skip
    names = [str(folder / f"{i}.tif") for i in range(len(scenes))]
    for name, scene in zip(names, scenes, strict=True):
        with rasterio.open(name, "w", **profile) as file:
            file.write(np.where(np.isfinite(scene), np.where(scene == 0, 1e-4, scene), 0))
    command = ["otbcli_Mosaic", "-il", *reversed(names), "-comp.feather", "large", "-harmo.method", "band"]
    command += ["-harmo.cost", "rmse", "-nodata", "0", "-distancemap.sr", "1"]
    command += ["-out", str(folder / "out.tif"), "float"]
    subprocess.run(command, check=True, capture_output=True)
    with rasterio.open(folder / "out.tif") as file:
        shown = file.read()
        left, top = map(round, ~transform * (file.transform.c, file.transform.f))
    # Its picture reaches two pixels further than its scenes.
    height, width = scenes.shape[2:]
    shown = shown[:, -top : height - top, -left : width - left]
    return np.where(shown == 0, np.nan, shown).astype(np.float32)
