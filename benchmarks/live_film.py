"""The film of `terrazzo live` in the README: `python -m benchmarks.live_film` (`make pictures`; needs `make browser` and Chromium).

Serves the sample's products by S3 and STAC servers on this machine, behind a line of 50 ms a request and 50 MB/s, runs `terrazzo live` on
a part of them, and photographs its map in Chromium whenever another version shows: first look, finer look, mosaic. The sample's scenes
have pixels of 120 m: the box is so large that looks have larger ones. A browser that draws on the processors slows all down, so the
film says no times; `benchmarks.live` does.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFont

from benchmarks.live import live
from benchmarks.pictures import FOLDER
from terrazzo.grid import Bounds
from terrazzo.store import StoreConfig, create_store
from tests.clients.conftest import ENVIRONMENT
from tests.world.archive import Archive, s3_server, sample_files, sample_items, stac_server
from tests.world.line import Line
from tests.world.worlds import FOUR

SCRIPT = Path(__file__).parent.parent / "tests" / "clients" / "film.mjs"
BOX = Bounds(15.5, 45.75, 16.3, 46.2)
BAR, SHOWN, WIDTH = 34, 2500, 800
"""Pixels of the bar with the caption, milliseconds of a picture, and pixels across."""
CAPTIONS = {"none": "terrazzo live --bbox … --datetime …", "live": "look", "published": "the mosaic"}


def photographed(folder: Path) -> list[dict[str, object]]:
    """Runs `terrazzo live` and a browser on its map; returns the pictures' files and states."""
    with (
        s3_server(folder, sample_files()) as s3,
        stac_server(folder, sample_items()) as stac,
        Line(s3) as line,
        line.delayed(0.05, 50e6),
    ):
        create_store(folder / "run" / "store", StoreConfig(60.0, 120.0, 256, FOUR))
        with live(folder / "run", BOX, "2023-08", Archive(stac, line.address)) as (address, _):
            done = subprocess.run(
                ["node", SCRIPT, f"{address}/", folder], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True
            )
    return [json.loads(row) for row in done.stdout.splitlines()]


def frame(file: str, caption: str) -> Image.Image:
    """A picture with a caption above it."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").resize((WIDTH, round(picture.height * WIDTH / picture.width)))
    out = Image.new("RGB", (WIDTH, small.height + BAR), "white")
    ImageDraw.Draw(out).text((10, 7), caption, fill="black", font=ImageFont.load_default(16))
    out.paste(small, (0, BAR))
    return out


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=FOLDER / "live.webp", show_default=True)
def main(output: Path) -> None:
    """Write the film."""
    with tempfile.TemporaryDirectory() as scratch:
        shots = photographed(Path(scratch))
        looks = [s for s in shots if s["state"] == "live"]
        frames = []
        for shot in shots:
            what = CAPTIONS[str(shot["state"])]
            if shot in looks:
                what = ("first " if shot is looks[0] else "finer ") + what
            frames.append(frame(str(shot["file"]), what))
    frames[0].save(
        output, save_all=True, append_images=frames[1:], duration=SHOWN, loop=0, quality=80, method=6
    )
    click.echo(f"{output}: {len(frames)} frames, {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
