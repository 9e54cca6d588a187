"""`terrazzo inspect`: what a store holds, in figures and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from terrazzo.scene import Scene
    from terrazzo.store import Store

picture = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="PNG to draw the pictures into"
)
where = click.option("--store", "url", required=True, metavar="STORE", help="folder or address of the store")


@click.group()
def inspect() -> None:
    """Shows what a store holds: figures in the terminal, pictures with -o."""


@inspect.command()
@click.argument("name", metavar="SCENE")
@where
@click.option(
    "--mosaic",
    default="mosaic",
    show_default=True,
    help="mosaic whose current version holds the scene's shift",
)
@picture
def scene(name: str, url: str, mosaic: str, output: Path | None) -> None:
    """Shows how a scene was corrected: offset, atmosphere, angles and shift, each with its source.

    SCENE is its name or the beginning of it. The pictures: the scene, its classes, aerosol and water vapour, the sun's and
    the view's angles, and histograms before and after the correction.

    \b
    terrazzo inspect scene S2B_33TWL_20230813 --store demo -o scene.png
    """
    from rich.console import Console
    from rich.markup import escape

    from terrazzo.precompute.inspect.scene import draw, facts
    from terrazzo.store import Store

    store = Store(url)
    inspected = find_scene(store, name)
    console = Console()
    for label, text in facts(store, inspected, mosaic):
        console.print(f"[bold]{label:>14}[/]  {escape(text)}", highlight=False, soft_wrap=True)
    if output:
        draw(store, inspected, output)
        console.print(f"{output} drawn", highlight=False, soft_wrap=True)


@inspect.command()
@click.argument("name", metavar="SCENE")
@where
@click.option("--mosaic", default="mosaic", show_default=True, help="mosaic whose weight is drawn")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="PNG to draw into"
)
def mask(name: str, url: str, mosaic: str, output: Path) -> None:
    """Draws a scene, its classes, the probability of cloud or shadow, and its weight, side by side.

    SCENE is its name or the beginning of it.

    \b
    terrazzo inspect mask S2A_33TWL_20230818 --store demo -o mask.png
    """
    from rich.console import Console

    from terrazzo.precompute.inspect.mask import draw
    from terrazzo.store import Store

    store = Store(url)
    draw(store, find_scene(store, name), mosaic, output)
    Console().print(f"{output} drawn", highlight=False, soft_wrap=True)


def find_scene(store: "Store", name: str) -> "Scene":
    """The scene of a name or of the beginning of one; of several revisions the one that was made last.

    Raises:
        NotFound: there is none, or several.
    """
    from terrazzo.scene import by_beginning, list_scenes, read_item

    scenes = list(list_scenes(store))
    full = by_beginning(name, (s.id for s in scenes), "scene", "the store")
    return max(
        (s for s in scenes if s.id == full), key=lambda s: str(read_item(store, s)["properties"]["created"])
    )
