"""Every operation on a store fails once: `python -m benchmarks.operations FOLDER [--requests] [--case NAME] [--every 1] [--rounds 1]`.

`tests/world/operations.py` says how operations on files fail, `tests/world/requests.py` how requests to an object store do
(`--requests`), and what must hold after each. In the first round every n is tried in one of four ways, in turn, in the fourth in the
last of them. What was tried stands in FOLDER/tried.jsonl: a run that was stopped goes on where it was; after a change of the code
FOLDER is to be removed. It should be in memory (/dev/shm). Needs cc.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from tests.world.operations import HOW, Case, Trials, build, cases
from tests.world.requests import REMOTE, WAYS, RequestTrials, object_store

Make = Callable[[Case], Trials]


@contextmanager
def making(folder: Path, requests: bool) -> Iterator[tuple[list[Case], Sequence[str], Make]]:
    """The commands, the ways in which their operations fail, and what gives the trials of one."""
    every = cases(folder)
    if not requests:
        yield every, list(HOW), lambda case: Trials(case, folder, folder / "operations.so")
        return
    with object_store(folder / "server") as (server, proxy):
        yield (
            [c for c in every if c.name in REMOTE],
            WAYS,
            lambda case: RequestTrials(case, folder, folder, server=server, proxy=proxy),
        )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--requests", is_flag=True, help="requests to an object store instead of operations on files")
@click.option("--case", "wanted", multiple=True, help="name of a command; all by default")
@click.option("--every", default=1, show_default=True, help="try every so manyth operation")
@click.option("--rounds", default=1, show_default=True, help="ways in which each fails, up to 4")
def operations(folder: Path, requests: bool, wanted: tuple[str, ...], every: int, rounds: int) -> None:
    """Tries them; ends with an error where one did not pass."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not requests and "LD_PRELOAD" not in os.environ:
        os.environ["LD_PRELOAD"] = str(build(folder))
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.operations", *sys.argv[1:]])
    os.environ.pop("LD_PRELOAD", None)
    # Once, before the children.
    import terrazzo.precompute.pipeline  # noqa: F401

    note = folder / "tried.jsonl"
    tried = (
        {tuple(t[:3]): t[3] for t in map(json.loads, note.read_text().splitlines())} if note.exists() else {}
    )
    with note.open("a") as out, making(folder, requests) as (every_case, ways, make):
        chosen = [c for c in every_case if not wanted or c.name in wanted]
        for round_ in range(rounds):
            for offset, case in enumerate(chosen):
                trials = make(case)
                numbers = range(1 + offset % every, trials.operations + 1, every)
                for place, number in enumerate(numbers):
                    key = (case.name, number, ways[(place + round_) % len(ways)])
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
