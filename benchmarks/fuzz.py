"""Coverage-guided fuzzing of what parses bytes of others: `python -m benchmarks.fuzz [--minutes 5] [--target NAME] [--keep FOLDER]`.

Atheris (`pip install atheris`) changes inputs of `tests/world/fuzz.py` and keeps those that reach code that no other did. An input
that raises another error than one for users, takes a minute or 2 GiB is a fault: it is written to FOLDER, from where it goes to
`tests/data/fuzz/NAME` with the change that mends it.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click

COMPILED = ("terrazzo.mosaic.kernels", "terrazzo.thinning", "terrazzo.export", "terrazzo.cog", "terrazzo.correction",
            "terrazzo.precompute.clouds", "terrazzo.precompute.normalize", "terrazzo.server.png")  # fmt: skip
"""What Numba compiles cannot be instrumented."""


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="of each target")
@click.option("--target", "names", multiple=True, help="all by default")
@click.option("--keep", type=click.Path(path_type=Path), default=Path("build/fuzz"), show_default=True)
@click.option("--child", hidden=True)
def fuzz(minutes: float, names: tuple[str, ...], keep: Path, child: str | None) -> None:
    """Prints runs, covered places and faults of each target; ends with an error where there is a fault."""
    if importlib.util.find_spec("atheris") is None:
        raise click.ClickException("this needs Atheris: pip install atheris")
    if child:
        _fuzz(child, minutes, keep)
    from tests.world.fuzz import TARGETS

    faults = 0
    for name in names or TARGETS:
        (keep / name).mkdir(parents=True, exist_ok=True)
        options = ["--minutes", str(minutes), "--keep", str(keep), "--child", name]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fuzz", *options], capture_output=True, text=True
        )
        numbers = re.findall(r"#(\d+)\s+\w+\s+cov: (\d+)", done.stderr) or [("0", "0")]
        print(
            f"{name:12}{minutes:5.1f} min {int(numbers[-1][0]):10} runs {numbers[-1][1]:>6} places", end=" "
        )
        print("no fault" if done.returncode == 0 else f"FAULT {done.returncode}", flush=True)
        if done.returncode:
            faults += 1
            (keep / f"{name}.log").write_text(done.stderr)
            print(*[line for line in done.stderr.splitlines() if line.strip()][-25:], sep="\n", flush=True)
    raise SystemExit(bool(faults))


def _fuzz(name: str, minutes: float, keep: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["terrazzo"], exclude=list(COMPILED)):
        from tests.world import fuzz as targets
    corpus = keep / name
    for number, data in enumerate(targets.seeds(name)):
        (corpus / f"seed-{number}").write_bytes(data)
    with tempfile.TemporaryDirectory() as folder:
        options = [f"-max_total_time={round(60 * minutes)}", "-timeout=60", "-rss_limit_mb=2048"]
        options += [f"-artifact_prefix={keep / name}-", "-max_len=65536", "-print_final_stats=0"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], targets.TARGETS[name](Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    fuzz()
