"""The folder of keys and jobs: damage, writers at the same time, clocks that jump."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from terrazzo.checks import document_bytes
from terrazzo.errors import Damaged, StoreError
from terrazzo.server.app import create_app
from terrazzo.server.jobs import Jobs
from terrazzo.server.keys import Keys
from terrazzo.server.mosaics import Mosaics
from terrazzo.server.settings import Settings

EXPORTS = "/mosaics/mosaic/exports"
ORDER = {"bbox": [15.95, 45.8, 15.98, 45.82], "bands": ["B04"]}
OWN = "http://127.0.0.1"
DAY = 86_400.0


def cut(data):
    return data[: len(data) // 2]


def emptied(data):
    return b""


def zeroed(data):
    return bytes(len(data))


def flipped(data):
    return data.replace(b'"accepted"', b'"accaptad"').replace(b'"successful"', b'"succassful"')


def of_another(data):
    return json.dumps({**json.loads(data), "since_release_9": 1}).encode()


DAMAGES = [cut, emptied, zeroed, flipped, of_another]


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def http(sample_store, state):
    with TestClient(create_app(Settings(store=str(sample_store), state=state)), base_url=OWN) as client:
        yield client


def worked(sample_store, state):
    jobs = Jobs(state)
    while name := jobs.next():
        jobs.run(name, Mosaics(str(sample_store), 5).engine, hours=1, threads=2)


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_damaged_job_takes_no_other_down(http, sample_store, state, caplog, damage):
    """List, order, work and tidying go on; the damaged one is named in the log and where it is asked for."""
    broken, sound = (http.post(EXPORTS, json=ORDER).json()["jobID"] for _ in range(2))
    path = state / "exports" / broken / "job.json"
    path.write_bytes(damage(path.read_bytes()))
    assert [j["jobID"] for j in http.get(EXPORTS).json()["jobs"]] == [sound]
    asked = http.get(f"{EXPORTS}/{broken}")
    assert asked.status_code == 503
    assert broken in asked.json()["detail"]
    assert "order it again" in asked.json()["detail"]
    third = http.post(EXPORTS, json=ORDER)
    assert third.status_code == 201
    worked(sample_store, state)
    Jobs(state).revive()
    Jobs(state).tidy(7)
    found = {j["jobID"]: j["status"] for j in http.get(EXPORTS).json()["jobs"]}
    assert found == {sound: "successful", third.json()["jobID"]: "successful"}
    assert any(broken in r.getMessage() for r in caplog.records)


def test_a_job_that_cannot_be_read_takes_no_other_down(http, state):
    """The system itself answers EIO: reading a process's memory at 0 does."""
    broken, sound = (http.post(EXPORTS, json=ORDER).json()["jobID"] for _ in range(2))
    path = state / "exports" / broken / "job.json"
    path.unlink()
    path.symlink_to("/proc/self/mem")
    assert [j["jobID"] for j in http.get(EXPORTS).json()["jobs"]] == [sound]
    assert http.get(f"{EXPORTS}/{broken}").status_code == 503


def look(state, **changed):
    path = state / "clock.json"
    seconds, boot, uptime, wall = json.loads(path.read_text())["look"]
    values = {"seconds": seconds, "boot": boot, "uptime": uptime, "wall": wall}
    values |= {k: change(values[k]) for k, change in changed.items()}
    path.write_bytes(document_bytes({"look": list(values.values())}))


def test_a_clock_set_forward_deletes_no_finished_export_and_time_does(http, sample_store, state):
    address = http.post(EXPORTS, json=ORDER).headers["location"]
    worked(sample_store, state)
    # Eight days on the wall clock since the last look, in the same run of the machine, and over a restart.
    look(state, wall=lambda v: v - 8 * DAY)
    Jobs(state).tidy(7)
    look(state, wall=lambda v: v - 8 * DAY, boot=lambda v: "another")
    Jobs(state).tidy(7)
    assert http.get(f"{address}/results").status_code == 200
    # Seven days of the machine's own, which began before the last look.
    look(state, seconds=lambda v: v + 7 * DAY)
    Jobs(state).tidy(7)
    assert http.get(address).status_code == 404


def test_exports_outlive_a_lost_clock(http, sample_store, state):
    address = http.post(EXPORTS, json=ORDER).headers["location"]
    Jobs(state).tidy(7)
    look(state, seconds=lambda v: 30 * DAY)
    worked(sample_store, state)
    (state / "clock.json").write_bytes(b"")
    Jobs(state).tidy(7)
    assert http.get(address).status_code == 200
    look(state, seconds=lambda v: v + 8 * DAY)
    Jobs(state).tidy(7)
    assert http.get(address).status_code == 404


def test_what_killed_writers_left_goes_when_it_is_old(http, state):
    name = http.post(EXPORTS, json=ORDER).json()["jobID"]
    old, new = (state / "exports" / name / f".{n}.part" for n in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"{")
    folder = state / ".areas-of-a-killed-upload"
    folder.mkdir()
    (folder / "areas").write_bytes(b"half")
    for path in (old, folder):
        os.utime(path, (0, 0))
    Jobs(state).tidy(7)
    assert (old.exists(), new.exists(), folder.exists()) == (False, True, False)


def test_a_damaged_job_goes_when_it_has_expired(http, state):
    name = http.post(EXPORTS, json=ORDER).json()["jobID"]
    (state / "exports" / name / "job.json").write_bytes(b"")
    Jobs(state).tidy(7)
    assert (state / "exports" / name).exists()
    look(state, seconds=lambda v: v + 8 * DAY)
    Jobs(state).tidy(7)
    assert not (state / "exports" / name).exists()


def test_keys_that_several_processes_add_at_once_are_all_kept(state):
    command = [Path(sys.executable).parent / "terrazzo", "keys", "--store", "x", "--state", state]
    adding = [
        subprocess.Popen(
            [*command, "add", f"user {n}", "--scope", "tiles"], stdout=subprocess.PIPE, text=True
        )
        for n in range(8)
    ]
    texts = [p.communicate()[0].strip() for p in adding]
    assert all(Keys(state).find(t) for t in texts)
    assert {k.name for k in Keys(state).all()} == {f"user {n}" for n in range(8)}


@pytest.mark.parametrize("damage", [cut, emptied, zeroed])
def test_a_damaged_file_of_keys_takes_none_away(state, caplog, damage):
    keys = Keys(state)
    kept, gone = keys.add("kept", ["tiles"]), keys.add("gone", ["tiles"])
    keys.revoke(gone.split("_")[1])
    assert keys.find(kept)
    path = state / "keys.json"
    path.write_bytes(damage(path.read_bytes()))
    # In the running server, and in one that starts now.
    for known in (keys, Keys(state)):
        assert known.find(kept).name == "kept"
        assert known.find(gone) is None
    assert "keys.json is damaged" in caplog.text
    added = Keys(state).add("new", ["tiles"])
    assert {k.name for k in Keys(state).all()} == {"kept", "new"}
    assert keys.find(added)
    json.loads(path.read_text())


def test_without_a_sound_copy_no_key_is_added_over_damaged_ones(state):
    Keys(state).add("kept", ["tiles"])
    for name in ("keys.json", "keys.copy.json"):
        (state / name).write_bytes(b"[{")
    with pytest.raises(StoreError, match="restore it from a backup"):
        Keys(state).add("new", ["tiles"])
    assert (state / "keys.json").read_bytes() == b"[{"


def test_the_worker_leaves_a_damaged_job_out(http, sample_store, state):
    name = http.post(EXPORTS, json=ORDER).json()["jobID"]
    (state / "exports" / name / "job.json").write_bytes(b"{}")
    worked(sample_store, state)
    with pytest.raises(Damaged):
        Jobs(state).get("mosaic", name)


@pytest.mark.parametrize("damage", [cut, emptied, zeroed, "message", "missing"])
def test_a_damaged_queue_takes_no_export_away(http, sample_store, state, caplog, damage):
    """The file is kept beside, what is ordered before and after is worked on, and tiles know nothing of it."""
    before = http.post(EXPORTS, json=ORDER).json()["jobID"]
    path = state / "jobs.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("pragma wal_checkpoint(truncate)")
        if damage == "message":
            file.execute("update task set data = ?", (b'["x", 1',))
            file.commit()
    if damage == "missing":
        path.unlink()
    elif damage != "message":
        path.write_bytes(damage(path.read_bytes()))
    assert http.get("/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png").status_code == 200
    after = http.post(EXPORTS, json=ORDER)
    assert after.status_code == 201
    Jobs(state).revive()
    worked(sample_store, state)
    statuses = {j["jobID"]: j["status"] for j in http.get(EXPORTS).json()["jobs"]}
    assert statuses == {before: "successful", after.json()["jobID"]: "successful"}
    kept = list(state.glob("jobs.sqlite.damaged-*"))
    assert bool(kept) == any("a new one begins empty" in r.getMessage() for r in caplog.records)
    assert bool(kept) == (damage not in ("missing", "message"))
