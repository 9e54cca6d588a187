"""The text file of a store's numbers: what Prometheus' own reader reads of it."""

from prometheus_client.parser import text_string_to_metric_families

from terrazzo.precompute.work.prometheus import NAMES, write_metrics
from terrazzo.store import Store


def test_the_numbers_are_those_of_the_store_and_the_products_folder(sample_store, tmp_path):
    for name in (".partial/files-a", ".partial/files-b", ".quarantine"):
        (tmp_path / "products" / name).mkdir(parents=True)
    (tmp_path / "products/.quarantine/bad.json").write_text("{}")
    (tmp_path / "products/one.tif").write_bytes(b"x" * 1000)
    path = tmp_path / "out" / "terrazzo.prom"
    write_metrics(path, Store(sample_store), products=tmp_path / "products", now=1234567890.0)
    found = {
        (s.name, *s.labels.values()): s.value
        for family in text_string_to_metric_families(path.read_text())
        for s in family.samples
    }
    assert (
        found["terrazzo_mosaic_newest_scene_timestamp_seconds", "mosaic"] == 1692525491.072
    )  # 20 August 2023
    assert found["terrazzo_mosaic_scenes", "mosaic"] == 10
    assert found["terrazzo_pass_last_success_timestamp_seconds",] == 1234567890
    assert found["terrazzo_pass_queue",] == 2
    assert found["terrazzo_quarantined",] == 1
    assert found["terrazzo_store_bytes", "products"] == 1002
    bands = sum(f.stat().st_size for f in sample_store.glob("scenes/**/*") if f.is_file())
    assert found["terrazzo_store_bytes", "scenes"] == bands
    assert {name for name, *_ in found} == set(NAMES)
    assert [f.name for f in path.parent.iterdir()] == ["terrazzo.prom"]
