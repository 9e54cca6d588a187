"""What the masks of a whole tile cost a small scene: `python -m benchmarks.quality [--side 10980] [--pixels 30]`.

Writes the masks of a product (QUALIT of four bands, eight layers each, and DETFOO, as JP2) and reads them for a small window: the part
that is needed, and all of it, of which the same part is cut. Prints CPU seconds of both and fails where their pixels differ. Third,
what is read where the metadata say that nothing is degraded.
"""

import tempfile
import time
from pathlib import Path

import click
import numpy as np
import rasterio
from rasterio.transform import from_origin

from terrazzo.bands import FOUR
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.products.quality import read_defects, read_detectors

LEFT, TOP, PIXEL = 300_000, 5_100_000, 10
GRID = Grid(32633, 20.0, 256)


def write(path: Path, layers: np.ndarray) -> None:
    """A lossless JP2 in tiles of 1024, as products have them."""
    profile = {
        "driver": "JP2OpenJPEG",
        "QUALITY": "100",
        "REVERSIBLE": "YES",
        "crs": "EPSG:32633",
        "dtype": "uint8",
    }
    count, height, width = layers.shape
    with rasterio.open(
        path,
        "w",
        transform=from_origin(LEFT, TOP, PIXEL, PIXEL),
        count=count,
        height=height,
        width=width,
        **profile,
    ) as dataset:
        dataset.write(layers)


def spent(assets: dict[str, str], box: PixelBox) -> tuple[float, np.ndarray, np.ndarray]:
    """CPU seconds, defects and detectors of a box."""
    begun = time.process_time()
    found = read_defects(assets, GRID, box), read_detectors(assets["DETFOO"], GRID, box)
    return time.process_time() - begun, *found


@click.command()
@click.option("--side", default=10_980, show_default=True, help="pixels of a side of the masks")
@click.option("--pixels", default=30, show_default=True, help="pixels of a side of the scene, of 10 m")
def main(side: int, pixels: int) -> None:
    """Print what both ways cost."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        flags = np.zeros((8, side, side), np.uint8)
        flags[2, rng.integers(side, size=2000), rng.integers(side, size=2000)] = 1
        flags[4, :, side // 3] = 1
        quality, footprint, granule = (Path(folder) / n for n in ("QUALIT.jp2", "DETFOO.jp2", "MTD_TL.xml"))
        write(quality, flags)
        write(
            footprint, (np.arange(side) * 6 // side + 1).astype(np.uint8)[None, None, :].repeat(side, axis=1)
        )
        assets = {f"QUALIT_{band}": str(quality) for band in FOUR} | {"DETFOO": str(footprint)}
        row, col = -TOP // 20, LEFT // 20
        whole = PixelBox(row, col, row + side // 2, col + side // 2)
        at = side // 6 - pixels // 4
        small = PixelBox(row + at, col + at, row + at + pixels // 2, col + at + pixels // 2)
        part, defects, detectors = spent(assets, small)
        full, all_defects, all_detectors = spent(assets, whole)
        granule.write_text("<a><DEGRADED_MSI_DATA_PERCENTAGE>0</DEGRADED_MSI_DATA_PERCENTAGE></a>")
        told, _, _ = spent({**assets, "granule_metadata": str(granule)}, small)
        same = np.array_equal(defects, all_defects[small.within(whole)])
        same &= np.array_equal(detectors, all_detectors[small.within(whole)])
        click.echo(f"all of the masks     {full:8.2f} CPU-s")
        click.echo(f"the part             {part:8.2f} CPU-s, {full / max(part, 1e-3):.0f} times less")
        click.echo(f"nothing is degraded  {told:8.2f} CPU-s")
        click.echo(
            f"same pixels: {'yes' if same else 'no'}; {int(defects.sum())} of {defects.size} lost or defective"
        )
        raise SystemExit(not same)


if __name__ == "__main__":
    main()
