"""The sample area comes through a STAC API and S3 as it lies in its folder."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from rich.console import Console

from terrazzo.errors import StoreError
from terrazzo.precompute import sample
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.area import from_tile
from terrazzo.precompute.acquire.fetch import Openers
from terrazzo.precompute.acquire.product_folder import ProductFolder
from terrazzo.precompute.acquire.run import AcquireOrder, carry_out, prepare
from terrazzo.precompute.acquire.search import Query
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.scene.make import ingest, known_scene
from terrazzo.scene import Scene, list_scenes, read_item, read_scene
from terrazzo.store import Store, create_store
from tests.world import archive as world
from tests.world.archive import Archive
from tests.world.faults import once, proxy

pytestmark = pytest.mark.clients
Terrazzo = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def acquired(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A products folder with the whole sample area, fetched by the command."""
    base = tmp_path_factory.mktemp("acquired")
    command = [Path(sys.executable).parent / "terrazzo", "acquire", "--store", base / "store"]
    where = ["--archive", archive.stac, "--bbox", "14", "44", "18", "48", "--datetime", "2023-08"]
    bands = ["--bands", ",".join(sample.BANDS), "--until-clear", "0"]
    subprocess.run([*command, *where, *bands], check=True, env=archive.environment(), capture_output=True)
    return base / "store-products"


def test_a_server_that_checks_signatures_gives_the_same_files(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    name = "S2B_33TWL_20230813_0_L2A"
    files = {key: content for key, content in world.sample_files().items() if key.startswith(name)}
    where = ("--tile", "33TWL", "--datetime", "2023-08-13", "--bands", ",".join(sample.BANDS))
    command = ("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where)
    with world.s3_server(tmp_path, files, "seaweedfs") as s3, proxy(s3, once("dropped", "B04")) as broken:
        done = terrazzo(*command, s3=broken.address)
    assert done.returncode == 0, done.stderr
    (product,) = find_products(tmp_path / "s-products").products
    for path in map(Path, product.assets.values()):
        assert path.read_bytes() == files[f"{name}/{path.name}"]
    assert len(product.assets) == 8


@pytest.mark.slow
def test_products_of_an_archive_become_the_scenes_of_the_folder(acquired: Path, sample_store: Path) -> None:
    store = Store(sample_store)
    products = find_products(acquired)
    ready = [known_scene(product, store).scene for product in products.products]
    assert not products.left_out
    assert sorted(s.id for s in ready if s) == sorted(s.id for s in list_scenes(store))
    assert len(ready) == 10


@pytest.mark.slow
def test_a_scene_made_from_an_archive_is_the_folder_s_byte_for_byte(
    acquired: Path, sample_store: Path, tmp_path: Path
) -> None:
    theirs = Store(sample_store)
    store = create_store(tmp_path / "store", theirs.config)
    (product,) = find_products(acquired / "S2A_33TWL_20230815_0_L2A.json").products
    scene = ingest(product, store)
    same = read_scene(theirs, scene.prefix)
    assert checksums(store, scene) == checksums(theirs, same)


def checksums(store: Store, scene: Scene) -> dict[str, str]:
    """Checksums of a scene's files by asset."""
    return {name: asset["file:checksum"] for name, asset in read_item(store, scene)["assets"].items()}


def test_a_second_run_finds_nothing_new(archive: Archive, terrazzo: Terrazzo, tmp_path: Path) -> None:
    one = (
        "--tile",
        "33TWL",
        "--datetime",
        "2023-08-13",
        "--archive",
        archive.stac,
        "--bands",
        "B02,B03,B04,B08",
    )
    command = ("acquire", "--store", tmp_path / "store", *one)
    first, second = terrazzo(*command), terrazzo(*command)
    assert (first.returncode, second.returncode) == (0, 3), first.stderr + second.stderr
    item = json.loads((tmp_path / "store-products" / "S2B_33TWL_20230813_0_L2A.json").read_text())
    assert item["properties"]["terrazzo:archive"] == archive.stac
    assert (tmp_path / "store-products" / item["assets"]["red"]["href"]).is_file()


def test_a_reprocessed_product_replaces_the_older_one(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    where = ("--tile", "33TWL", "--datetime", "2023-08-13", "--bands", "B02,B03,B04,B08")
    first = terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where)
    old = "S2B_33TWL_20230813_0_L2A"
    both = world.sample_items([old]) + world.sample_items([old])
    both[1]["id"] = "S2B_33TWL_20230813_1_L2A"
    both[1]["properties"] |= {
        "s2:processing_baseline": "05.10",
        "s2:product_uri": both[1]["properties"]["s2:product_uri"].replace("N0509", "N0510"),
    }
    with world.stac_server(tmp_path, both) as later:
        second = terrazzo("acquire", "--store", tmp_path / "s", "--archive", later, *where)
        third = terrazzo("acquire", "--store", tmp_path / "s", "--archive", later, *where)
    assert (first.returncode, second.returncode, third.returncode) == (0, 0, 3), second.stderr
    assert f"removed {old}: replaced by {both[1]['id']} (N0510" in second.stderr
    assert [p.id for p in find_products(tmp_path / "s-products").products] == [both[1]["id"]]
    assert not (tmp_path / "s-products" / f"files-{old}").exists()


def test_a_dry_run_reports_what_it_would_fetch_and_fetches_nothing(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    where = ("--bbox", 14, 44, 18, 48, "--datetime", "2023-08-13/2023-08-15", "--bands", "B02,B03,B04,B08")
    told = terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where, "--dry-run")
    sizes = {line.split()[0]: int(line.split()[2]) for line in told.stdout.splitlines()}
    files = {i: list((sample.path() / i).iterdir()) for i in sizes}
    assert told.returncode == 0
    assert len(sizes) == 4
    assert sizes == {i: sum(f.stat().st_size for f in found) for i, found in files.items()}
    assert "estimated" not in told.stderr
    assert not list(tmp_path.iterdir())


def test_cloudy_products_are_not_fetched_when_a_limit_is_given(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    where = ("--bbox", 14, 44, 18, 48, "--datetime", "2023-08", "--max-cloud", 10, "--dry-run")
    told = terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where, "--bands", "B02")
    clear = {i["id"] for i in world.sample_items() if i["properties"]["eo:cloud_cover"] <= 10}
    assert 0 < len(clear) < 10
    assert {line.split()[0] for line in told.stdout.splitlines()} == clear


def test_an_area_without_products_says_so_with_its_exit_code(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    where = ("--bbox", -100, -50, -99, -49, "--datetime", "2023-08")
    told = terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where)
    assert told.returncode == 3
    assert "0 products to fetch" in told.stderr


def test_a_disk_without_room_is_reported_before_anything_is_fetched(
    acquired_one: AcquireOrder, tmp_path: Path
) -> None:
    openers = Openers()
    made = prepare(acquired_one, openers)
    room = shutil.disk_usage(tmp_path).free
    large = replace(made, wanted=tuple(replace(w, size=room) for w in made.wanted))
    with pytest.raises(StoreError, match="free some space"):
        carry_out(acquired_one, large, openers, Console(quiet=True))
    assert not acquired_one.product_folder.products()


@pytest.fixture
def acquired_one(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AcquireOrder:
    """An order for one product into an empty folder."""
    for name, value in archive.environment().items():
        monkeypatch.setenv(name, value)
    query = Query(from_tile("33TWL"), "l2a", "33TWL", date(2023, 8, 13), date(2023, 8, 13))
    return AcquireOrder(
        query, (find_archive(archive.stac),), sample.BANDS, ProductFolder(tmp_path / "products")
    )


def test_levels_are_not_mixed_in_one_folder(acquired: Path, archive: Archive, terrazzo: Terrazzo) -> None:
    where = ("--tile", "33TWL", "--datetime", "2023-08-13", "--level", "l1c", "--archive", archive.stac)
    told = terrazzo("acquire", "--store", acquired.parent / "store", *where)
    assert told.returncode == 1
    assert "holds L2A products" in told.stderr


def test_an_archive_that_moves_its_files_is_not_fetched_again(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    one = "S2B_33TWL_20230813_0_L2A"
    where = ("--tile", "33TWL", "--datetime", "2023-08-13", "--bands", "B02,B03,B04,B08")
    terrazzo("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where)
    moved = world.sample_items([one])
    for asset in moved[0]["assets"].values():
        asset["href"] = asset["href"].replace("s3://", "s3://elsewhere-")
    with world.stac_server(tmp_path, moved) as later:
        told = terrazzo("acquire", "--store", tmp_path / "s", "--archive", later, *where)
    assert told.returncode == 3, told.stderr
