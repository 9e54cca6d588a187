"""What it costs to make scenes of whole products: `python -m benchmarks.product FOLDER [--level L2A] [--count 3]`.

Writes SAFE folders of 10980 × 10980 px with JP2 images (once; about 1 GB each, two minutes) and makes scenes of them with
`terrazzo precompute --only strips`. Prints CPU seconds a product and the most memory a process held; `--decode` what reading
the same images takes alone.
"""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import rasterio
from rasterio.transform import from_origin

from benchmarks.land import PERIOD, clouds, fractal, paint
from terrazzo.bands import BANDS
from terrazzo.grid import PixelBox
from tests.world.land import Place
from tests.world.products import granule_metadata
from tests.world.sky import View

SIDE_M, LEFT, TOP, EPSG, TILE = 109_800, 300_000, 5_100_000, 32633, "33TUL"
SPECTRA = {
    "B01": (900, 1300, 850), "B02": (800, 1300, 700), "B03": (750, 1350, 500), "B04": (500, 1800, 320),
    "B05": (900, 2000, 280), "B06": (2200, 2200, 240), "B07": (2900, 2300, 230), "B08": (2900, 2400, 180),
    "B8A": (3200, 2600, 150), "B09": (1100, 900, 60), "B10": (12, 14, 8), "B11": (1500, 2900, 60), "B12": (700, 2300, 40),
}  # fmt: skip
"""Counts at the top of the atmosphere of the greenest parcel, the barest parcel and water."""
GROUND = {"B01": 650, "B02": 500, "B03": 300, "B04": 180, "B05": 120}
"""Counts by which the air brightens, taken away for L2A."""


def write_safe(folder: Path, level: str, number: int, side_m: int = SIDE_M) -> Path:
    """Writes a product, or returns the one that is there.

    Args:
        level: `L1C` or `L2A`.
        number: day of June 2023 on which it was taken.
        side_m: side of the product in metres; a multiple of 60.
    """
    when = f"202306{number:02d}T100031"
    name = f"S2A_MSI{level}_{when}_N0509_R122_T{TILE}_{when}"
    safe = folder / f"{name}.SAFE"
    if (safe / f"MTD_MSI{level}.xml").exists():
        return safe
    root = safe / f"GRANULE/{level}_T{TILE}_A041000_{when}"
    (root / "QI_DATA").mkdir(parents=True, exist_ok=True)
    texture = fractal(PERIOD, 1)
    pixels = side_m // 20
    classes = clouds((pixels, pixels), (0, 0), 0.2, number, texture)
    place = Place(
        TILE, EPSG, PixelBox(-TOP // 10, LEFT // 10, (side_m - TOP) // 10, (LEFT + side_m) // 10), 10, 512
    )
    view = View(width=27_000)
    (root / "MTD_TL.xml").write_text(granule_metadata(place, view, tuple(SPECTRA)))
    across = (np.arange(pixels) * 20 + 4000) // int(view.width) + 1
    _write(
        root / "QI_DATA/MSK_DETFOO_B02.jp2", np.tile(across.astype(np.uint8)[None], (pixels, 1)), 20, "uint8"
    )
    for band, spectrum in SPECTRA.items():
        if level == "L2A" and band == "B10":
            continue
        metres = BANDS[band].resolution
        images = root / "IMG_DATA" / (f"R{metres}m" if level == "L2A" else "")
        images.mkdir(parents=True, exist_ok=True)
        side = side_m // metres
        values = np.empty((side, side), np.int16)
        air = GROUND.get(band, 0) if level == "L2A" else 0
        ground = tuple(max(v - air, 20) for v in spectrum)
        factor = 20 // metres if metres < 20 else 1
        small = classes if metres <= 20 else classes[1::3, 1::3]
        paint(values, 0, 0, texture, small, factor, ground, 12.0, number, 1.0, 1000.0, 0.0)
        suffix = f"_{metres}m" if level == "L2A" else ""
        _write(images / f"T{TILE}_{when}_{band}{suffix}.jp2", values.astype(np.uint16), metres, "uint16")
    if level == "L2A":
        scl = np.array([0, 4, 6, 11, 9, 10, 3], np.uint8)[classes]
        _write(root / f"IMG_DATA/R20m/T{TILE}_{when}_SCL_20m.jp2", scl, 20, "uint8")
    offset = "RADIO_ADD_OFFSET" if level == "L1C" else "BOA_ADD_OFFSET"
    (safe / f"MTD_MSI{level}.xml").write_text(
        f"<User_Product>{''.join(f'<{offset}>-1000</{offset}>' for _ in range(13))}</User_Product>"
    )
    return safe


def _write(path: Path, values: np.ndarray, metres: int, dtype: str) -> None:
    profile = {
        "driver": "JP2OpenJPEG", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": dtype,
        "crs": f"EPSG:{EPSG}", "transform": from_origin(LEFT, TOP, metres, metres), "QUALITY": "100",
        "REVERSIBLE": "YES",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values, 1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--level", type=click.Choice(["L1C", "L2A"]), default="L1C", show_default=True)
@click.option("--count", default=1, show_default=True, help="products")
@click.option("--bands", default="B02,B03,B04,B05,B06,B07,B08,B8A,B11,B12", show_default=True)
@click.option("--workers", default=1, show_default=True)
@click.option("--decode", is_flag=True, help="also time reading the images alone")
def main(folder: Path, level: str, count: int, bands: str, workers: int, decode: bool) -> None:
    """Make scenes of products and print what it cost."""
    products = folder / level
    for number in range(1, count + 1):
        click.echo(write_safe(products, level, number).name)
    store = folder / f"store-{level}"
    shutil.rmtree(store, ignore_errors=True)
    arguments = ["--bands", bands, "--only", "strips", "--workers", str(workers)]
    start = time.monotonic()
    subprocess.run(
        [Path(sys.executable).with_name("terrazzo"), "precompute", products, "--store", store, *arguments],
        check=True,
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    click.echo(
        f"{count} {level} products, {len(bands.split(','))} bands, {workers} workers: {cpu / count:.0f} CPU-s a product,"
        f" {time.monotonic() - start:.0f} s in all, at most {used.ru_maxrss / 1e6:.2f} GB a process"
    )
    if decode:
        started = time.process_time()
        for path in sorted(products.rglob("*.jp2")):
            with rasterio.open(path) as dataset:
                dataset.read(1)
        click.echo(f"reading its images alone: {(time.process_time() - started) / count:.0f} CPU-s a product")


if __name__ == "__main__":
    main()
