"""What may not become a version."""

import shutil
from datetime import UTC, date, datetime

import pytest

from terrazzo.config import MosaicConfig, Period
from terrazzo.errors import StoreError
from terrazzo.grid import PixelBox
from terrazzo.precompute.normalize.stage import Normalized
from terrazzo.precompute.versions.write import PeriodContent, publish, write_tables
from terrazzo.scene import Scene
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import open_version, version_key

SCENE = Scene(
    id="S2A_33TWL_20230813_0_L2A",
    rev="0" * 12,
    prefix="scenes/33N/33TWL/S2A_33TWL_20230813_0_L2A/000000000000",
    mgrs="33TWL",
    epsg=32633,
    datetime=datetime(2023, 8, 13, tzinfo=UTC),
    platform="sentinel-2a",
    level="L2A",
    relative_orbit=122,
    datatake="GS2A_20230813T100031",
    box=PixelBox(0, 0, 512, 512),
    bands=("B04",),
    clear_share=1.0,
    cloud_share=0.0,
    snow_share=0.0,
    haze=0.0,
)


def test_a_period_with_more_scenes_than_provenance_can_number_is_refused(tmp_path):
    store = create_store(tmp_path / "store", StoreConfig())
    year = Period("2023", date(2023, 1, 1), date(2023, 12, 31))
    content = PeriodContent(year, (SCENE,) * 32_768, Normalized("none", {}, {}))
    with pytest.raises(StoreError, match=r"period 2023: 32768 scenes.*at most 32767.*shorter periods"):
        publish(store, MosaicConfig("mosaic"), [content], {})
    assert list(store.list()) == ["store.json"]


def test_what_lies_beside_a_scene_is_read_once(sample_store, tmp_path, monkeypatch):
    store = Store(shutil.copytree(sample_store, tmp_path / "store"))
    version = open_version(store, "mosaic")
    entries = version.entries("all")
    weights = {e.scene.id: (e.weight_key, e.scene.id) for e in entries}
    content = PeriodContent(
        Period("all", date(2023, 8, 1), date(2023, 8, 31)),
        tuple(e.scene for e in entries),
        Normalized("none", weights, {e.scene.id: e.haze for e in entries}),
    )
    asked, one_by_one = [], {"read_json": Store.read_json, "exists": Store.exists}
    for name, plain in one_by_one.items():
        monkeypatch.setattr(Store, name, lambda self, key, plain=plain: asked.append(key) or plain(self, key))
    again = write_tables(store, MosaicConfig("other"), [content], {})
    beside = [k for k in asked if "/weights/" in k or k.endswith("item.json")]
    assert len(beside) == len(set(beside)) == 2 * len(entries)
    columns = ["id", "terrazzo:shift_east", "terrazzo:shift_north", "terrazzo:shift_spread"]
    tables = [
        store.read_table(version_key(v.mosaic_id, v.name, "scenes.parquet"), columns).sort_by("id")
        for v in (version, again)
    ]
    # Of some the shift is not known: NaN.
    assert tables[0].to_pandas().equals(tables[1].to_pandas())
