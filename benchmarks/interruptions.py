"""Kills precompute at random moments and lets the next run complete it: `python -m benchmarks.interruptions FOLDER [--times 50]`.

A simulated world of two tiles is precomputed undisturbed, and then again and again with kill −9 at moments spread over that
run's duration, up to three in a row. What the next run completes must be the same version with the same decoded pixels.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from terrazzo.store import Store
from terrazzo.version import Version, open_version
from tests.chain import native
from tests.world.worlds import TYPICAL, make_world

OPTIONS = ("--window", "32", "--bands", "B02,B03,B04,B08", "--workers", "2")


def command(products: Path, store: Path) -> list[str]:
    """The command line of a run."""
    terrazzo = Path(sys.executable).parent / "terrazzo"
    return [str(terrazzo), "precompute", str(products), "--store", str(store), *OPTIONS]


def undisturbed(products: Path, store: Path) -> float:
    """Runs precompute to its end; seconds that it took."""
    begun = time.perf_counter()
    subprocess.run(command(products, store), check=True, capture_output=True)
    return time.perf_counter() - begun


def interrupted(products: Path, store: Path, moments: Sequence[float]) -> Version:
    """Runs precompute, killed after so many seconds each time, then to its end; the version."""
    for seconds in moments:
        with subprocess.Popen(
            command(products, store), start_new_session=True, stderr=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
    undisturbed(products, store)
    return open_version(Store(store), "mosaic")


def pixels(version: Version) -> NDArray[np.int16]:
    """What a version shows of all bands."""
    return native(version, version.entries("all")[0].scene.box.grown(200), version.zones[0]).values


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--times", default=50, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(folder: Path, times: int, seed: int) -> None:
    """Prints how many kills were survived; ends with an error at the first that was not."""
    make_world(folder / "products", seed=3, dates=2, size=(96, 96), weather=TYPICAL, neighbour=True)
    seconds = undisturbed(folder / "products", folder / "calm")
    calm = open_version(Store(folder / "calm"), "mosaic")
    shown, rng, done = pixels(calm), np.random.default_rng(seed), 0
    while done < times:
        moments = rng.uniform(0.1, seconds, rng.integers(1, 4)).tolist()
        version = interrupted(folder / "products", folder / "killed", moments)
        assert version.name == calm.name, (moments, version.name, calm.name)
        assert (pixels(version) == shown).all(), moments
        shutil.rmtree(folder / "killed")
        done += len(moments)
        click.echo(
            f"{done} kills, the last after {', '.join(f'{m:.1f} s' for m in moments)} of {seconds:.0f}"
        )


if __name__ == "__main__":
    main()
