"""Every operation on a store's files fails once: `python -m benchmarks.operations FOLDER [--case NAME] [--every 1] [--rounds 1]`.

`tests/world/operations.py` says how, and what must hold after each. In the first round every n is tried in one of four ways (EIO, a
short read or write, kill −9, ENOSPC, in turn), in the fourth in the last of them. What was tried stands in FOLDER/tried.jsonl: a
run that was stopped goes on where it was, and with other code FOLDER is to be removed. FOLDER should be in memory (/dev/shm). Needs cc.
"""

import json
import os
import sys
from pathlib import Path

import click

from tests.world.operations import HOW, Trials, build, cases


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--case", "wanted", multiple=True, help="name of a command; all by default")
@click.option("--every", default=1, show_default=True, help="try every so manyth operation")
@click.option("--rounds", default=1, show_default=True, help="ways in which each fails, up to 4")
def operations(folder: Path, wanted: tuple[str, ...], every: int, rounds: int) -> None:
    """Tries them; ends with an error where one did not pass."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if "LD_PRELOAD" not in os.environ:
        os.environ["LD_PRELOAD"] = str(build(folder))
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.operations", *sys.argv[1:]])
    os.environ.pop("LD_PRELOAD")
    # Once, before the children.
    import terrazzo.precompute.pipeline  # noqa: F401

    note = folder / "tried.jsonl"
    tried = (
        {tuple(t[:3]): t[3] for t in map(json.loads, note.read_text().splitlines())} if note.exists() else {}
    )
    chosen = [c for c in cases(folder) if not wanted or c.name in wanted]
    with note.open("a") as out:
        for round_ in range(rounds):
            for offset, case in enumerate(chosen):
                trials = Trials(case, folder, folder / "operations.so")
                numbers = range(1 + offset % every, trials.operations + 1, every)
                for place, number in enumerate(numbers):
                    key = (case.name, number, list(HOW)[(place + round_) % len(HOW)])
                    if key not in tried:
                        tried[key] = trials.trial(number, key[2])
                        print(json.dumps([*key, tried[key]]), file=out, flush=True)
                    if tried[key]:
                        print(f"  {key[2]} at {number}: {tried[key]}", flush=True)
                print(f"{case.name}: {len(numbers)} of {trials.operations} operations", flush=True)
    failed = sum(map(bool, tried.values()))
    print(f"{len(tried)} tried, {len(tried) - failed} passed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    operations()
