"""A store keeps its format, publishes files whole, and says what to do when it cannot be used."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from terrazzo.checks import document_bytes
from terrazzo.errors import Damaged, NotFound, StoreError, StoreUnreachable
from terrazzo.store import FORMAT, Store, StoreConfig, create_store
from tests.conftest import ROOT

SAMPLE = StoreConfig(pixel=60, mask_pixel=60, window=64, bands=("B02", "B03", "B04", "B08"))


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "store", SAMPLE)


def test_a_store_remembers_what_it_was_made_with(store):
    assert Store(store.url).config == SAMPLE
    assert pickle.loads(pickle.dumps(store)).config == SAMPLE
    assert create_store(store.url, SAMPLE).config == SAMPLE


def test_a_store_cannot_be_made_again_with_other_pixels(store):
    with pytest.raises(StoreError, match="keeps what it was created with"):
        create_store(store.url, StoreConfig())


def test_no_store_is_made_among_other_files(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(StoreError, match="not empty"):
        create_store(tmp_path, SAMPLE)


def test_a_planned_store_is_none_until_something_of_it_is_written(tmp_path):
    planned = Store(tmp_path / "store", SAMPLE)
    planned.clear_scratch()
    assert pickle.loads(pickle.dumps(planned)).config == SAMPLE
    with pytest.raises(StoreError, match="is empty"):
        Store(planned.url)
    other = Store(planned.url, StoreConfig())
    other.write_config()
    assert Store(planned.url).config == StoreConfig()
    with pytest.raises(StoreError, match="keeps what it was created with"):
        planned.write_config()


def test_of_runs_that_begin_a_store_together_one_decides_and_the_others_agree_or_end(tmp_path):
    plans = [SAMPLE, StoreConfig()] * 8
    stores = [Store(tmp_path / "store", plan) for plan in plans]
    together = threading.Barrier(len(plans))

    def begin(store):
        together.wait()
        try:
            store.write_config()
        except StoreError:
            return None
        return store.config

    with ThreadPoolExecutor(len(plans)) as pool:
        made = list(pool.map(begin, stores))
    decided = Store(tmp_path / "store").config
    assert made == [plan if plan == decided else None for plan in plans]


def test_a_missing_store_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(StoreError, match="terrazzo precompute"):
        Store(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("number", "advice"), [(FORMAT + 1, "upgrade"), (0, "new folder"), ("x", "new folder")]
)
def test_a_store_of_another_format_is_refused_with_advice(store, number, advice):
    raw = json.loads(store.read_bytes("store.json")) | {"format": number}
    store.write_json("store.json", raw)
    with pytest.raises(StoreError, match=advice):
        Store(store.url)


def test_a_reader_sees_the_old_bytes_or_the_new_never_a_part(store):
    old, new = b"o" * 400_000, b"n" * 700_000
    store.write_bytes("a/b", old)
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(store.read_bytes("a/b"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        store.write_bytes("a/b", new)
        store.write_bytes("a/b", old)
    stop.set()
    reader.join()
    assert seen <= {old, new}


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(store, monkeypatch):
    store.write_bytes("a/b", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store.write_bytes("a/b", b"new")
    assert store.read_bytes("a/b") == b"old"
    assert list(store.list("a")) == ["a/b"]


def test_unfinished_files_are_not_listed(store):
    (store.scratch() / "half.tif").write_bytes(b"x")
    store.write_bytes("scenes/x", b"1")
    assert "scenes/x" in list(store.list())
    assert not any("half" in k for k in store.list())


def test_what_a_killed_run_left_is_removed_and_what_a_running_one_writes_is_not(store):
    left, writing = store.scratch() / "left", store.scratch() / "writing.tif"
    left.mkdir()
    (left / "B02.tif").write_bytes(b"x")
    os.utime(left, (0, 0))
    writing.write_bytes(b"x")
    store.clear_scratch()
    assert list(store.scratch().iterdir()) == [writing]


def test_a_published_file_has_moved(store, tmp_path):
    source = tmp_path / "new.tif"
    source.write_bytes(b"content")
    store.publish_file(source, "scenes/x/B02.tif")
    assert not source.exists()
    assert store.read_bytes("scenes/x/B02.tif") == b"content"
    assert store.size("scenes/x/B02.tif") == 7


def test_create_lets_only_the_first_win(store):
    assert store.create("lease", b"1")
    assert not store.create("lease", b"2")
    assert store.read_bytes("lease") == b"1"


def test_what_is_not_there_is_not_found(store):
    with pytest.raises(NotFound, match="scenes/none"):
        store.read_bytes("scenes/none")
    assert not store.exists("scenes/none")


@pytest.mark.parametrize("bad", [{"window": 100}, {"window": 8}, {"mask_pixel": 30.0}, {"bands": ("B99",)}])
def test_a_store_that_cannot_work_is_refused(bad):
    with pytest.raises(StoreError):
        StoreConfig(**bad)


def written(store):
    """One file of each kind that a store has readers for, with its reader."""
    table, arrays, packed = io.BytesIO(), io.BytesIO(), pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2, 3]}), table)
    np.savez(arrays, a=np.arange(300))
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(arrays.getvalue())
    files = {
        "x.json": (document_bytes({"a": [1, 2, 3]}), store.read_json),
        "x.parquet": (table.getvalue(), store.read_table),
        "x.npz": (arrays.getvalue(), store.read_arrays),
        "x.npz.zst": (packed.getvalue().to_pybytes(), store.read_arrays),
    }
    for name, (data, _) in files.items():
        store.write_bytes(name, data)
    return files


def test_every_reader_gives_what_was_written(store):
    files = written(store)
    assert files["x.json"][1]("x.json") == {"a": [1, 2, 3]}
    assert store.read_table("x.parquet", ["a", "b"], [("a", ">", 1)]).to_pydict() == {"a": [2, 3]}
    assert (store.read_arrays("x.npz")["a"] == np.arange(300)).all()
    assert (store.read_arrays("x.npz.zst")["a"] == np.arange(300)).all()


@pytest.mark.parametrize("name", ["x.json", "x.parquet", "x.npz", "x.npz.zst"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-9],
        lambda d: d[: len(d) // 2],
        lambda d: b"",
        lambda d: bytes(len(d)),
        lambda d: b"\xff" * 40,
    ],
    ids=["cut", "half", "empty", "zeros", "noise"],
)
def test_every_reader_names_a_damaged_file(store, name, damage):
    data, read = written(store)[name]
    store.write_bytes(name, damage(data))
    with pytest.raises(Damaged, match=re.escape(name)):
        read(name)
    store.delete(name)
    with pytest.raises(NotFound, match=re.escape(name)):
        read(name)


def test_a_store_that_refuses_is_named_with_what_to_look_at(monkeypatch):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for name, value in {"ENDPOINT_URL": address, "ALLOW_HTTP": "true", "REGION": "eu"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        with pytest.raises(StoreUnreachable, match=r"^store\.json cannot be read$") as refused:
            Store("s3://bucket/store")
        assert re.search(r"\(s3://bucket/store: .*403.*rights\)$", refused.value.whole)
        server.shutdown()


def test_no_module_parses_what_it_reads_of_a_store_itself():
    own = re.compile(r"(np\.load|pq\.\w+|json\.loads|BytesIO|BufferReader)\([^\n]*store\.read_bytes\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("terrazzo", "precompute", "server")
        for path in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if own.search(line)
    ]
    assert found == []


def test_what_a_killed_writer_leaves_lies_where_the_next_run_removes_it(tmp_path):
    store = create_store(tmp_path / "store", StoreConfig())
    killed = (
        "import os, sys; from terrazzo.store import Store; os.replace = lambda *_: os.kill(os.getpid(), 9);"
        "Store(sys.argv[1]).write_bytes('mosaics/a/b.json', b'half')"
    )
    done = subprocess.run([sys.executable, "-c", killed, store.url])
    assert done.returncode == -9
    (left,) = store.root.rglob("*.part")
    store.clear_scratch()
    assert left.exists()
    os.utime(left, (0, 0))
    store.clear_scratch()
    assert not list(store.root.rglob("*.part"))
    assert not store.exists("mosaics/a/b.json")
