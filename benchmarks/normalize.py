"""CPU of normalizing scenes in this checkout and in another one, and whether what is written is equal.

    python -m benchmarks.scenes FOLDER --size 2100 --scenes 6 --neighbours 0
    python -m benchmarks.normalize FOLDER [--before CHECKOUT]

Each build has a process of its own, which compares all squares with their reference and weighs all scenes, twice: the second time is
printed, when kernels are there. Equal means that references, verdicts, weights and differences have the same bytes.
"""

import argparse
import hashlib
import json
import resource
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from terrazzo.precompute.normalize.reference import chunks, make_chunk
from terrazzo.precompute.normalize.weigh import SceneTask, weigh_scene
from terrazzo.scene import list_scenes
from terrazzo.store import Store


def normalize(folder: str) -> dict[str, object]:
    """CPU seconds a scene of both steps, most memory in MB, and a hash of what was written."""
    store = Store(folder)
    scenes = list(list_scenes(store))
    order = tuple(s.id for s in scenes)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        for turn in range(2):
            name = f"{Path(out).name}/{turn}"
            start = time.process_time()
            for square in chunks(store, scenes, scenes, f"{name}/reference", {}):
                make_chunk(square)
            compared = time.process_time()
            for scene in scenes:
                folders = f"{name}/reference", f"{name}/weights", f"{name}/differences"
                weigh_scene(SceneTask(folder, scene, *folders, order, register=True))
            weighed = time.process_time()
        digest = hashlib.sha256()
        for path in sorted(p for p in Path(out, "1").rglob("*") if p.is_file()):
            digest.update(str(path.relative_to(Path(out))).encode() + path.read_bytes())
    return {
        "scenes": len(scenes),
        "compare": round((compared - start) / len(scenes), 2),
        "weigh": round((weighed - compared) / len(scenes), 2),
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "hash": digest.hexdigest()[:12],
    }


def main() -> None:
    """Prints a line for each build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--before", help="a checkout of another state")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        with suppress(ImportError):
            # As the workers of `precompute` do; older checkouts have no such function.
            from terrazzo.memory import keep_bands

            keep_bands()
        print(json.dumps(normalize(options.folder)))
        return
    # Only here: the other checkout may not have it.
    from benchmarks.checkouts import print_answers

    print_answers(__file__, [options.folder, "--one"], options.before)


if __name__ == "__main__":
    main()
