"""The text file of a store's numbers: what Prometheus' own reader reads of it."""

import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families

from terrazzo.precompute.work.prometheus import NAMES, SUCCESS, Ended, recorded, write_metrics


def read(path):
    """The file's numbers by name and labels, as Prometheus' own reader has them."""
    return {
        (s.name, *s.labels.values()): s.value
        for family in text_string_to_metric_families(path.read_text())
        for s in family.samples
    }


def test_the_numbers_are_those_of_the_store_and_the_products_folder(sample_store, tmp_path):
    for name in (".partial/files-a", ".partial/files-b", ".quarantine"):
        (tmp_path / "products" / name).mkdir(parents=True)
    (tmp_path / "products/.quarantine/bad.json").write_text("{}")
    (tmp_path / "products/one.tif").write_bytes(b"x" * 1000)
    path = tmp_path / "out" / "terrazzo.prom"
    write_metrics(path, str(sample_store), Ended(4, tmp_path / "products"), now=1234567890.0)
    found = read(path)
    assert (
        found["terrazzo_mosaic_newest_scene_timestamp_seconds", "mosaic"] == 1692525491.072
    )  # 20 August 2023
    assert found["terrazzo_mosaic_scenes", "mosaic"] == 10
    assert found["terrazzo_pass_last_success_timestamp_seconds",] == 1234567890
    assert found["terrazzo_pass_last_timestamp_seconds",] == 1234567890
    assert found["terrazzo_pass_exit_code",] == 4
    assert found["terrazzo_pass_queue",] == 2
    assert found["terrazzo_quarantined",] == 1
    assert found["terrazzo_store_bytes", "products"] == 1002
    bands = sum(f.stat().st_size for f in sample_store.glob("scenes/**/*") if f.is_file())
    assert found["terrazzo_store_bytes", "scenes"] == bands
    assert {name for name, *_ in found} == set(NAMES)
    assert [f.name for f in path.parent.iterdir()] == ["terrazzo.prom"]


def test_a_pass_that_fails_is_reported_and_the_last_success_stays(sample_store, tmp_path):
    path = tmp_path / "terrazzo.prom"
    with pytest.raises(OSError, match="archive is away"), recorded(path, str(tmp_path / "nothing")):
        raise OSError("archive is away")
    never = read(path)
    assert never["terrazzo_pass_exit_code",] == 1
    assert never["terrazzo_pass_last_success_timestamp_seconds",] == 0
    write_metrics(path, str(sample_store), Ended(3), now=1234567890.0)
    with pytest.raises(OSError, match="archive is away"), recorded(path, str(sample_store)):
        raise OSError("archive is away")
    failed = read(path)
    assert failed["terrazzo_pass_exit_code",] == 1
    assert failed["terrazzo_pass_last_success_timestamp_seconds",] == 1234567890
    assert failed["terrazzo_pass_last_timestamp_seconds",] > 1234567890
    assert failed["terrazzo_mosaic_scenes", "mosaic"] == 10


@pytest.mark.parametrize("content", [b"\xff\xfe\0", f"{SUCCESS} soon\n".encode(), b""])
def test_a_damaged_file_of_an_earlier_pass_ends_no_pass(sample_store, tmp_path, content):
    path = tmp_path / "terrazzo.prom"
    path.write_bytes(content)
    write_metrics(path, str(tmp_path / "nothing"), Ended(1), now=1234567890.0)
    assert read(path)["terrazzo_pass_last_success_timestamp_seconds",] == 0


def test_a_damaged_mosaic_takes_no_others_numbers_away(sample_store, tmp_path):
    store = shutil.copytree(sample_store, tmp_path / "store")
    shutil.copytree(store / "mosaics/mosaic", store / "mosaics/another")
    (store / "mosaics/another/mosaic.json").write_text("[")
    write_metrics(tmp_path / "terrazzo.prom", str(store), Ended(0), now=1234567890.0)
    numbers = read(tmp_path / "terrazzo.prom")
    assert numbers["terrazzo_mosaic_scenes", "mosaic"] == 10
    assert numbers["terrazzo_store_bytes", "scenes"] > 0
