"""What may not become a version."""

from datetime import UTC, date, datetime

import pytest

from terrazzo.config import MosaicConfig, Period
from terrazzo.errors import StoreError
from terrazzo.grid import PixelBox
from terrazzo.precompute.normalize.stage import Normalized
from terrazzo.precompute.versions.write import PeriodContent, publish
from terrazzo.scene import Scene
from terrazzo.store import StoreConfig, create_store

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
