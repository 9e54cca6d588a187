"""Memory and CPU of comparing the scenes of a square with their reference, by how many scenes lie in it.

    python -m benchmarks.scenes FOLDER --size 1300 --scenes 48
    python -m benchmarks.depth FOLDER [--scenes 12 24 48] [--before CHECKOUT]

Each count runs in a process of its own, which compares the largest square. `--before` runs the same with the checkout of another state
of the code, and says whether the files are equal.
"""

import argparse
import hashlib
import json
import resource
import tempfile
import time
from pathlib import Path

from terrazzo.precompute.normalize import reference
from terrazzo.scene import Scene, read_scene
from terrazzo.store import Store


def compare(folder: str, scenes: int) -> dict[str, object]:
    """Compares the largest square of the first `scenes` scenes of a zone; its memory in MB, CPU seconds, and a hash of its files."""
    store = Store(folder)
    every = [
        read_scene(store, str(p.parent.relative_to(folder))) for p in sorted(Path(folder).rglob("item.json"))
    ]
    chosen = _deepest(every)[:scenes]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        squares = reference.chunks(store, chosen, chosen, Path(out).name, {})
        square = max(squares, key=lambda c: c.windows.height * c.windows.width)
        start = time.process_time()
        reference.make_chunk(square)
        cpu = time.process_time() - start
        digest = hashlib.sha256()
        for path in sorted(Path(out).rglob("*.zst")):
            digest.update(path.read_bytes())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"scenes": len(chosen), "MB": round(peak), "CPU s": round(cpu, 2), "hash": digest.hexdigest()[:12]}


def _deepest(scenes: list[Scene]) -> list[Scene]:
    """The scenes of the MGRS tile that has most."""
    names = [s.mgrs for s in scenes]
    most = max(set(names), key=names.count)
    return [s for s in scenes if s.mgrs == most]


def main() -> None:
    """Prints a line for each count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--scenes", type=int, nargs="+", default=[12, 24, 48])
    parser.add_argument("--before", help="a checkout of another state")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(compare(options.folder, options.one)))
        return
    # Only here: the other checkout may not have it.
    from benchmarks.checkouts import print_answers

    for count in options.scenes:
        print_answers(__file__, [options.folder, "--one", str(count)], options.before)


if __name__ == "__main__":
    main()
