"""What a new scene costs a store of ten tiles and twelve dates: `python -m benchmarks.increment FOLDER [--size 96] [--window 32]`.

Ten simulated tiles, five by two, overlapping as MGRS tiles do (a third here), are precomputed without the last scene of one tile in the
middle; then that comes. Prints time, what was written by kind, and which of the files and windows of before are others now.
"""

import hashlib
import json
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import numpy as np

from terrazzo.diff import difference
from terrazzo.precompute.work.executor import default_workers
from terrazzo.store import Store
from terrazzo.version import Version, open_version
from tests.chain import precompute
from tests.world.land import Land, landscape
from tests.world.products import Pass, place_of
from tests.world.sky import Seen, observe
from tests.world.worlds import FIRST, FOUR, NORTH, TYPICAL, cut, draw_sky, record

COLUMNS, ROWS = "UVWXY", "LM"
MIDDLE = "33TWL"


def write_world(folder: Path, size: int, window: int, dates: int) -> None:
    """Writes the products of ten tiles."""
    _, epsg, top, left = NORTH
    step = size * 2 // 3 // 12 * 12
    high, wide = size + step * (len(ROWS) - 1), size + step * (len(COLUMNS) - 1)
    land = landscape(place_of("33TUL", epsg, top, left, high, wide, 10.0, window), FOUR, 1)
    places = [
        place_of(f"33T{x}{y}", epsg, top - r * step * 10.0, left + c * step * 10.0, size, size, 10.0, window)
        for r, y in enumerate(ROWS)
        for c, x in enumerate(COLUMNS)
    ]
    lands, seen = dict[str, Land](), dict[str, Seen]()
    for number in range(dates):
        sky = draw_sky(
            replace(TYPICAL, swath=1.0), FOUR, np.random.default_rng([1, 3, number]), number, dates
        )
        whole, about = observe(land, sky), Pass(FIRST + timedelta(days=5 * number))
        for place in places:
            record(folder, lands, seen, cut(whole, place), about)


def hashes(store: Store) -> dict[str, str]:
    """Hash of every file of a store."""
    return {k: hashlib.sha256(store.read_bytes(k)).hexdigest() for k in store.list()}


def kind(key: str) -> str:
    """What a file is, for the table."""
    parts = key.split("/")
    if parts[0] != "mosaics" or len(parts) < 3:
        return parts[0]
    if parts[2] == "versions":
        return f"version: {parts[4]}"
    return parts[2]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--size", default=96, show_default=True, help="pixels of a tile's side")
@click.option("--window", default=32, show_default=True)
@click.option("--dates", default=12, show_default=True)
def main(folder: Path, size: int, window: int, dates: int) -> None:
    """Prints what the new scene cost and changed."""
    write_world(folder / "p", size, window, dates)
    (*_, late) = sorted((folder / "p").glob(f"*{MIDDLE}_*.json"))
    late.rename(folder / late.name)
    workers = default_workers()
    before = precompute(folder / "p", folder / "s", window=window, workers=workers)[0].version
    store = Store(folder / "s")
    was, whole = hashes(store), sum(store.size(k) for k in store.list())
    (folder / late.name).rename(late)
    begun = time.perf_counter()
    after = precompute(folder / "p", folder / "s", window=window, workers=workers, force=True)[0].version
    seconds = time.perf_counter() - begun
    assert before is not None
    assert after is not None
    now = hashes(store)
    changed = sorted(k for k in was if now.get(k) != was[k])
    written = Counter[str]()
    for key in set(now) - set(was):
        written[kind(key)] += store.size(key)
    total = sum(written.values())
    (period,) = difference(before, open_version(store, "mosaic")).periods
    (windows,) = period.windows.values()
    inside = store.grid(after.zones[0]).windows(
        next(e.scene.box for e in after.entries("all") if e.scene.mgrs == MIDDLE)
    )
    gains = [
        f"33T{x}{y}"
        for x in COLUMNS
        for y in ROWS
        if (_gains(store, before, f"33T{x}{y}") != _gains(store, after, f"33T{x}{y}"))
    ]
    click.echo(f"{seconds:.0f} s on {workers} processes; store of {whole / 1e6:.2f} MB")
    click.echo(f"files of before that are others now: {changed}")
    click.echo(
        f"tiles whose gains are others: {gains}; windows: {len(windows)}, all of the tile: {set(windows) <= set(inside)}"
    )
    click.echo(f"written {total / 1e6:.2f} MB, {total / whole:.1%} of the store")
    click.echo(json.dumps({k: [v, f"{v / whole:.2%}"] for k, v in written.most_common()}, indent=1))


def _gains(store: Store, version: Version, mgrs: str) -> bytes:
    return store.read_bytes(f"mosaics/mosaic/versions/{version.name}/gains/all/{mgrs}.npy")


if __name__ == "__main__":
    main()
