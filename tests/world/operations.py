"""Lets an operation on a store's files fail, at the level of the operating system.

A library before libc (`operations.c`, built with cc) counts opens, reads, writes, fsyncs, renames, links, unlinks, locks, lists and
makes folders under one path, and makes the n-th fail: with EIO or ENOSPC, by doing half of it, or by kill −9. A child process
carries out one command on a copy of a small store; then it must hold that

- the pixels of what was published before are shown, or those of the new version;
- `store verify` finds nothing missing or damaged;
- the command, run again, ends well, with the pixels of an undisturbed run.

`python -m benchmarks.operations` tries all n.
"""

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import click

from terrazzo.checks import read_document
from terrazzo.errors import Damaged

SOURCE = Path(__file__).with_name("operations.c")
FAIL, SHORT, KILL, EACH, CHANGES = range(1, 6)
"""How operations fail; as in `operations.c`."""
HOW = {
    "EIO": (FAIL, errno.EIO),
    "short": (SHORT, errno.EIO),
    "kill": (KILL, 0),
    "ENOSPC": (FAIL, errno.ENOSPC),
}
CRASHED, WRONG = 98, 97
"""Exit status of a child that ended with an error that is none for the user, or that saw something wrong."""
WINDOW = ("--window", "16", "--bands", "B02,B03,B04,B08", "--workers", "1")
TIMES = re.compile(rb'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|\+00:00)"|"terrazzo:check": "[0-9a-f]+"')
TEMPORARY = re.compile(r"\.[a-z0-9_]{8}\.part")


def build(folder: Path) -> Path:
    """The library, built; it must come before libc, with LD_PRELOAD."""
    library = folder / "operations.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class Case:
    """A command on a store.

    Attributes:
        base: folder of the store before it, or None for none.
        arguments: of the command line, with STORE for the store's address, and OUT for a folder for what else it writes.
        output: name of a file in OUT that it writes, if any.
    """

    name: str
    base: Path | None
    arguments: tuple[str, ...]
    output: str = ""

    def on(self, store: str, out: Path) -> list[str]:
        """The arguments for a store."""
        return [a.replace("STORE", store).replace("OUT", str(out)) for a in self.arguments]


def cases(folder: Path) -> list[Case]:
    """Commands on a small world, whose stores are written first, below `folder`; what is there already is kept."""
    from tests.golden.make import STORE
    from tests.world.worlds import make_world

    products, first, one, two = (folder / n for n in ("products", "first", "one", "two"))
    if not (folder / "ready").exists():
        make_world(products, seed=5, dates=3, size=(48, 48))
        first.mkdir()
        for path in sorted(products.iterdir())[:2]:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, first / path.name)
        for source, store, base in ((first, one, None), (products, two, one)):
            if base:
                shutil.copytree(base, store)
            arguments = ("precompute", str(source), "--store", str(store), *WINDOW)
            assert child(lambda a=arguments: run(*a)) == 0  # type: ignore[misc]
        (folder / "areas.geojson").write_text(json.dumps(_area()))
        (folder / "ready").touch()
    old = min((two / "mosaics/mosaic/versions").iterdir(), key=lambda p: p.stat().st_mtime).name
    scene = next(two.glob("scenes/*/*/*")).name
    box = ("--bbox", "15.001,46.047,15.005,46.050")
    store, areas = ("--store", "STORE"), str(folder / "areas.geojson")
    return [
        Case("keys add", two, ("keys", *store, "--state", "OUT/.state", "add", "anna", "--scope", "tiles")),
        Case("publish an earlier version", two, ("publish", *store, "--version", old)),
        Case("export", two, ("export", *store, *box, "-o", "OUT/out.tif", "--overwrite"), "out.tif"),
        Case("statistics", two, ("statistics", areas, *store, "-o", "OUT/out.csv"), "out.csv"),
        Case("seed", two, ("seed", *store, "--cache-dir", "OUT/.cache", "--zooms", "12-13")),
        Case("prune", two, ("prune", *store, "--keep-versions", "1", "--grace", "0")),
        Case("exclude", two, ("exclude", scene, *store, "--reason", "test")),
        Case("store upgrade", STORE, ("store", "upgrade", "STORE", "--workers", "1")),
        Case("precompute", None, ("precompute", str(first), *store, *WINDOW)),
        Case("precompute another date", one, ("precompute", str(products), *store, *WINDOW)),
    ]


def _area() -> object:
    ring = [[15.001, 46.047], [15.004, 46.047], [15.004, 46.05], [15.001, 46.047]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": geometry}],
    }


def child(work: Callable[[], int], forked: Callable[[int], None] = lambda process: None) -> int:
    """The exit status of work in a process of its own, whose number `forked` gets; negative for a signal."""
    sys.stdout.flush()
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
    forked(process)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run(*arguments: str, said: Path | None = None) -> int:
    """Runs a command as the console script does; its exit status, `CRASHED` for an error that is none for the user.

    Args:
        said: where its messages go; nowhere by default.
    """
    from terrazzo.cli import cli

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if "OPERATIONS_SHOW" not in os.environ:
        os.dup2(os.open(said or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    try:
        cli.main(list(arguments), standalone_mode=False)
    except (click.ClickException, click.Abort) as error:
        print(repr(error), getattr(error, "message", ""), file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def shown(store: str) -> str:
    """A hash of what the current version shows, at full resolution and at low zooms; empty where nothing is published."""
    from terrazzo.errors import EmptyStore, NotFound
    from terrazzo.mosaic.blocks import Blocks
    from terrazzo.mosaic.pyramid import read_pyramid
    from terrazzo.store import Store
    from terrazzo.version import open_version
    from tests.chain import native

    try:
        if "://" not in store and not Path(store).exists():
            return ""
        version = open_version(Store(store), "mosaic")
    except (EmptyStore, NotFound):
        return ""
    image = native(version, version.entries("all")[0].scene.box, 32633)
    assert not image.problems, image.problems
    out = hashlib.sha256(image.values.tobytes())
    for part in read_pyramid(version.store, "mosaic", version.name).values():
        values, layers = part.read(version.store, Blocks(), version.bands, part.level, part.box)
        out.update(values.tobytes() + b"".join(v.tobytes() for v in layers.values()))
    return out.hexdigest()


def damages(store: str) -> str:
    """What `store verify` says is missing or damaged; empty where nothing is, or where a first run ended before there was a store."""
    from terrazzo.errors import StoreError
    from terrazzo.precompute.versions.verify import verify
    from terrazzo.store import Store

    try:
        there = Store(store)
    except StoreError:
        return ""
    return ", ".join(f"verify: {f.kind} {f.where}" for f in verify(there) if f.bad)


def state_of(store: Path) -> str:
    """A hash of all files of a store; times in documents, and what is random in names, left out."""
    out = hashlib.sha256()
    for path in sorted(store.rglob("*")):
        name = TEMPORARY.sub(".part", path.relative_to(store).as_posix())
        data = b"" if path.is_dir() else _steady(path)
        out.update(f"{name}\0{len(data)}\0".encode() + data)
    return out.hexdigest()


def _steady(path: Path) -> bytes:
    """The content of a file without what is another in each run; of whole notes of times and processes nothing."""
    data = path.read_bytes()
    if path.name == ".writer" or path.parent.name == ".clock":
        with suppress(Damaged):
            read_document(data, path.name)
            return b""
    return TIMES.sub(b"", data)


@dataclass
class Trials:
    """A command whose operations fail one at a time.

    Args:
        folder: for the stores of trials.
        library: as `build` gives it, loaded before libc in this process.

    Attributes:
        operations: how many the undisturbed command has.
    """

    case: Case
    folder: Path
    library: Path
    operations: int = 0
    _good: set[tuple[int, str]] = field(default_factory=set)
    _shown: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        self._said = self.folder / "said"
        status = self._counted()
        assert status == 0, f"{self.case.name} ends with {status} undisturbed; OPERATIONS_SHOW=1 shows why"
        counted, before, after, modules, kernels = json.loads(self._said.read_text())
        self.operations, self._shown = self.operations or counted, (before, after)
        preload(modules, kernels)

    def trial(self, number: int, how: str) -> str:
        """What goes wrong when the `number`-th operation fails; empty if nothing does.

        A trial that leaves the exit status and, byte by byte, the store of an earlier one that passed has passed.
        """
        self._copy("store")
        status = self._disturbed(number, how)
        if status == CRASHED:
            return "an error that is none for the user"
        state = (status, self._state())
        if state in self._good:
            return ""
        self._said.write_text("an error of the trial itself")
        if child(lambda: self._judged(status)):
            return self._said.read_text()
        if state[1]:
            self._good.add(state)
        return ""

    def _place(self, name: str) -> str:
        return str(self.folder / (name if name == "store" else f"whole {self.case.name}"))

    def _out(self, name: str) -> Path:
        return Path(self._place(name))

    def _copy(self, name: str) -> None:
        """Makes a store what it is before the command."""
        shutil.rmtree(self._place(name), ignore_errors=True)
        if self.case.base:
            shutil.copytree(self.case.base, self._place(name))

    def _state(self) -> str:
        """A hash of the store that a trial left; empty where it is not known."""
        return state_of(Path(self._place("store")))

    def _run(self, name: str, said: Path | None = None) -> int:
        return run(*self.case.on(self._place(name), self._out(name)), said=said)

    def _counted(self) -> int:
        self._copy("whole")
        return child(self._undisturbed)

    def _undisturbed(self) -> int:
        shim = ctypes.CDLL(str(self.library))
        shim.operations_count.restype = ctypes.c_long
        shim.operations_arm(os.fsencode(self._place("whole")), ctypes.c_long(0), 0, 0)
        status = self._run("whole")
        counted = shim.operations_count()
        shim.operations_arm(b"", ctypes.c_long(0), 0, 0)
        self._note(counted)
        return status

    def _note(self, counted: int) -> None:
        before = shown(str(self.case.base)) if self.case.base else ""
        after = shown(self._place("whole"))
        assert not damages(self._place("whole"))
        self._said.write_text(json.dumps([counted, before, after, list(sys.modules), loaded_kernels()]))

    def _disturbed(self, number: int, how: str) -> int:
        """The exit status of the command, one of whose operations fails."""

        def work() -> int:
            shim = ctypes.CDLL(str(self.library))
            kind, code = HOW[how]
            shim.operations_arm(os.fsencode(self._place("store")), ctypes.c_long(number), kind, code)
            try:
                return self._run("store", self.folder / "messages")
            finally:
                shim.operations_arm(b"", ctypes.c_long(0), 0, 0)

        return child(work)

    def _judged(self, status: int) -> int:
        """Whether the state between is one that may be, and whether the next run heals it."""
        store = self._place("store")
        if shown(store) not in self._shown:
            return self._wrong("neither the old version nor the new one is shown")
        if said := damages(store):
            return self._wrong(f"after it: {said}")
        if status == 0 and (shown(store) != self._shown[1] or not (self._has_output() or self._names())):
            return self._wrong("it says that all went well, and not all did")
        # What was done in spite of it may be refused when it is asked for again.
        if self._run("store") and status:
            return self._wrong("the next run fails")
        if shown(store) != self._shown[1]:
            return self._wrong("the next run gives other pixels")
        if not self._has_output():
            return self._wrong("the next run gives another file")
        said = damages(store)
        return self._wrong(f"after the next run: {said}") if said else 0

    def _has_output(self) -> bool:
        """Whether the file that the command writes besides is that of the undisturbed run."""
        name = self.case.output
        mine, whole = (self._out(n) / name for n in ("store", "whole"))
        return not name or (mine.exists() and mine.read_bytes() == whole.read_bytes())

    def _names(self) -> bool:
        """Whether the disturbed command named a scene that it left out."""
        return "left out" in (self.folder / "messages").read_text()

    def _wrong(self, what: str) -> int:
        self._said.write_text(what)
        return WRONG


def loaded_kernels() -> list[tuple[str, str, str]]:
    """Module, name and signature, pickled, of each compiled kernel in use."""
    import base64
    import pickle

    from numba.core.registry import CPUDispatcher

    return [
        (module, name, base64.b64encode(pickle.dumps(signature)).decode())
        for module, loaded in list(sys.modules.items())
        if module.startswith("terrazzo.")
        for name, kernel in vars(loaded).items()
        if isinstance(kernel, CPUDispatcher)
        for signature in kernel.signatures
    ]


def preload(modules: list[str], kernels: list[tuple[str, str, str]]) -> None:
    """Imports and loads once, before the children, what each of them would."""
    import base64
    import pickle

    for name in modules:
        if name not in sys.modules and name.partition(".")[0] != "__main__":
            try:
                import_module(name)
            except Exception:
                continue  # A part of a library that cannot be imported by itself.
    for module, name, signature in kernels:
        getattr(sys.modules[module], name).compile(pickle.loads(base64.b64decode(signature)))
