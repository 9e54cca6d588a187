"""Reads files of areas from elsewhere in a process of their own, which has so much time and memory and no more.

What opens such files are large libraries in C, and the files can be made to keep them busy for ever: a view of a GeoPackage
is a program. `python -m terrazzo.server.areas FILE OUT ID LAYER SECONDS BYTES` is that process.
"""

import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from pyproj import CRS

from terrazzo.errors import InvalidRequest
from terrazzo.statistics.areas import Areas, read_areas
from terrazzo.stop import require_wanted

SECONDS = 60
"""Of a processor, for the largest file."""
BYTES = 3 << 30
"""Of memory, of which the libraries take some 0.3 GB."""
MOST_AREAS = 1_000_000
WRITTEN = 2 << 30
"""Bytes that the process may write."""
REFUSED = 3
"""Exit code: the reason lies in the file where the areas would be."""


def read_apart(
    path: Path,
    id_name: str | None = None,
    layer: str | None = None,
    *,
    seconds: int = SECONDS,
    memory: int = BYTES,
) -> Areas:
    """`terrazzo.statistics.areas.read_areas` of an untrusted file.

    Args:
        seconds: of a processor; twice as many by the clock.
        memory: in bytes.

    Raises:
        InvalidRequest: the file holds no polygons that can be placed, too many, or needs more than it may have.
        Abandoned: the client left.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        out = Path(folder) / "areas"
        # -P: a file of the user's folder must not stand for a module of ours.
        command = [
            *(sys.executable, "-P", "-m", "terrazzo.server.areas"),
            *(str(path), str(out), json.dumps(id_name), json.dumps(layer), str(seconds), str(memory)),
        ]
        nothing = subprocess.DEVNULL
        kept = {k: v for k, v in os.environ.items() if not k.startswith(SECRETS)}
        with subprocess.Popen(
            command, env={**kept, **ENVIRONMENT}, stdin=nothing, stdout=nothing, stderr=nothing
        ) as process:
            try:
                _await(process, 2 * seconds)
            finally:
                process.kill()
        if process.returncode == REFUSED:
            raise InvalidRequest(out.read_text())
        if process.returncode != 0 or not out.exists():
            raise InvalidRequest(
                f"{path.name}: it cannot be read within {seconds} s and {memory >> 20} MB of memory: is it damaged?"
                " Else divide it, or leave out columns and vertices"
            )
        with pa.OSFile(str(out)) as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all()
    about = table.schema.metadata
    geometry, ids = (table[n].combine_chunks() for n in ("geometry", "ids"))
    return Areas(geometry, ids, about[b"id_name"].decode(), CRS.from_wkt(about[b"crs"].decode()))


SECRETS = ("AWS_", "AZURE_", "GOOGLE_", "GS_", "CDSE_", "TERRAZZO_")
"""How names of variables begin that the process has no use for."""
ENVIRONMENT = {
    # Threads would each take their share of the memory.
    **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
    # What a GeoPackage's own definitions may call, and what GDAL opens beside it: nothing.
    **{"OGR_SQLITE_PRAGMA": "trusted_schema=OFF", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"},
}


def _await(process: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        require_wanted()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue


def main(arguments: list[str]) -> int:
    """Reads areas within limits and writes them as an Arrow file, or why they cannot be read; returns the exit code."""
    path, out = Path(arguments[0]), Path(arguments[1])
    id_name, layer = json.loads(arguments[2]), json.loads(arguments[3])
    _limit(int(arguments[4]), int(arguments[5]))
    try:
        _require_tables(path, layer)
        areas = read_areas(path, id_name, layer)
        if len(areas.geometry) > MOST_AREAS:
            raise InvalidRequest(f"{path.name}: {len(areas.geometry)} areas, {TOO_MANY}")
    except InvalidRequest as error:
        out.write_text(str(error))
        return REFUSED
    metadata = {"id_name": areas.id_name, "crs": areas.crs.to_wkt()}
    table = pa.table({"geometry": areas.geometry, "ids": areas.ids}).replace_schema_metadata(metadata)
    with pa.OSFile(str(out), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return 0


TOO_MANY = f"at most {MOST_AREAS} in a file: divide it"


def _limit(seconds: int, memory: int) -> None:
    pa.set_cpu_count(1)
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, WRITTEN),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def _require_tables(path: Path, layer: str | None) -> None:
    """Refuses a file whose areas are no rows of a table, or too many, before any of them is read.

    Raises:
        InvalidRequest: it is such a file.
    """
    if path.suffix == ".parquet":
        try:
            rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError):
            # What is wrong with it, reading it says.
            return
        if rows > MOST_AREAS:
            raise InvalidRequest(f"{path.name}: {rows} areas, {TOO_MANY}")
    if path.suffix == ".gpkg":
        try:
            with sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True) as file:
                _require_real(file, path.name, layer)
        except sqlite3.Error as error:
            raise InvalidRequest(f"{path.name}: no GeoPackage that can be read ({error})") from None


def _require_real(file: sqlite3.Connection, name: str, layer: str | None) -> None:
    file.execute("PRAGMA trusted_schema=OFF")
    objects = {
        n.lower(): (kind, sql or "")
        for n, kind, sql in file.execute("SELECT name, type, sql FROM sqlite_master")
    }
    unreal = {
        n for n, (kind, sql) in objects.items() if kind == "view" or "virtual" in sql.lower().split()[:2]
    }
    if any(n.startswith("gpkg_") for n in unreal) or "gpkg_contents" not in objects:
        raise InvalidRequest(f"{name}: its tables are not those of a GeoPackage; write it again")
    listed = [t for (t,) in file.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features'")]
    for table in [t for t in listed if layer is None or t == layer]:
        if table.lower() in unreal:
            raise InvalidRequest(f"{name}: layer {table} is a view: write what it shows as a table")
        quoted = '"' + table.replace('"', '""') + '"'
        (rows,) = file.execute(f"SELECT COUNT(*) FROM {quoted}").fetchone()  # quoted
        if rows > MOST_AREAS:
            raise InvalidRequest(f"{name}: {rows} areas in {table}, {TOO_MANY}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
