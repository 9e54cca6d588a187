"""The tile cache: one rendering for many, nothing that unpickles, no failure that reaches a client."""

import asyncio
import pickle
import sqlite3
import stat
import subprocess
import sys
import time
import zlib

import pytest

from terrazzo.server.cache import FOLDER, TileCache
from tests.waiting import PATIENCE


def run(work):
    return asyncio.run(work)


async def made(value=b"tile", keep=True):
    return value, keep


async def failing():
    raise AssertionError("the cache has this value")


def keep(folder, values, size=1 << 24):
    async def work():
        cache = TileCache(folder, size)
        for key, value in values.items():
            await cache.get(key, lambda v=value: made(v))
        await cache.close()

    run(work())


def ask(folder, key, make=made, size=1 << 24):
    async def work():
        cache = TileCache(folder, size)
        try:
            return await cache.get(key, make)
        finally:
            await cache.close()

    return run(work())


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_value_is_kept_across_restarts_whatever_its_size(tmp_path, size):
    keep(tmp_path, {"a": b"x" * size})
    assert ask(tmp_path, "a", failing) == (b"x" * size, "hit")


def test_equal_requests_at_once_are_rendered_once_even_when_the_first_leaves():
    async def work():
        cache, count, go = TileCache(None, 0), 0, asyncio.Event()

        async def slow():
            nonlocal count
            count += 1
            await go.wait()
            return b"tile", True

        first, *others = [asyncio.create_task(cache.get("a", slow)) for _ in range(5)]
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        go.set()
        assert [v for v, _ in await asyncio.gather(*others)] == [b"tile"] * 4
        assert count == 1
        await cache.close()

    run(work())


def test_an_error_reaches_all_who_wait_and_is_not_kept():
    async def work():
        cache = TileCache(None, 0)

        async def broken():
            await asyncio.sleep(0.01)
            raise ValueError("no")

        found = await asyncio.gather(*(cache.get("a", broken) for _ in range(3)), return_exceptions=True)
        assert [str(e) for e in found] == ["no"] * 3
        assert await cache.get("a", made) == (b"tile", "miss")
        await cache.close()

    run(work())


def test_the_folder_is_private_and_only_ours(tmp_path):
    tmp_path.chmod(0o755)
    keep(tmp_path, {"a": b"x"})
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_pickle_in_the_database_is_never_opened(tmp_path):
    keep(tmp_path, {"a": b"x"})
    evil = pickle.dumps(print)
    with sqlite3.connect(tmp_path / FOLDER / "cache.db") as database:
        database.execute("UPDATE Cache SET mode = 4, value = ?", (evil,))
    assert ask(tmp_path, "a") == (b"tile", "miss")


def test_a_file_outside_the_folder_is_never_read(tmp_path):
    # With the checksum of a value, so that only its place keeps it from being read.
    (tmp_path / "secret").write_bytes(zlib.crc32(b"secret").to_bytes(4, "little") + b"secret")
    keep(tmp_path, {"a": b"x" * 100_000, "b": b"y" * 100_000})
    for file in (tmp_path / FOLDER).rglob("*.val"):
        file.unlink()
        file.symlink_to(tmp_path / "secret")
    assert ask(tmp_path, "b") == (b"tile", "miss")
    with sqlite3.connect(tmp_path / FOLDER / "cache.db") as database:
        database.execute("UPDATE Cache SET filename = '../secret'")
    assert ask(tmp_path, "a") == (b"tile", "miss")
    assert (tmp_path / "secret").exists()


def test_a_truncated_or_missing_file_is_rendered_again(tmp_path):
    keep(tmp_path, {"a": b"x" * 100_000, "b": b"y" * 100_000})
    first, second = (tmp_path / FOLDER).rglob("*.val")
    first.write_bytes(first.read_bytes()[:500])
    second.unlink()
    assert ask(tmp_path, "a") == (b"tile", "miss")
    assert ask(tmp_path, "b") == (b"tile", "miss")


def test_a_damaged_database_is_replaced(tmp_path):
    keep(tmp_path, {"a": b"x"})
    (tmp_path / FOLDER / "cache.db").write_bytes(b"rubbish" * 1000)
    assert ask(tmp_path, "a") == (b"tile", "miss")
    assert ask(tmp_path, "a", failing) == (b"tile", "hit")


def test_a_full_disk_is_served_uncached_and_leaves_no_half_file(tmp_path, monkeypatch):
    import pathlib

    whole = pathlib.Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[:100])
            raise OSError(28, "No space left on device")

    def opened(path, mode="r", *args, **kwargs):
        file = whole(path, mode, *args, **kwargs)
        return Full(file) if mode == "xb" else file

    monkeypatch.setattr(pathlib.Path, "open", opened)
    assert ask(tmp_path, "a", lambda: made(b"x" * 100_000)) == (b"x" * 100_000, "miss")
    assert not list((tmp_path / FOLDER).rglob("*.val"))


def test_a_folder_that_cannot_be_used_is_served_without(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert ask(tmp_path / "file", "a") == (b"tile", "miss")


def test_the_cache_stays_within_its_size(tmp_path):
    keep(tmp_path, {str(i): bytes(100_000) for i in range(60)}, size=2 << 20)
    used = sum(f.stat().st_size for f in (tmp_path / FOLDER).rglob("*.val"))
    assert used <= 3 << 20


MAKER = """
import asyncio, sys
from pathlib import Path
from terrazzo.server.cache import TileCache

async def work(folder, log):
    async def make():
        with log.open("a") as file:
            file.write("made\\n")
        while not (folder / "go").exists():
            await asyncio.sleep(0.01)
        return b"tile", True

    cache = TileCache(folder, 1 << 24)
    print("ready", flush=True)
    value, source = await cache.get("a", make)
    await cache.close()
    print(value.decode(), source)

asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_equal_requests_of_several_processes_are_rendered_once_and_a_killed_one_blocks_none(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", MAKER, str(tmp_path), str(log)]

    def started():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    def lines(count):
        while not log.exists() or len(log.read_text().splitlines()) < count:
            time.sleep(0.01)
        return len(log.read_text().splitlines())

    killed = started()
    assert lines(1) == 1
    others = [started() for _ in range(3)]
    killed.kill()
    killed.wait()
    assert lines(2) == 2
    (tmp_path / "go").touch()
    told = sorted(p.communicate(timeout=PATIENCE)[0].strip() for p in others)
    assert told in (["tile miss", "tile shared", "tile shared"], ["tile hit", "tile miss", "tile shared"])
    assert lines(2) == 2
