"""Makes this folder from the owners' collection of test data: `python -m tests.data.make FOLDER`.

FOLDER holds `imagery/`, `labelled/` and `radiative_transfer/` (README.md says where each comes from). Files keep their names and
places, so that code which is trained on the whole collection reads this part of it alike. Rasters are compressed anew without loss.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd
import rasterio.shutil

HERE = Path(__file__).parent
METADATA = "imagery/metadata"
COPIED = (
    f"{METADATA}/L1C_N0301_S2A_46RER_20210908_MTD_MSIL1C.xml",
    f"{METADATA}/L1C_N0301_S2A_46RER_20210908_MTD_TL.xml",
    f"{METADATA}/L1C_N0400_S2B_32UPC_20220615_MTD_MSIL1C.xml",
    f"{METADATA}/L2A_N0212_S2A_07HFE_20190212_MTD_MSIL2A.xml",
    f"{METADATA}/L2A_N0509_S2A_01KAB_20230821_MTD_MSIL2A.xml",
    f"{METADATA}/stac_*_item*.json",
    f"{METADATA}/stac_planetarycomputer_9items_one_pass.geojson",
    "imagery/scene_l1c_31TDH_native/*_B*.jp2",
    "imagery/timeseries_l2a_31UES_10m/*.nc",
    "imagery/reference_spectra/ecostress_snow_mixtures_S2A.csv",
    "radiative_transfer/*.csv",
)
RASTERS = ("labelled/terramind/S2L*.tif", "imagery/stack_l1c_slovenia_10m/S2A_*.tif")
SPECTRA = "imagery/reference_spectra/earthlib_surface_reflectance_S2A.csv"
"""Of these only vegetation and soil, and the bands that the aerosol retrieval sees."""
SEEN = ["LEVEL_2", "B02", "B04", "B08", "B8A", "B09", "B12"]


def main(source: Path) -> None:
    """Writes every file of this folder but the Python and the README."""
    for pattern in (*COPIED, *RASTERS):
        for path in sorted(source.glob(pattern)):
            target = HERE / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            if pattern in RASTERS:
                how = {"compress": "zstd", "zstd_level": 22, "predictor": 2, "interleave": "band"}
                rasterio.shutil.copy(path, target, driver="GTiff", **how)
            else:
                shutil.copyfile(path, target)
    spectra = pd.read_csv(source / SPECTRA)
    kept = spectra[spectra.LEVEL_2.isin(("vegetation", "bare"))][SEEN]
    kept.to_csv(HERE / f"{SPECTRA}.gz", index=False, compression={"method": "gzip", "mtime": 1})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
