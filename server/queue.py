"""The queue of exports, which only carries their names: a file that can be lost, since what a job is lies in its folder."""

import fcntl
import json
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from huey import SqliteHuey
from huey.api import Huey
from huey.exceptions import HueyException
from huey.registry import Message
from huey.serializer import Serializer

from terrazzo.errors import StoreError

log = logging.getLogger(__name__)
T = TypeVar("T")
FILE = "jobs.sqlite"
UNREADABLE = (HueyException, ValueError, LookupError, TypeError)
"""What a damaged message raises."""


class PlainSerializer(Serializer):  # type: ignore[misc]  # the library has no types
    """Messages as JSON: the library's own are pickled, and who may write to the queue could run code here."""

    def _serialize(self, data: Message) -> bytes:
        return json.dumps(data).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(data))


class Queue:
    """Names of jobs that wait, in a database in a folder, or in a server that several workers share.

    A database that is damaged is set aside, and an empty one takes its place: workers put the unfinished jobs back.

    Raises:
        StoreError: there is no library for such a server.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, url: str | None) -> None:
        self._folder, self._url = folder, url
        self._mended(self._open)

    def put(self, name: str) -> None:
        """Adds a name at the end."""
        self._mended(lambda: self._run(name))

    def next(self) -> str | None:
        """Takes the first name out; None where there is none."""
        while True:
            try:
                task = self._mended(lambda: self._huey.dequeue())
                return None if task is None else str(task.args[0])
            except UNREADABLE as error:
                # It is out of the queue already; its export is unfinished, and workers put such ones back.
                log.error("a message of the queue of exports is damaged and left out: %s", error)

    def waiting(self) -> set[str]:
        """All names; none where one cannot be read: a name that stands twice does no harm."""
        try:
            return {str(t.args[0]) for t in self._mended(lambda: self._huey.pending())}
        except UNREADABLE:
            return set()

    def _open(self) -> None:
        self._huey = _huey(self._folder, self._url)
        self._run = self._huey.task(name="export")(lambda name: name)

    def _mended(self, work: Callable[[], T]) -> T:
        """What `work` gives, once more with an empty queue where the database is damaged."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not _set_aside(self._folder / FILE, error):
                raise
        self._open()
        return work()


def _huey(folder: Path, url: str | None) -> Huey:
    common = {"results": False, "serializer": PlainSerializer()}
    if url is None:
        return SqliteHuey("exports", filename=str(folder / FILE), **common)
    try:
        from huey import RedisHuey

        return RedisHuey("exports", url=url, **common)
    except Exception as error:
        raise StoreError(
            f"TERRAZZO_JOBS_URL={urlsplit(url).scheme}://…: {error}; it needs `pip install redis` and its address"
        ) from None


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> bool:
    """Renames a database that is damaged, with its log; whether a new one may be opened.

    Server and worker see the damage at the same time: the second one meets the first one's new database, or none.
    """
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reason = _damage(path)
        if not reason:
            # Another process mended it, or the file was removed; a full disk or a lock is no damage.
            return "no such table" in str(error) or not isinstance(error, sqlite3.OperationalError)
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        path.rename(aside)
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
    log.error(
        "the queue of exports is damaged (%s): it is kept as %s, which you may remove, and a new one begins empty; the worker"
        " puts unfinished exports back, nothing is to be ordered again. Check the disk",
        reason,
        aside,
    )
    return True


def _damage(path: Path) -> str:
    """What is wrong with a database; empty where nothing is."""
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(path)) as file:
            said = str(file.execute("pragma quick_check(1)").fetchone()[0])
            there = file.execute("select 1 from sqlite_master where name = 'task'").fetchone()
            return said if said != "ok" else "" if there else "it was emptied"
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
