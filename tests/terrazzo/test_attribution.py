"""What data must be shown with is told of the scenes that show, and of what else they were made with."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from terrazzo.store import Store
from terrazzo.version import open_version

SENTINEL = "Contains modified Copernicus Sentinel data 2023"
CAMS = "contains modified Copernicus Atmosphere Monitoring Service information 2023"


@pytest.fixture
def told(sample_store, tmp_path):
    """Versions of the sample whose first scene has an air and an elevation model."""

    def version(origin, dem):
        copy = tmp_path / "store"
        if not copy.exists():
            shutil.copytree(sample_store, copy)
        (path,) = copy.glob("mosaics/mosaic/versions/*/scenes.parquet")
        table = pq.read_table(path).drop_columns(
            [c for c in pq.read_schema(path).names if c in ("terrazzo:air", "terrazzo:elevation_model")]
        )
        rest = [None] * (len(table) - 1)
        air = pa.array([{"aot": {"mean": 0.1, "origin": origin}}, *rest])
        table = table.append_column("terrazzo:air", air)
        table = table.append_column("terrazzo:elevation_model", pa.array([dem, *rest], pa.string()))
        pq.write_table(table, path)
        # As a store of the format before, which has no checksums of tables.
        store, key = Store(copy), path.with_name("lock.json").relative_to(copy).as_posix()
        store.write_json(key, {k: v for k, v in store.read_json(key).items() if k != "sums"})
        return open_version(Store(copy), "mosaic")

    return version


def test_sentinel_alone_is_named_alone(sample_store):
    assert open_version(Store(sample_store), "mosaic").attribution == SENTINEL


@pytest.mark.parametrize(
    ("origin", "dem", "parts"),
    [
        (
            "dark vegetation in 40% of the cells, blended with: weather model in the product",
            None,
            [SENTINEL, CAMS],
        ),
        ("default", None, [SENTINEL]),
        ("default", "heights-2019.tif", [SENTINEL, "elevation model heights-2019.tif"]),
        (
            "weather model in the product",
            "Copernicus_DSM_COG_10.vrt",
            [SENTINEL, CAMS, "produced using Copernicus WorldDEM"],
        ),
    ],
)
def test_aerosol_and_elevation_models_are_named_when_they_were_used(told, origin, dem, parts):
    version = told(origin, dem)
    lines = version.attribution.split("; ")
    assert all(line.startswith(p) for line, p in zip(lines, parts, strict=False))
    assert len(lines) == len(parts) + (1 if dem and "Copernicus" in dem else 0)
    entries = version.entries("all")
    plain = [e for e in entries if not e.aerosol_model and not e.dem]
    assert len(plain) == len(entries) - (1 if len(parts) > 1 else 0)
    assert version.attribution_of(plain) == SENTINEL
