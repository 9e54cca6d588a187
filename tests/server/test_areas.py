"""Files of areas from elsewhere: what is no table, or takes too much, is refused by a process that ends; what is sound is read."""

import sqlite3
import threading
import time
from contextvars import copy_context

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from terrazzo.errors import Abandoned, InvalidRequest
from terrazzo.server import areas as apart
from terrazzo.server.areas import read_apart
from terrazzo.statistics.areas import read_areas
from terrazzo.stop import STOP

SQUARES = shapely.box(np.arange(5) + 15.0, 45.0, np.arange(5) + 15.5, 45.5)


@pytest.fixture
def gpkg(tmp_path):
    path = tmp_path / "areas.gpkg"
    pyogrio.raw.write(
        path, shapely.to_wkb(SQUARES), [np.array(list("abcde"), object)], ["name"],
        layer="fields", geometry_type="Polygon", crs="EPSG:4326", driver="GPKG",
    )  # fmt: skip
    return path


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "areas.parquet"
    table = pa.table({"name": list("abcde"), "geometry": shapely.to_wkb(SQUARES).tolist()})
    geo = '{"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}'
    pq.write_table(table.replace_schema_metadata({"geo": geo}), path)
    return path


@pytest.mark.parametrize("kind", ["gpkg", "parquet"])
@pytest.mark.parametrize("name", [None, "name"])
def test_a_sound_file_gives_the_areas_that_the_library_reads(request, kind, name):
    path = request.getfixturevalue(kind)
    found, own = read_apart(path, name), read_areas(path, name)
    assert found.geometry.equals(own.geometry)
    assert found.ids.to_pylist() == own.ids.to_pylist()
    assert (found.id_name, found.crs) == (own.id_name, own.crs)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def changed(path, *statements):
    with sqlite3.connect(path) as file:
        for statement in statements:
            file.execute(statement)
    file.close()


ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS fid, NULL AS geom FROM n"
)


def test_a_view_under_the_name_of_a_layer_is_refused_before_it_runs(gpkg):
    changed(gpkg, "ALTER TABLE fields RENAME TO others", f"CREATE VIEW fields AS {ENDLESS}")
    changed(gpkg, "UPDATE gpkg_contents SET table_name = 'fields'")
    with pytest.raises(InvalidRequest, match="layer fields is a view: write what it shows as a table"):
        read_apart(gpkg)


def test_a_list_of_layers_that_is_a_view_is_refused(gpkg):
    changed(gpkg, "ALTER TABLE gpkg_contents RENAME TO others", f"CREATE VIEW gpkg_contents AS {ENDLESS}")
    with pytest.raises(InvalidRequest, match="not those of a GeoPackage"):
        read_apart(gpkg)


@pytest.mark.parametrize(
    "content", [b"", b"SQLite format 3\0" + bytes(84), b"PAR1", b"PAR1" + bytes(99) + b"PAR1"]
)
@pytest.mark.parametrize("ending", ["gpkg", "parquet", "geojson"])
def test_what_is_no_such_file_is_refused(tmp_path, content, ending):
    path = tmp_path / f"areas.{ending}"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"areas\."):
        read_apart(path)


def test_a_file_that_unpacks_to_more_memory_than_it_may_have_is_refused(tmp_path):
    """Small as a file, 4 GB of one point's zeros in memory."""
    path = tmp_path / "areas.parquet"
    column = pa.array([bytes(1 << 20)] * 64, pa.binary())
    table = pa.table({"geometry": column})
    geo = '{"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}'
    with pq.ParquetWriter(
        path, table.replace_schema_metadata({"geo": geo}).schema, compression="zstd"
    ) as writer:
        for _ in range(64):
            writer.write_table(table.replace_schema_metadata({"geo": geo}))
    assert path.stat().st_size < 4 << 20
    with pytest.raises(InvalidRequest, match=r"malloc of size|cannot be read within"):
        read_apart(path, memory=1 << 30)


def test_too_many_rows_are_refused_by_what_the_file_says(parquet, gpkg, monkeypatch):
    monkeypatch.setattr(apart, "MOST_AREAS", 4)
    for path in (parquet, gpkg):
        with pytest.raises(InvalidRequest, match=r"5 areas.*divide it"):
            apart._require_tables(path, None)


def test_what_takes_too_long_ends(gpkg):
    """A virtual table's own code is not looked through: the limits end what gets past the look."""
    with pytest.raises(InvalidRequest, match="within 0 s"):
        read_apart(gpkg, seconds=0)


def test_nobody_waits_for_a_process_whose_client_has_left(gpkg):
    stop, context = threading.Event(), copy_context()
    context.run(STOP.set, stop)
    stop.set()
    start = time.monotonic()
    with pytest.raises(Abandoned):
        context.run(read_apart, gpkg)
    assert time.monotonic() - start < 60
