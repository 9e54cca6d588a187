"""The pictures of README and docs over the sample area: `python -m benchmarks.pictures --store build/demo` (`make pictures`).

Each shows one box side by side, before and after, in natural colour. The film is that of `terrazzo film`.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from terrazzo.bands import NODATA, STYLES
from terrazzo.bulk.area import area_of_box
from terrazzo.bulk.windows import export_target, touching
from terrazzo.grid import Bounds
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Measure, choose
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.precompute.film.drawing import natural, write
from terrazzo.precompute.film.frames import frames
from terrazzo.server import layers
from terrazzo.store import Store
from terrazzo.version import open_version

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
BANDS = STYLES["natural"].bands
FILM = Bounds(15.5, 45.85, 16.2, 46.15)
BAR, GAP = 26, 6
"""Pixels above each panel and between two."""


class Panel(NamedTuple):
    """One side of a picture: its caption, and the request that it shows."""

    caption: str
    request: PixelRequest


class Picture(NamedTuple):
    """A file, its box in degrees, the width of each side in pixels, and its sides."""

    name: str
    bounds: Bounds
    width: int
    panels: tuple[Panel, ...]


RAW = Panel("the products, the newest on top", PixelRequest(BANDS, stage="raw"))
OFF = Panel("first clear scene, normalize=off", PixelRequest(BANDS, method="first", stage="merged"))
ON = Panel("Terrazzo: feather, normalize=on", PixelRequest(BANDS, method="feather", stage="normalized"))
ROBUST = Panel("robust, normalize=on", PixelRequest(BANDS, method="robust", stage="normalized"))
PLAIN = Panel("Terrazzo", PixelRequest(BANDS))
SIGMA = Panel("sigma: blue 0, yellow 0.04 and more, mean of B02, B03 and B04", PixelRequest(BANDS))
PICTURES = (
    Picture("sample", Bounds(15.3, 45.7, 16.4, 46.3), 560, (RAW, OFF, ON)),
    Picture("tile_border", Bounds(15.55, 45.88, 15.95, 46.06), 450, (OFF, ON, ROBUST)),
    Picture("swath_edge", Bounds(16.0, 45.72, 16.25, 45.88), 450, (OFF, ON, ROBUST)),
    Picture("sigma", Bounds(15.0, 45.7, 16.42, 46.3), 560, (PLAIN, SIGMA)),
    Picture("north_west", Bounds(15.1, 46.05, 15.5, 46.25), 450, (OFF, ON, ROBUST)),
)


def drawn(engine: Engine, picture: Picture) -> Image.Image:
    """The sides of a picture beside each other, each under its caption."""
    area = area_of_box(picture.bounds, coverage=engine.version.bounds)
    whole = export_target(engine.version, area).bounds
    target = export_target(engine.version, area, resolution=(whole.right - whole.left) / picture.width)
    sides = [_side(engine, target, panel) for panel in picture.panels]
    height, width = sides[0].shape[:2]
    out = Image.new("RGB", (len(sides) * (width + GAP) - GAP, height + BAR), "white")
    draw, font = ImageDraw.Draw(out), ImageFont.load_default(15)
    for number, (panel, side) in enumerate(zip(picture.panels, sides, strict=True)):
        left = number * (width + GAP)
        draw.text((left + 2, 4), panel.caption, fill="black", font=font)
        out.paste(Image.fromarray(np.ascontiguousarray(side)), (left, BAR))
    return out


def _side(engine: Engine, target: Target, panel: Panel) -> NDArray[np.uint8]:
    """(row, col, 3) of one side."""
    if panel is SIGMA:
        image = layers.image_of("sigma", engine, engine.select(panel.request), target)
        return np.moveaxis(layers.rgba(image, layers.LAYERS["sigma"])[:3], 0, -1)
    return natural(_stacked(engine, target) if panel is RAW else engine.part(panel.request, target).values)


def _stacked(engine: Engine, target: Target) -> NDArray[np.int16]:
    """(band, row, col) of the products' own numbers, the newest day on top, as a plain mosaic shows them."""
    entries = touching(engine, choose(engine, Measure(RAW.request)), target)
    out = np.full((len(BANDS), target.height, target.width), NODATA, np.int16)
    for day in sorted({e.scene.datetime.date() for e in entries}, reverse=True):
        ids = tuple(e.scene.id for e in entries if e.scene.datetime.date() == day)
        below = engine.part(PixelRequest(BANDS, ids=ids, stage="raw", fill="none"), target).values
        out = np.where(out == NODATA, below, out)
    return out


@click.command()
@click.option("--store", default="build/demo", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
def main(store: str, output: Path) -> None:
    """Writes every picture and the film."""
    engine = Engine(open_version(Store(store), "mosaic"), Blocks())
    try:
        for picture in PICTURES:
            drawn(engine, picture).save(output / f"{picture.name}.jpg", quality=82)
        write(frames(engine, FILM), engine.version.attribution, output / "film.webp")
    finally:
        engine.blocks.close()
    sys.stdout.write(f"{len(PICTURES)} pictures and a film of version {engine.version.name}\n")


if __name__ == "__main__":
    main()
