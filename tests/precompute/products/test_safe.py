"""SAFE folders and zips are known by what is in them, whatever they are called."""

import shutil
import zipfile
from pathlib import Path

import pytest

from terrazzo.precompute.products.files import opened
from terrazzo.precompute.products.find import find_products
from tests.precompute.scene.test_l1c import NAME, write_safe


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_safe(tmp_path_factory.mktemp("safe"))


@pytest.fixture(scope="module")
def packed(safe: Path) -> bytes:
    return Path(shutil.make_archive(str(safe.parent / "packed"), "zip", safe.parent, safe.name)).read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        f"{NAME}.zip",
        f"{NAME}.SAFE.zip",
        f"{NAME}.SAFE.ZIP",
        "1f3c-uuid.zip",
        "$value",
        "[a] b{1}.zip",
        "x.bin",
    ],
)
def test_a_zip_is_a_product_whatever_it_is_called(packed, tmp_path, name):
    (tmp_path / name).write_bytes(packed)
    (product,) = find_products(tmp_path).products
    assert (product.id, product.mgrs, product.baseline) == (NAME, "32UPC", "0400")
    with opened(product.asset("B02")) as file:
        assert file.read(12)[4:8] == b"jP  "


@pytest.mark.parametrize("name", [f"{NAME}.SAFE", NAME, "renamed", "[x] {y}"])
def test_a_folder_is_a_product_by_what_is_in_it(safe, tmp_path, name):
    shutil.copytree(safe, tmp_path / "deep" / name)
    assert [p.id for p in find_products(tmp_path).products] == [NAME]
    assert [p.id for p in find_products(tmp_path / "deep" / name).products] == [NAME]


def test_a_zip_without_its_outer_folder_is_read(safe, tmp_path):
    shutil.make_archive(str(tmp_path / "inner"), "zip", safe)
    assert [p.id for p in find_products(tmp_path).products] == [NAME]


def test_planetary_computers_form_is_read(safe, tmp_path):
    bare = NAME.replace("_N0400", "")
    shutil.copytree(safe, tmp_path / f"{bare}.SAFE")
    for path in (tmp_path / f"{bare}.SAFE").rglob("*.jp2"):
        path.rename(path.with_name(f"{path.stem}_10m.tif"))
    metadata = tmp_path / f"{bare}.SAFE/MTD_MSIL1C.xml"
    text = metadata.read_text().replace(NAME, bare)
    metadata.write_text(text.replace("<QUANT", "<PROCESSING_BASELINE>04.00</PROCESSING_BASELINE><QUANT"))
    (product,) = find_products(tmp_path).products
    assert (product.mgrs, product.relative_orbit, product.baseline) == ("32UPC", 65, "0400")
    assert product.asset("B02").endswith("_B02_10m.tif")


def test_an_asset_folder_that_is_named_like_a_product_is_none(tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    for name in ("B02.tif", "MTD_MSIL1C.xml", "MTD_TL.xml"):
        (folder / name).write_text("x")
    found = find_products(tmp_path)
    assert not found.products
    assert not found.left_out


def test_a_zip_of_something_else_is_passed_over_and_listed_and_half_a_product_is_bad(tmp_path, packed):
    with zipfile.ZipFile(tmp_path / "dem.zip", "w") as other:
        other.writestr("dem.tif", "x")
    (tmp_path / "half.zip").write_bytes(packed[: len(packed) // 2])
    shutil.copytree(tmp_path, tmp_path / "S2A_OPER_PRD_MSIL1C.SAFE")
    found = find_products(tmp_path)
    assert not found.products
    assert {o.name: o.bad for o in found.left_out} == {
        "dem.zip": False,
        "half.zip": True,
        "S2A_OPER_PRD_MSIL1C.SAFE": True,
    }


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("MTD_MSIL1C.xml", "10000<", "nan<"),
        ("MTD_MSIL1C.xml", "10000<", "5000<"),
        ("MTD_MSIL1C.xml", "<Level", "<Level<"),
        ("MTD_TL.xml", "2022-06-15", "2022-15-06"),
        ("MTD_TL.xml", "2022-06-15", "2021-06-15"),
        ("MTD_TL.xml", "</Level-1C_Tile_ID>", ""),
    ],
)
def test_metadata_that_cannot_be_are_one_reason(safe, tmp_path, file, old, new):
    copy = Path(shutil.copytree(safe, tmp_path / safe.name))
    (path,) = copy.rglob(file)
    path.write_text(path.read_text().replace(old, new, 1))
    found = find_products(tmp_path)
    assert not found.products
    (out,) = found.left_out
    assert out.bad
    assert "fetch" in out.reason.lower() or "mend" in out.reason
