"""Bad input: what is wrong is named with what to do about it, and the other scenes go on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from affine import Affine

from terrazzo.errors import EmptyStore, StoreError, TerrazzoError
from terrazzo.precompute.products.files import open_raster
from terrazzo.precompute.products.product import Product
from terrazzo.scene import list_scenes, read_item
from terrazzo.store import Store
from terrazzo.version import current_version
from tests.chain import precompute
from tests.world.products import Pass
from tests.world.sky import View
from tests.world.worlds import FIRST, make_world

GOOD, BAD = "S2A_33TWL_20230803_0_L2A", "S2B_33TWL_20230808_0_L2A"
TERRAZZO = str(Path(sys.executable).parent / "terrazzo")
OPTIONS = ["--pixel", "10", "--window", "64", "--bands", "B02,B03,B04,B08", "--workers", "1"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two products of one tile."""
    folder = tmp_path_factory.mktemp("small")
    make_world(folder, dates=2, size=(96, 96), view=View())
    return folder


@pytest.fixture
def products(small, tmp_path):
    """A copy of the two that a test may damage."""
    return Path(shutil.copytree(small, tmp_path / "products"))


def edit(folder: Path, change: Callable[[dict], object], scene: str = BAD) -> None:
    path = folder / f"{scene}.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def reproject(path: Path) -> None:
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.crs = "EPSG:32634"


def move(path: Path, pixels: float) -> None:
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.transform = dataset.transform @ Affine.translation(pixels, 0)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lead_elsewhere(path: Path) -> None:
    """A file that GDAL opens whatever it is called, and that is whatever its author wants to read: here the other product's."""
    other = path.parent.with_name(GOOD) / path.name
    with rasterio.open(other) as dataset:
        height, width = dataset.shape
    text = (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
        f'<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{other}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    path.write_text(text)
    with rasterio.open(path) as dataset:
        assert dataset.read(1).any()


def test_an_image_that_an_archive_sends_cannot_lead_elsewhere_either(products):
    lead_elsewhere(products / BAD / "B02.tif")
    with (products / BAD / "B02.tif").open("rb") as sent, pytest.raises(rasterio.errors.RasterioError):
        open_raster(sent)
    with (products / GOOD / "B02.tif").open("rb") as sent, open_raster(sent) as dataset:
        assert dataset.driver == "GTiff"


DAMAGES = {
    "missing band": (lambda f: edit(f, lambda d: d["assets"].pop("nir")), r"has no B08.*--bands B02,B03,B04"),
    "missing file": (lambda f: (f / BAD / "B03.tif").unlink(), r"B03\.tif.*fetch the product again"),
    "truncated": (lambda f: truncate(f / BAD / "B04.tif"), r"B04\.tif.*fetch the product again"),
    "no raster": (lambda f: (f / BAD / "B02.tif").write_text("404"), r"B02\.tif.*fetch the product again"),
    "VRT": (lambda f: lead_elsewhere(f / BAD / "B02.tif"), r"B02\.tif.*fetch the product again"),
    "wrong CRS": (lambda f: reproject(f / BAD / "B02.tif"), r"EPSG:32634.*EPSG:32633.*without warping"),
    "band elsewhere": (lambda f: move(f / BAD / "B04.tif", 100), r"B04 lies 1000 m east and 0 m north of B02.*as the archive delivers"),
    "band off by half a pixel": (lambda f: move(f / BAD / "B04.tif", 0.5), r"B04 lies 5 m east"),
    "date to come": (lambda f: edit(f, lambda d: d["properties"].update(datetime="2099-01-01T10:00:00Z")), "in the future.*correct the Item"),
    "L1C": (
        lambda f: edit(f, lambda d: d["properties"].update({"s2:product_uri": d["properties"]["s2:product_uri"].replace("MSIL2A", "MSIL1C")})),
        "it is L1C, the mosaic is made of L2A.*--mix-levels",
    ),
    "no Sentinel-2": (lambda f: edit(f, lambda d: d["properties"].pop("grid:code") and d["properties"].pop("s2:product_uri")), "MGRS tile.*Sentinel-2"),
    "Landsat": (lambda f: edit(f, lambda d: d["properties"].update(platform="landsat-9")), "not Sentinel-2A, B or C"),
    "no JSON": (lambda f: (f / f"{BAD}.json").write_text("{"), "not readable as JSON.*fetch"),
    "no XML": (lambda f: (f / BAD / "granule_metadata.xml").write_text("<a"), r"granule_metadata.*fetch"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_product_is_left_out_with_its_reason_and_the_other_goes_on(products, tmp_path, damage):
    harm, told = DAMAGES[damage]
    harm(products)
    done, _ = precompute(products, tmp_path / "store")
    (out,) = done.left_out
    assert out.name.startswith(BAD)
    assert re.search(told, out.reason), out.reason
    assert [s.id for s in done.scenes] == [GOOD]
    assert done.version is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["..", "../../escaped", "a/../b", "..\\b"])
def test_an_item_whose_id_leads_out_is_left_out_and_the_other_goes_on(products, tmp_path, name):
    edit(products, lambda d: d.update(id=name))
    done, _ = precompute(products, tmp_path / "store")
    (out,) = done.left_out
    assert "cannot be the name of a folder; correct the Item" in out.reason
    assert [s.id for s in done.scenes] == [GOOD]
    assert {p.name for p in tmp_path.iterdir()} == {"products", "store"}


@pytest.mark.slow
def test_a_first_run_that_makes_nothing_leaves_no_store_so_that_its_advice_can_be_followed(
    products, tmp_path
):
    store = tmp_path / "store"
    first = subprocess.run(
        [TERRAZZO, "precompute", products, "--store", store], capture_output=True, text=True
    )
    assert first.returncode == 1
    assert not (store / "store.json").exists()
    advice = re.search(r"--bands ([A-Z0-9,]+)", first.stderr)
    assert advice, first.stderr
    second = [TERRAZZO, "precompute", products, "--store", store, "--window", "64", "--bands", advice[1]]
    done = subprocess.run(second, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Store(store).config.bands == tuple(advice[1].split(","))


@pytest.mark.slow
def test_products_of_two_levels_are_mixed_only_when_asked(products, tmp_path):
    DAMAGES["L1C"][0](products)
    asked, _ = precompute(products, tmp_path / "asked", mix_levels=True)
    (out,) = asked.left_out
    assert re.search("L1C without B12.*no atmospheric correction.*L2A", out.reason)


@pytest.mark.slow
def test_a_product_half_a_pixel_off_the_grid_is_resampled_and_said_so(products, tmp_path):
    for path in (products / BAD).glob("B*.tif"):
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            dataset.transform = dataset.transform @ rasterio.Affine.translation(0.5, 0.5)
    done, _ = precompute(products, tmp_path / "store")
    (note,) = (n for n in done.notes if "stage=raw shows interpolated numbers" in n)
    assert note.startswith(f"{BAD}: the product's pixel grid is not the store's: B02 resampled once")
    assert re.search(r"from pixels ([1-9]\d*) m east and \1 m south of the store's", note)


@pytest.mark.slow
def test_when_no_product_can_be_used_the_scenes_that_are_there_go_on(products, tmp_path):
    first, _ = precompute(products, tmp_path / "store")
    for name in (GOOD, BAD):
        edit(products, lambda d: d["assets"].pop("blue"), name)
    again, _ = precompute(products, tmp_path / "store")
    assert len(again.left_out) == 2
    assert again.version.name == first.version.name


@pytest.mark.slow
def test_a_product_without_angles_keeps_its_view_and_says_so(products, tmp_path):
    edit(products, lambda d: d["assets"].pop("granule_metadata"))
    done, _ = precompute(products, tmp_path / "store")
    assert not done.left_out
    store = Store(tmp_path / "store")
    items = {s.id: read_item(store, s)["properties"] for s in done.scenes}
    assert "view angles not corrected: the product has no angle grids" in items[BAD]["processing:lineage"]
    assert "corrected to nadir" in items[GOOD]["processing:lineage"]
    assert "no angle grids" in " ".join(done.notes)
    assert BAD in " ".join(done.notes)
    again, _ = precompute(products, tmp_path / "store")
    assert again.notes == done.notes


@pytest.mark.slow
def test_of_two_processings_of_one_datatake_the_newer_is_taken(products, tmp_path):
    shutil.copytree(products / BAD, products / "older")
    older = json.loads((products / f"{BAD}.json").read_text().replace(f"./{BAD}/", "./older/"))
    older["id"] = "S2B_33TWL_20230808_0_OLD"
    name = older["properties"]["s2:product_uri"]
    older["properties"] |= {
        "s2:processing_baseline": "04.00",
        "s2:product_uri": name.replace("_N0509_", "_N0400_"),
    }
    (products / "older.json").write_text(json.dumps(older))
    done, _ = precompute(products, tmp_path / "store")
    assert [s.id for s in done.scenes] == [GOOD, BAD]
    (out,) = done.left_out
    assert out.name == older["id"]
    assert "older processing (N0400)" in out.reason


def test_an_empty_folder_is_refused_with_what_was_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"no Sentinel-2 product in .*empty.*STAC Items"):
        precompute(tmp_path / "empty", tmp_path / "store")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TerrazzoError, match=r"nowhere does not exist"):
        precompute(tmp_path / "nowhere", tmp_path / "store")


@pytest.mark.slow
def test_where_nothing_can_be_used_every_reason_is_reported(products, tmp_path):
    for scene in (GOOD, BAD):
        truncate(products / scene / "B04.tif")
    with pytest.raises(StoreError, match=rf"(?s){GOOD}.*fetch.*{BAD}.*fetch"):
        precompute(products, tmp_path / "store")


def command(folder: Path, store: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [TERRAZZO, "precompute", folder, "--store", store, *OPTIONS],
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_the_exit_code_reports_that_something_was_left_out_and_brackets_in_names_are_shown(
    products, tmp_path
):
    (products / "[bold]x[y].json").write_text("{")
    edit(products, lambda d: d["properties"].update(datetime="2023-08-15T15:50:57Z UTC"))
    done = command(products, tmp_path / "store")
    assert done.returncode == 4, done.stderr
    assert "left out [bold]x[y].json: not readable as JSON" in done.stderr
    assert f"left out {BAD}: " in done.stderr
    assert "Traceback" not in done.stderr
    (products / "[bold]x[y].json").unlink()
    (products / f"{BAD}.json").unlink()
    (products / "catalog.json").write_text('{"type": "Catalog"}')
    calm = command(products, tmp_path / "store")
    assert calm.returncode == 0, calm.stderr
    assert "catalog.json: passed over" in calm.stderr


@pytest.mark.slow
def test_b8a_takes_the_place_of_a_missing_b08_from_20_m_on(tmp_path):
    folder = tmp_path / "products"
    make_world(folder, dates=1, size=(96, 96), bands=("B02", "B03", "B04", "B08", "B8A"))
    edit(folder, lambda d: d["assets"].pop("nir"), GOOD)
    with pytest.raises(StoreError, match=r"no B08.*20 m.*--pixel 20"):
        precompute(folder, tmp_path / "fine")
    done, _ = precompute(folder, tmp_path / "coarse", pixel=20.0)
    assert [s.id for s in done.scenes] == [GOOD]
    assert any("B8A" in note for note in done.notes)


@pytest.mark.slow
def test_a_zero_in_one_band_is_missing_in_that_band_alone_before_04_00(tmp_path):
    folder = tmp_path / "products"
    make_world(
        folder, dates=1, size=(256, 256), about=Pass(FIRST, added=0, baseline="02.08", claims="silent")
    )
    with rasterio.open(folder / GOOD / "B08.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        values = dataset.read(1)
        values[120:140, 120:140] = 0
        dataset.write(values, 1)
    done, _ = precompute(folder, tmp_path / "store")
    (scene,) = done.scenes
    store = Store(tmp_path / "store")
    seen = {}
    for band in ("B02", "B08"):
        with rasterio.open(store.raster_path(scene.band_key(band))) as dataset:
            seen[band] = dataset.read(1) != -32768
    with rasterio.open(store.raster_path(scene.key("mask.tif"))) as dataset:
        classes = dataset.read(1).repeat(2, 0).repeat(2, 1)
    lake = seen["B02"] & ~seen["B08"]
    assert lake.sum() == 400
    assert (classes[lake] != 0).all()


@pytest.mark.slow
def test_a_count_of_1_in_all_bands_is_no_data_where_1000_were_added(tmp_path):
    folder = tmp_path / "products"
    make_world(folder, dates=1, size=(96, 96))
    for path in (folder / GOOD).glob("B0*.tif"):
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            values = dataset.read(1)
            values[:, :21] = 1
            dataset.write(values, 1)
    done, _ = precompute(folder, tmp_path / "store")
    (scene,) = done.scenes
    store = Store(tmp_path / "store")
    for band in ("B02", "B03", "B04", "B08"):
        with rasterio.open(store.raster_path(scene.band_key(band))) as dataset:
            values = dataset.read(1)
        known = values != -32768
        assert known.sum() == 96 * (96 - 21)
        assert values[known].min() > -300


@pytest.mark.slow
def test_a_full_disk_is_reported_in_one_line_and_a_later_run_goes_on(products, tmp_path):
    """A limit on the size of a file stands for the disk: the same error from the same calls, without root."""
    limited = f"ulimit -f 8; trap '' XFSZ; exec {TERRAZZO} precompute {products} --store {tmp_path / 'store'} {' '.join(OPTIONS)}"
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "disk" in done.stderr or "File too large" in done.stderr
    with pytest.raises(EmptyStore):
        Store(tmp_path / "store")
    assert command(products, tmp_path / "store").returncode == 0


def test_a_store_of_another_format_is_refused_by_the_command(products, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (store / "store.json").write_text(json.dumps({"format": 99}))
    done = subprocess.run(
        [TERRAZZO, "precompute", products, "--store", store], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "format 99" in done.stderr
    assert "upgrade" in done.stderr
    assert "Traceback" not in done.stderr


def test_files_of_our_names_in_the_users_folder_do_not_matter(tmp_path):
    for name in ("server.py", "precompute.py", "terrazzo.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    for arguments in (["--version"], ["precompute", "--help"], ["serve", "--help"]):
        done = subprocess.run(
            [TERRAZZO, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "wrong module" not in done.stdout + done.stderr


@pytest.mark.slow
def test_workers_are_not_led_astray_by_a_file_of_our_name(products, tmp_path):
    for name in ("precompute.py", "terrazzo.py", "server.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    options = [*OPTIONS[:-1], "2", "--only", "strips"]
    done = subprocess.run(
        [TERRAZZO, "precompute", products, "--store", tmp_path / "store", *options],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(list_scenes(Store(tmp_path / "store")))) == 2


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_version_of_an_undisturbed_one(products, tmp_path):
    assert command(products, tmp_path / "calm").returncode == 0
    name = current_version(Store(tmp_path / "calm"), "mosaic")
    store = tmp_path / "killed"
    for moment in ("scenes/**/item.json", "mosaics/**/reference.npz.zst"):
        process = subprocess.Popen(
            [TERRAZZO, "precompute", products, "--store", store, *OPTIONS],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and not list(store.glob(moment)):
            time.sleep(0.02)
        assert process.poll() is None, "the run was too fast to be killed here"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not list(store.glob("mosaics/*/mosaic.json"))
    for left in (store / ".scratch").iterdir():
        os.utime(left, (0, 0))
    assert command(products, store).returncode == 0
    assert current_version(Store(store), "mosaic") == name
    assert not list((store / ".scratch").iterdir())


@pytest.mark.slow
def test_contradictory_copies_with_a_lossy_mask_come_out_right(tmp_path):
    """The traps of Earth Search's copies: see the sample's README."""
    folder = tmp_path / "copies"
    about = Pass(FIRST, added=0, claims="contradictory")
    world = make_world(folder, dates=2, size=(96, 96), about=about)
    for scene in world.seen:
        edit(folder, lambda d: d["assets"]["blue"].update({"proj:shape": [10980, 10980]}), scene)
        for file, values in (("SCL.tif", (12, 6, 2)), ("CLDPRB.tif", (106, 101, 103))):
            with rasterio.open(folder / scene / file, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
                array = dataset.read(1)
                array[5::9, 4::7], array[3::11, 2::9], array[8::11, 6::9] = values
                dataset.write(array, 1)
    done, _ = precompute(folder, tmp_path / "store")
    store = Store(tmp_path / "store")
    for scene in done.scenes:
        told = read_item(store, scene)["properties"]["terrazzo:offset"]
        assert (told["value"], told["decided_by"]) == (0, "pixels")
        assert "the Item says both 0 and -1000" in told["conflicts"]
        assert scene.clear_share > 0.97
        land = world.seen[scene.id].land
        with rasterio.open(store.raster_path(scene.band_key("B08"))) as dataset:
            values = dataset.read(1)[land.place.box.within(scene.box)] * 1e-4
        assert values == pytest.approx(land.rho[3], abs=1e-4)
    assert any("contradictory" in n for n in done.notes)


def test_a_product_names_the_band_it_lacks_and_those_it_has():
    product = Product(
        "x", "L2A", "S2A", "33TWL", 32633, FIRST, "d", "0509", 79, FIRST, {"B02": "b"}, "i", {}, "", None
    )
    with pytest.raises(TerrazzoError, match="it has B02"):
        replace(product, id="y").asset("B03")
