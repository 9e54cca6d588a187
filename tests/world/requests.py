"""Lets a request to an object store fail: `tests/world/operations.py` for requests instead of operations on files.

The store is in a real S3 server. A proxy before it counts the requests of one command and answers the n-th with 403, before or
after it was carried out, or kills the command then. (What S3 clients ask again by themselves, 503 and broken connections, is no
failure yet: they are tried in `tests/precompute/acquire/test_faults.py`.)
"""

import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import obstore

from tests.world.archive import BUCKET, KEYS, bucket, s3_server
from tests.world.faults import Kind, Proxy, Seen, proxy
from tests.world.operations import Trials, child

WAYS = ("refused", "lost", "kill", "kill after")
"""403 before or after the request was carried out; the command killed before or after that."""
REMOTE = (
    "publish an earlier version",
    "export",
    "exclude",
    "prune",
    "store upgrade",
    "precompute",
    "precompute another date",
)
"""Cases that read or write an object store."""


@contextmanager
def object_store(folder: Path) -> Iterator[tuple[str, Proxy]]:
    """The address of an S3 server and a proxy before it, to which this process's children speak."""
    folder.mkdir(parents=True, exist_ok=True)
    with s3_server(folder, {}) as server, proxy(server) as running:
        os.environ |= {**KEYS, "AWS_ENDPOINT_URL": running.address, "AWS_ALLOW_HTTP": "true"}
        os.environ |= {"AWS_S3_ENDPOINT": running.address.removeprefix("http://"), "AWS_HTTPS": "NO"}
        os.environ |= {"AWS_VIRTUAL_HOSTING": "FALSE"}
        yield server, running


@dataclass
class RequestTrials(Trials):
    """A command whose requests fail one at a time.

    Args:
        server: address of the S3 server itself.
        proxy: before it.
    """

    server: str = ""
    proxy: Proxy = field(default_factory=lambda: Proxy("", lambda seen: None, []))

    def _place(self, name: str) -> str:
        return f"s3://{BUCKET}/{name}"

    def _out(self, name: str) -> Path:
        return self.folder / f"out of {name}"

    def _copy(self, name: str) -> None:
        shutil.rmtree(self._out(name), ignore_errors=True)
        self._out(name).mkdir()
        child(lambda: self._put(name))

    def _put(self, name: str) -> int:
        objects = bucket(self.server)
        for page in obstore.list(objects, name):
            obstore.delete(objects, [meta["path"] for meta in page])
        base = self.case.base
        for path in sorted(p for p in base.rglob("*") if p.is_file()) if base else ():
            key = path.relative_to(base).as_posix()  # type: ignore[arg-type]
            if not f"/{key}".count("/."):
                obstore.put(objects, f"{name}/{key}", path.read_bytes())
        return 0

    def _state(self) -> str:
        return ""

    def _counted(self) -> int:
        self._copy("whole")
        self.proxy.seen.clear()
        status = child(lambda: self._run("whole"))
        self.operations = len(self.proxy.seen)

        def work() -> int:
            self._note(self.operations)
            return status

        return child(work)

    def _disturbed(self, number: int, how: str) -> int:
        processes = list[int]()
        left = itertools.count(1)

        def fault(seen: Seen) -> Kind | None:
            return how if next(left) == number else None  # type: ignore[return-value]

        self.proxy.fault = fault
        # It is known by then: it has asked something.
        self.proxy.kill = lambda: os.kill(processes[0], signal.SIGKILL)
        try:
            return child(lambda: self._run("store", self.folder / "messages"), processes.append)
        finally:
            self.proxy.fault = lambda seen: None
