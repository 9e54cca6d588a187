"""Single flipped bits anywhere in a store: `python -m benchmarks.bit_flips STORE [--count 10000] [--seed 0]`.

STORE is a folder that `terrazzo precompute sample` wrote; a copy of it is changed. Half of the bits are drawn by size, so that
they hit pixels, half by file, so that they hit indexes, tables and documents. Prints what readers made of each kind of file, and
fails where pixels were wrong without a word or an error was not one for the user.
"""

import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import click

from tests.world.flips import Readers, flipped

PLACES = ((15.68, 46.005), (15.705, 46.02))


@click.command()
@click.argument("store", type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=10_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def flips(store: Path, count: int, seed: int) -> None:
    """Flips bits."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(store, Path(folder, "store")))
        readers = Readers(copy, PLACES, (8, 14))
        files = readers.files()
        sizes = [p.stat().st_size for p in files]
        chance, counts = random.Random(seed), Counter[tuple[str, str]]()
        for number in range(count):
            path = chance.choices(files, sizes)[0] if number % 2 else chance.choice(files)
            data = flipped(path.read_bytes(), chance)
            outcome = readers.outcome(path, data)
            kind = path.name if "versions" in path.parts and path.suffix != ".tif" else path.suffix
            counts[kind, outcome] += 1
            if outcome in ("silent", "traceback"):
                print(f"{outcome}: {path.relative_to(copy)}, flip {number}")
    names = sorted({k[0] for k in counts})
    print(f"{'file':24}" + "".join(f"{o:>10}" for o in ("same", "named", "refused", "silent", "traceback")))
    for name in names:
        print(
            f"{name:24}"
            + "".join(f"{counts[name, o]:10}" for o in ("same", "named", "refused", "silent", "traceback"))
        )
    bad = sum(n for (_, o), n in counts.items() if o in ("silent", "traceback"))
    print(f"{count} flips, {bad} silent or not understood")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    flips()
