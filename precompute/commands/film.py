"""`terrazzo film`: the steps of the algorithm over a box, as an animated WebP."""

from pathlib import Path

import click

from terrazzo.request.options import WithBox, box


@click.command(cls=WithBox)
@click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")
@click.option("--mosaic", default="mosaic", show_default=True, help="name of the mosaic")
@click.option("--bbox", callback=box, required=True, metavar="W S E N", help="the box, in degrees")
@click.option("--datetime", help="name of a period, or dates inside one [default: the mosaic's]")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="file to write: .webp, .gif or .png",
)
def film(
    url: str, mosaic: str, bbox: tuple[float, float, float, float], datetime: str | None, output: Path
) -> None:
    """Writes an animation of the steps of the algorithm over a box, from its real pixels.

    Raw scenes, their masks, corrected scenes, the medians of windows' edges, the scenes merged, and normalized. Of more than
    four dates, four are shown on their own; the mosaic is that of all.

    \b
    terrazzo film --store build/demo --bbox 15.5 45.85 16.2 46.15 -o film.webp
    """
    from rich.console import Console

    from terrazzo.grid import Bounds
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.engine import Engine
    from terrazzo.precompute.film.drawing import form_of, write
    from terrazzo.precompute.film.frames import frames
    from terrazzo.store import Store
    from terrazzo.version import open_version

    form_of(output)
    engine = Engine(open_version(Store(url), mosaic), Blocks())
    try:
        number = write(frames(engine, Bounds(*bbox), datetime), engine.version.attribution, output)
    finally:
        engine.blocks.close()
    size = output.stat().st_size / 1e6
    Console().print(f"{output}: {number} frames, {size:.1f} MB", highlight=False, soft_wrap=True)
