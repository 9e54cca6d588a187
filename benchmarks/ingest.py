"""CPU and memory of making a scene of a product in this checkout and in another one, in turns, and whether the files are equal.

    python -m benchmarks.ingest FOLDER --before CHECKOUT [--side 3660] [--rounds 3]

A part of a tile is simulated as `benchmarks.product` does and made a scene of four bands from COGs, as the Item of an archive has them,
from the JP2 of a SAFE folder a scene of ten bands, and of an L1C product too. Each build has a process of its own, which makes each scene
once before it is timed, so that kernels are there. Printed are the least CPU seconds of all rounds, the same for a whole tile of 10980²
pixels, and the most memory. Equal means that all files of the scene have the same bytes, and its Item the same content but for times.
"""

import argparse
import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import rasterio

from benchmarks.product import write_safe
from benchmarks.triage import as_cogs
from terrazzo.bands import FOUR
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.scene.make import ingest
from terrazzo.store import StoreConfig, create_store

TEN = (*FOUR[:3], "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CASES = {
    "L2A, COG, four bands": ("L2A", FOUR, True),
    "L2A, JP2, ten bands": ("L2A", TEN, False),
    "L1C, JP2, ten bands": ("L1C", TEN, False),
}
"""Level, bands of the store, and whether the images are COGs."""
TILE = 10980


def make(folder: Path, case: str, side: int, rounds: int) -> dict[str, Any]:
    """Makes a scene some times over, as a worker of a pool does: least CPU seconds, those of reading its images alone, most memory in MB, and a hash of its files."""
    level, bands, cog = CASES[case]
    product = find_products(write_safe(folder / level, level, 1, side * 10)).products[0]
    if cog:
        product = as_cogs(product, folder)
    # Only here: the other checkout may not have it.
    with contextlib.suppress(ImportError):
        from terrazzo.memory import keep_bands

        keep_bands()
    spent, digest = [], ""
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory(dir=folder) as out:
            store = create_store(Path(out), StoreConfig(bands=bands))
            start = time.process_time()
            scene = ingest(product, store)
            spent.append(time.process_time() - start)
            digest = digest_of(Path(out) / scene.prefix)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    for band in {*bands, "B11", "B12"}:
        with rasterio.open(product.assets[band]) as dataset:
            dataset.read(1)
    decoding = time.process_time() - start
    return {"cpu": min(spent[1:]), "decoding": decoding, "MB": round(peak), "digest": digest}


def digest_of(folder: Path) -> str:
    """A hash of all files in a folder; of JSON without times and what follows from them."""
    out = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        out.update(str(path.relative_to(folder)).encode())
        out.update(without_times(path) if path.suffix == ".json" else path.read_bytes())
    return out.hexdigest()[:12]


def without_times(path: Path) -> bytes:
    """The content of a JSON file but for when it was written."""
    document = json.loads(path.read_text())
    for part in (document, document.get("properties", {})):
        for name in ("created", "updated", "terrazzo:check"):
            part.pop(name, None)
    return json.dumps(document, sort_keys=True).encode()


def main() -> None:
    """Prints a line for each product and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--before", help="a checkout of another state")
    parser.add_argument("--side", type=int, default=3660, help="pixels of the part of a tile [3660]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--one", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(make(options.folder, options.one, options.side, options.rounds)))
        return
    for level in {CASES[case][0] for case in options.cases}:
        write_safe(options.folder / level, level, 1, options.side * 10)
    whole = (TILE / options.side) ** 2
    for case in options.cases:
        results = []
        for name, checkout in (("now", str(Path(__file__).parents[1])), ("before", options.before)):
            if checkout is None:
                continue
            results.append(_in(checkout, case, options))
            cpu, decoding = results[-1]["cpu"], results[-1]["decoding"]
            print(
                f"{case}, {name}: {cpu:.2f} CPU-s, {cpu * whole:.0f} a tile ({decoding * whole:.0f} of it decoding alone),"
                f" {results[-1]['MB']} MB",
                flush=True,
            )
        if len(results) > 1:
            print("files equal" if results[0]["digest"] == results[1]["digest"] else "FILES DIFFER")


def _in(checkout: str, case: str, options: argparse.Namespace) -> dict[str, Any]:
    """The case in a process that runs the checkout's code by this file."""
    with tempfile.TemporaryDirectory() as scratch:
        # This benchmark's own helpers, and the checkout's package.
        for name in ("benchmarks", "tests"):
            Path(scratch, name).symlink_to(Path(__file__).parents[1] / name)
        environment = os.environ | {"PYTHONPATH": f"{scratch}:{checkout}", "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", "benchmarks.ingest", str(options.folder), "--one", case]
        command += ["--side", str(options.side), "--rounds", str(options.rounds)]
        run = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, cwd=scratch
        )
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


if __name__ == "__main__":
    main()
