"""`terrazzo mask`: clouds, shadows, snow and water of any raster, without a store."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.bands import BANDS
from terrazzo.errors import InvalidRequest, UnreadableAsset

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import rasterio
    from numpy.typing import NDArray
    from rich.console import Console

TILE = 3072
"""Pixels across that are classified at a time."""
RIM = 10_000.0
"""Metres around them in which clouds and shadows are looked for: as far as the highest clouds throw their shadow under a sun 39° high."""
FINE = 15.0
"""Metres below which pixels of a raster larger than a tile are classified two by two."""
SAMPLE = 512
"""Pixels a side that are looked at before anything is classified."""
CACHE = 256
"""Megabytes of decoded blocks that GDAL keeps."""
BY_COUNT = {
    13: tuple(BANDS),
    12: tuple(b for b in BANDS if b != "B10"),
    6: ("B02", "B03", "B04", "B08", "B11", "B12"),
    4: ("B02", "B03", "B04", "B08"),
}


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="GeoTIFF to write"
)
@click.option(
    "--level",
    type=click.Choice(["l1c", "l2a"], case_sensitive=False),
    help="what IMAGE holds: l1c, reflectance at the top of the atmosphere, or l2a, at the surface [default: l1c if it has B10, else l2a]",
)
@click.option(
    "--bands",
    help="the Sentinel-2 band of each band of IMAGE, comma-separated; - skips one"
    " [default: the bands' names in IMAGE; without names by their number: 13, 12 (no B10), 6 (B02 B03 B04 B08 B11 B12) or 4 (B02 B03 B04 B08)]",
)
@click.option(
    "--scale", type=float, default=1e-4, show_default=True, help="reflectance = number · scale + offset"
)
@click.option(
    "--offset",
    type=float,
    default=0.0,
    show_default=True,
    help="see --scale; products since baseline 04.00 need -0.1",
)
@click.option(
    "--sun",
    metavar="ZENITH,AZIMUTH",
    help="position of the sun, degrees; shadows are then searched for on the side of each cloud away from it",
)
def mask(
    image: Path,
    output: Path,
    level: str | None,
    bands: str | None,
    scale: float,
    offset: float,
    sun: str | None,
) -> None:
    """Classifies the pixels of IMAGE and writes a uint8 GeoTIFF on the same grid.

    Band 1 holds the classes: 0 no data, 1 land, 2 water, 3 snow or ice, 4 cloud, 5 thin cloud, 6 cloud shadow, 7 saturated.
    The other bands hold the probabilities p_land, p_water, p_snow, p_cloud, p_thin_cloud and p_shadow: 0 to 250 stands
    for 0 to 1, 255 for no data. OUTPUT.aux.xml holds the names and colours of the classes for GDAL and QGIS.

    If IMAGE is more than 3072 pixels wide or high and its pixels are smaller than 15 m, blocks of 2 × 2 pixels get one class.

    \b
    terrazzo mask l1c.tif -o mask.tif --sun 38.5,152
    terrazzo mask boa.tif -o mask.tif --level l2a --bands B02,B03,B04,B08,B11,B12 --offset -0.1
    """
    import rasterio
    from rasterio.errors import RasterioError

    angles = _sun(sun)
    try:
        with rasterio.open(image) as source:
            names = _bands(source, bands)
            chosen = (level or ("l1c" if "B10" in names else "l2a")).upper()
            _classify(source, names, output, chosen, scale, offset, angles)
    except RasterioError as error:
        raise UnreadableAsset(f"{image} cannot be read ({error}); is it a raster?") from None


def _sun(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        zenith, azimuth = (float(v) for v in text.split(","))
    except ValueError:
        raise InvalidRequest(
            f"--sun {text}: give zenith and azimuth in degrees, as in --sun 38.5,152"
        ) from None
    if not 0 <= zenith < 90:
        raise InvalidRequest(f"--sun {text}: the zenith angle lies from 0 to 90 degrees, 0 is overhead")
    return zenith, azimuth


def _bands(source: "rasterio.DatasetReader", text: str | None) -> dict[str, int]:
    """Number in the file, from 1, of each Sentinel-2 band it holds."""
    if text:
        given = [b.strip().upper() for b in text.split(",")]
        if len(given) != source.count:
            raise InvalidRequest(
                f"--bands names {len(given)} bands, {source.name} has {source.count}; - skips one"
            )
    else:
        described = [(d or "").strip().upper() for d in source.descriptions]
        given = described if any(d in BANDS for d in described) else list(BY_COUNT.get(source.count, ()))
    wrong = [b for b in given if text and b != "-" and b not in BANDS]
    if wrong or not given:
        raise InvalidRequest(
            f"{'--bands ' + ', '.join(wrong) + ': unknown' if wrong else f'{source.name} has {source.count} unnamed bands'};"
            f" name each with --bands, of {', '.join(BANDS)}, - for another"
        )
    return {b: i for i, b in enumerate(given, 1) if b in BANDS}


def _classify(
    source: "rasterio.DatasetReader",
    names: dict[str, int],
    output: Path,
    level: str,
    scale: float,
    offset: float,
    sun: tuple[float, float] | None,
) -> None:
    import numpy as np
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.windows import Window
    from rich.console import Console

    from terrazzo.bands import MaskClass
    from terrazzo.precompute.clouds.maskfile import described, shares
    from terrazzo.precompute.clouds.model import CLASSES
    from terrazzo.raster import new_raster
    from terrazzo.store import beside

    console = Console(stderr=True)
    pixel = _pixel(source, console)
    rho = partial(_reflectance, nodata=source.nodata, scale=scale, offset=offset)
    _check(source, names, rho, scale, offset)
    counts = np.zeros(len(MaskClass), np.int64)
    layers = ["class", *(f"p_{c.name.lower()}" for c in CLASSES)]
    f = 2 if pixel < FINE and max(source.shape) > TILE else 1
    side, rim = f * TILE, f * min(round(RIM / (f * pixel)), TILE // 3)
    tiles = [(r, c) for r in range(0, source.height, side) for c in range(0, source.width, side)]
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE),
        beside(output) as temporary,
        new_raster(temporary, **_profile(source, len(layers))) as target,
    ):
        _describe(target.dataset, layers, level, names)
        for done, (row, col) in enumerate(tiles, 1):
            top, left = max(row - rim, 0), max(col - rim, 0)
            bottom, right = min(row + side + rim, source.height), min(col + side + rim, source.width)
            numbers = source.read(
                list(names.values()),
                window=Window(left, top, right - left, bottom - top),
                out_shape=(len(names), -(-(bottom - top) // f), -(-(right - left) // f)),
                resampling=Resampling.average,
            )
            both = _layers(numbers, rho, names, level, f * pixel, sun)
            height, width = min(side, source.height - row), min(side, source.width - col)
            at = (
                slice((row - top) // f, (row - top + height - 1) // f + 1),
                slice((col - left) // f, (col - left + width - 1) // f + 1),
            )
            inner = both[:, *at].repeat(f, axis=1).repeat(f, axis=2)[:, :height, :width]
            counts += np.bincount(inner[0].ravel(), minlength=len(counts))
            target.write(inner, Window(col, row, width, height))
            if len(tiles) > 1:
                console.print(f"mask {done}/{len(tiles)}", highlight=False)
    with beside(output.with_name(f"{output.name}.aux.xml")) as temporary:
        temporary.write_text(described(counts))
    line = f"{output}: {level}, from {', '.join(names)}: {shares(counts)}"
    console.print(line, highlight=False, soft_wrap=True)


def _describe(
    target: "rasterio.io.DatasetWriter", layers: Sequence[str], level: str, names: Iterable[str]
) -> None:
    target.descriptions = tuple(layers)
    target.update_tags(level=level, bands=",".join(names), probability="0-250 is 0-1, 255 no data")


def _profile(source: "rasterio.DatasetReader", count: int) -> dict[str, Any]:
    return {
        "driver": "GTiff", "dtype": "uint8", "count": count, "height": source.height,
        "width": source.width, "crs": source.crs, "transform": source.transform, "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "bigtiff": "if_safer",
    }  # fmt: skip


def _check(
    source: "rasterio.DatasetReader",
    names: dict[str, int],
    rho: "Callable[[NDArray[Any]], NDArray[np.float32]]",
    scale: float,
    offset: float,
) -> None:
    """Refuses a file whose numbers cannot be reflectance, by a sample of up to `SAMPLE` pixels a side."""
    from terrazzo.precompute.clouds.maskfile import require_reflectance

    shape = (min(source.height, SAMPLE), min(source.width, SAMPLE))
    numbers = source.read(list(names.values()), out_shape=(len(names), *shape))
    require_reflectance(numbers, rho(numbers), scale, offset)


def _layers(
    numbers: "NDArray[Any]",
    rho: "Callable[[NDArray[Any]], NDArray[np.float32]]",
    names: dict[str, int],
    level: str,
    pixel: float,
    sun: tuple[float, float] | None,
) -> "NDArray[np.uint8]":
    """(layer, row, col) uint8: classes, then probabilities, of the numbers of a tile.

    Args:
        numbers: (band, row, col) as the file holds them.
        rho: reflectance of numbers.
        pixel: size in metres.
    """
    import numpy as np

    from terrazzo.precompute.clouds.mask import mask_scene

    classified = mask_scene(
        lambda start, stop: rho(numbers[:, start:stop]),
        numbers.shape[1:],
        tuple(names),
        level=level,
        pixel=pixel,
        sun=sun,
        choice="model",
    )
    return np.concatenate([classified.classes[None], classified.probabilities])


def _reflectance(
    numbers: "NDArray[Any]", nodata: float | None, scale: float, offset: float
) -> "NDArray[np.float32]":
    """(band, row, col) reflectance, NaN without data: the file's nodata value, else 0 in every band."""
    import numpy as np

    if nodata is not None:
        empty = numbers == nodata
    else:
        empty = np.broadcast_to((numbers == 0).all(axis=0), numbers.shape)
    rho = numbers.astype(np.float32) * np.float32(scale) + np.float32(offset)
    rho[empty] = np.nan
    return np.asarray(rho)


def _pixel(source: "rasterio.DatasetReader", console: "Console") -> float:
    """Pixel size in metres."""
    size = (abs(source.transform.a) + abs(source.transform.e)) / 2
    if source.crs is None:
        console.print(
            f"{source.name} has no coordinate system: its pixels are taken to be 10 m", style="yellow"
        )
        return 10.0
    if source.crs.is_geographic:
        return float(size * 111_320)
    return float(size * source.crs.linear_units_factor[1])
