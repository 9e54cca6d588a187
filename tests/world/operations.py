"""Lets each operation on a store's files fail once: `python -m tests.world.operations FOLDER [--every 1] [--kinds fail,short,kill]`.

A library before libc (`operations.c`, built with cc) counts opens, reads, writes, fsyncs, renames, links, unlinks, locks and makes
folders under one path, and makes the n-th fail: with EIO or ENOSPC, by doing half of it, or by kill −9. For each n a child process
carries out one command on a copy of a small store; then it must hold that

- the pixels of what was published before are shown, or those of the new version;
- `store verify` finds nothing missing or damaged, or names it;
- the command, run again, ends well, with the pixels of an undisturbed run.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

SOURCE = Path(__file__).with_name("operations.c")
KINDS = {"fail": 1, "short": 2, "kill": 3}
BUILD = ("cc", "-shared", "-fPIC", "-O1")
CRASHED, WRONG = 98, 97
"""Exit status of a child that ended with an error that is none for the user, or found something wrong."""
WINDOW = ("--window", "32", "--bands", "B02,B03,B04,B08", "--workers", "1")


@dataclass(frozen=True)
class Case:
    """A command on a store.

    Attributes:
        base: folder of the store before it, or None for none.
        arguments: of the command line, with STORE for the store's folder.
    """

    name: str
    base: Path | None
    arguments: tuple[str, ...]


def build(folder: Path) -> Path:
    """The library, built."""
    library = folder / "operations.so"
    subprocess.run([*BUILD, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def cases(folder: Path) -> list[Case]:
    """Commands on a small world, whose stores are made first."""
    from tests.golden.make import STORE
    from tests.world.worlds import make_world

    make_world(folder / "p", seed=5, dates=3, size=(96, 96))
    products = sorted((folder / "p").iterdir())
    first = folder / "first"
    first.mkdir()
    for path in products[:2]:
        shutil.copytree(path, first / path.name) if path.is_dir() else shutil.copy(path, first)
    one, two = folder / "one", folder / "two"
    for source, store, base in ((first, one, None), (folder / "p", two, one)):
        if base:
            shutil.copytree(base, store)
        assert child(lambda s=source, t=store: run("precompute", str(s), "--store", str(t), *WINDOW)) == 0  # type: ignore[misc]
    old = min((two / "mosaics/mosaic/versions").iterdir(), key=lambda p: p.stat().st_mtime).name
    box = ("--bbox", "15.001,46.047,15.009,46.052")
    return [
        Case("precompute", None, ("precompute", str(first), "--store", "STORE", *WINDOW)),
        Case("precompute another date", one, ("precompute", str(folder / "p"), "--store", "STORE", *WINDOW)),
        Case("publish an earlier version", two, ("publish", "--store", "STORE", "--version", old)),
        Case("prune", two, ("prune", "--store", "STORE", "--keep-versions", "1", "--grace", "0")),
        Case("store upgrade", STORE, ("store", "upgrade", "STORE", "--workers", "1")),
        Case("exclude", two, ("exclude", _a_scene(two), "--store", "STORE", "--reason", "test")),
        Case("export", two, ("export", "--store", "STORE", *box, "-o", "STORE/out.tif")),
        Case(
            "keys add",
            two,
            ("keys", "--store", "STORE", "--state", "STORE/.state", "add", "anna", "--scope", "tiles"),
        ),
    ]


def _a_scene(store: Path) -> str:
    return next(store.glob("scenes/*/*/*")).name


def child(work: Callable[[], int]) -> int:
    """The exit status of work in a process of its own; negative for a signal."""
    process = os.fork()
    if process == 0:
        status = CRASHED
        try:
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run(*arguments: str) -> int:
    """Runs a command as the console script does; its exit status, `CRASHED` for an error that is none for the user."""
    from terrazzo.cli import cli

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    if "OPERATIONS_SHOW" not in os.environ:
        os.dup2(quiet, 2)
    try:
        cli.main(list(arguments), standalone_mode=False)
    except (click.ClickException, click.Abort) as error:
        print(repr(error), getattr(error, "message", ""), file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def shown(store: Path) -> bytes | None:
    """What the current version shows; None where nothing is published."""
    from terrazzo.errors import EmptyStore, NotFound
    from terrazzo.store import Store
    from terrazzo.version import open_version
    from tests.chain import native

    try:
        if not store.exists():
            return None
        version = open_version(Store(store), "mosaic")
    except (EmptyStore, NotFound):
        return None
    image = native(version, version.entries("all")[0].scene.box, 32633)
    assert not image.problems, image.problems
    return np.ascontiguousarray(image.values).tobytes()


def trial(case: Case, folder: Path, library: Path, number: int, how: str, code: int) -> str:
    """What went wrong when the `number`-th operation of a command fails; empty if nothing did."""
    store = folder / "store"
    shutil.rmtree(store, ignore_errors=True)
    if case.base:
        shutil.copytree(case.base, store)
    arguments = [a.replace("STORE", str(store)) for a in case.arguments]
    status = child(lambda: _disturbed(arguments, store, library, number, how, code))
    if status == CRASHED:
        return "an error that is none for the user"
    if child(lambda: _checked(case, store, folder)):
        return "after it: " + (folder / "wrong").read_text()
    # What was done in spite of it may be refused when it is asked for again.
    if child(lambda: run(*_again(case, arguments))) and status:
        return "the next run fails"
    return "" if child(lambda: _healed(case, store, folder)) == 0 else (folder / "wrong").read_text()


def _again(case: Case, arguments: list[str]) -> list[str]:
    return [*arguments, "--overwrite"] if case.name == "export" and _has_overwrite() else arguments


def _has_overwrite() -> bool:
    from terrazzo.commands.export import export

    return any("--overwrite" in p.opts for p in export.params)


def _disturbed(arguments: Sequence[str], store: Path, library: Path, number: int, how: str, code: int) -> int:
    shim = ctypes.CDLL(str(library))
    shim.operations_arm(os.fsencode(store), ctypes.c_long(number), KINDS[how], code)
    try:
        return run(*arguments)
    finally:
        shim.operations_arm(b"", ctypes.c_long(0), 0, 0)


def _checked(case: Case, store: Path, folder: Path) -> int:
    """Whether the state between is one that may be."""
    before = shown(case.base) if case.base else None
    after = shown(Path(_undisturbed(folder, case)))
    now = shown(store)
    if now not in (before, after):
        (folder / "wrong").write_text("neither the old version nor the new one is shown")
        return WRONG
    return _verified(store, folder)


def _verified(store: Path, folder: Path) -> int:
    from terrazzo.errors import StoreError
    from terrazzo.precompute.versions.verify import verify
    from terrazzo.store import Store

    try:
        there = Store(store)
    except StoreError:
        # A first run ended before there was a store.
        return 0
    bad = [f for f in verify(there) if f.bad]
    if bad:
        (folder / "wrong").write_text(f"verify: {bad[:2]}")
        return WRONG
    return 0


def _healed(case: Case, store: Path, folder: Path) -> int:
    whole = Path(_undisturbed(folder, case))
    if shown(store) != shown(whole):
        (folder / "wrong").write_text("the next run gives other pixels")
        return WRONG
    if case.name == "export" and (store / "out.tif").read_bytes() != (whole / "out.tif").read_bytes():
        (folder / "wrong").write_text("the next run gives another file")
        return WRONG
    return _verified(store, folder)


def _undisturbed(folder: Path, case: Case) -> str:
    return str(folder / f"whole {case.name}")


def counted(case: Case, folder: Path, library: Path) -> int:
    """How many operations a command has; the store that it leaves is kept to be compared with."""
    store = Path(_undisturbed(folder, case))
    if case.base:
        shutil.copytree(case.base, store)
    arguments = [a.replace("STORE", str(store)) for a in case.arguments]

    def work() -> int:
        shim = ctypes.CDLL(str(library))
        shim.operations_count.restype = ctypes.c_long
        shim.operations_arm(os.fsencode(store), ctypes.c_long(0), 0, 0)
        status = run(*arguments)
        (folder / "count").write_text(str(shim.operations_count()))
        shim.operations_arm(b"", ctypes.c_long(0), 0, 0)
        return status

    assert child(work) == 0, case.name
    return int((folder / "count").read_text())


def trials(
    folder: Path, library: Path, every: int, kinds: Sequence[str]
) -> Iterator[tuple[Case, int, int, str, str]]:
    """Each case, its number of operations, and for each tried one how it failed and what went wrong."""
    for offset, case in enumerate(cases(folder)):
        total = counted(case, folder, library)
        for number in range(1 + offset % every, total + 1, every):
            how = kinds[number // every % len(kinds)]
            code = (errno.EIO, errno.ENOSPC)[number % 2]
            yield case, total, number, how, trial(case, folder, library, number, how, code)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--every", default=1, show_default=True, help="try every so manyth operation")
@click.option("--kinds", default="fail,short,kill", show_default=True)
def operations(folder: Path, every: int, kinds: str) -> None:
    """Tries them."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if "LD_PRELOAD" not in os.environ:
        library = build(folder)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.world.operations", *sys.argv[1:]],
            {**os.environ, "LD_PRELOAD": str(library)},
        )
    import terrazzo.precompute.pipeline  # noqa: F401  # Once, before the children.

    tried, failed, name = 0, 0, ""
    for case, total, number, how, wrong in trials(folder, folder / "operations.so", every, kinds.split(",")):
        if case.name != name:
            name = case.name
            print(f"{name}: {total} operations", flush=True)
        tried += 1
        if wrong:
            failed += 1
            print(f"  {how} at {number}: {wrong}", flush=True)
    print(f"{tried} tried, {tried - failed} passed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    operations()
