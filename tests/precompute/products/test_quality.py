"""Detectors and defects of old products (polygons) and new ones (rasters); and what no product would hold is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from terrazzo.bands import DEFAULT_BANDS, MaskClass
from terrazzo.correction import read_correction
from terrazzo.errors import UnreadableAsset
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.products.angles import read_angles
from terrazzo.precompute.products.files import MOST_XML, read_xml, zip_members
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.offset import read_xml_offset
from terrazzo.precompute.products.quality import read_classification, read_defects, read_detectors
from terrazzo.precompute.products.raster import read_on_grid
from terrazzo.precompute.scene.make import ingest
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.scene import CORRECTION, MASK, read_item
from terrazzo.store import StoreConfig, create_store

LEFT, TOP = 399_960, 4_693_200
GRID = Grid(32631, 20.0, 256)
BOX = PixelBox(round(-TOP / 20), LEFT // 20, round(-TOP / 20) + 60, LEFT // 20 + 60)
NAME = "S2A_MSIL1C_20150726T105026_N0204_R051_T31TDH_20150726T105855"


def ring(left: float, right: float, *, height: bool = True) -> str:
    """Corners of a strip of the box as a posList, clockwise, in metres from its left edge."""
    z = " 0" if height else ""
    x0, x1, y0, y1 = LEFT + left, LEFT + right, TOP - 1200, TOP
    return " ".join(f"{x:g} {y:g}{z}" for x, y in ((x0, y1), (x1, y1), (x1, y0), (x0, y0), (x0, y1)))


def gml(features: dict[str, tuple[str, str]], dimension: int = 3) -> str:
    """A mask in GML: identifier → type and ring."""
    members = "".join(
        f'<eop:MaskFeature gml:id="{name}"><eop:maskType codeSpace="urn:gs2:S2PDGS:maskType">{kind}'
        f'</eop:maskType><eop:extentOf><gml:Polygon gml:id="{name}_Polygon"><gml:exterior><gml:LinearRing>'
        f'<gml:posList srsDimension="{dimension}">{positions}</gml:posList></gml:LinearRing></gml:exterior>'
        "</gml:Polygon></eop:extentOf></eop:MaskFeature>"
        for name, (kind, positions) in features.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0"'
        f' xmlns:gml="http://www.opengis.net/gml/3.2"><eop:maskMembers>{members}</eop:maskMembers></eop:Mask>'
    )


def detectors_gml(metres: float) -> str:
    """Detectors 11 and 12, which meet so far from the box's left edge."""
    kind = "DETECTOR_FOOTPRINT"
    return gml(
        {
            "detector_footprint-B02-11-0": (kind, ring(0, metres)),
            "detector_footprint-B02-12-1": (kind, ring(metres, 3000)),
        }
    )


def write(path: Path, layers: np.ndarray, pixel: float) -> Path:
    profile = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "crs": "EPSG:32631"}
    profile |= {"count": len(layers), "height": layers.shape[1], "width": layers.shape[2], "dtype": "uint8"}
    transform = from_origin(LEFT, TOP, pixel, pixel)
    with rasterio.open(path, "w", transform=transform, **profile) as dataset:
        dataset.write(layers.astype(np.uint8))
    return path


def test_detectors_are_the_same_from_polygons_and_from_a_raster(tmp_path: Path) -> None:
    old, new = tmp_path / "MSK_DETFOO_B02.gml", tmp_path / "MSK_DETFOO_B02.jp2"
    old.write_text(detectors_gml(500))
    write(new, np.where(np.arange(60) < 25, 11, 12)[None, None, :].repeat(60, axis=1), 20)
    found = read_detectors(str(old), GRID, BOX)
    assert set(np.unique(found)) == {11, 12}
    assert np.array_equal(found, read_detectors(str(new), GRID, BOX))


def test_an_l1c_products_own_mask_is_read_from_its_three_flags(tmp_path: Path) -> None:
    flags = np.zeros((3, 20, 20))
    flags[0, 5:9, 2:6] = flags[1, 12:, 2:6] = flags[1, 5, 2] = flags[2, :, 15] = 1
    path = write(tmp_path / "MSK_CLASSI_B00.jp2", flags, 60)
    found = read_classification(str(path), GRID, BOX)
    expected = np.where(flags[0] > 0, 1, np.where(flags[1] > 0, 2, np.where(flags[2] > 0, 3, 0)))
    assert np.array_equal(found, expected.repeat(3, axis=0).repeat(3, axis=1))
    with pytest.raises(UnreadableAsset, match="fetch the product again"):
        read_classification(str(write(tmp_path / "one.jp2", flags[:1], 60)), GRID, BOX)


def test_defects_are_the_same_from_polygons_and_from_a_raster(tmp_path: Path) -> None:
    lost, defect = tmp_path / "MSK_TECQUA_B04.gml", tmp_path / "MSK_DEFECT_B08.gml"
    lost.write_text(
        gml(
            {
                "a-1": ("MSI_LOST", ring(200, 240, height=False)),
                "a-2": ("MSI_DEG", ring(600, 700, height=False)),
            },
            2,
        )
    )
    defect.write_text(gml({"b-1": ("QT_DEFECTIVE_PIXELS", ring(400, 420))}))
    old = read_defects({"TECQUA_B04": str(lost), "DEFECT_B08": str(defect)}, GRID, BOX)
    flags = np.zeros((8, 120, 120))
    flags[2, :, 20:24] = flags[4, :, 40] = flags[3, :, 60:70] = flags[6, :, 80:90] = 1
    raster = write(tmp_path / "MSK_QUALIT_B04.jp2", flags, 10)
    new = read_defects({"QUALIT_B04": str(raster)}, GRID, BOX)
    assert np.flatnonzero(old[0]).tolist() == [10, 11, 20]
    assert np.array_equal(old, new)


def test_a_mask_without_features_names_nothing(tmp_path: Path) -> None:
    path = tmp_path / "MSK_DEFECT_B02.gml"
    path.write_text('<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0"><eop:maskMembers/></eop:Mask>')
    assert not read_defects({"DEFECT_B02": str(path)}, GRID, BOX).any()
    assert not read_defects({}, GRID, BOX).any()


def test_polygons_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "MSK_DETFOO_B02.gml"
    for text in (gml({"detector_footprint-B02-07-0": ("X", "1 2 3 4")}), gml({"seven": ("X", ring(0, 90))})):
        path.write_text(text)
        with pytest.raises(UnreadableAsset, match="fetch the product again"):
            read_detectors(str(path), GRID, BOX)


@pytest.fixture(scope="module")
def safe(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAFE of baseline 02.04 of real parts: bands of one product, metadata of another, moved to its place."""
    folder = tmp_path_factory.mktemp("safe") / f"{NAME}.SAFE"
    granule = folder / "GRANULE/L1C_T31TDH_A000463_20150726T105855"
    for name in ("IMG_DATA", "QI_DATA"):
        (granule / name).mkdir(parents=True)
    imagery = data / "imagery"
    for band in (imagery / "scene_l1c_31TDH_native").glob("*_B*.jp2"):
        (granule / "IMG_DATA" / band.name).write_bytes(band.read_bytes())
    known = imagery / "metadata/L1C_N0301_S2A_46RER_20210908"
    tile = Path(f"{known}_MTD_TL.xml").read_text()
    (granule / "MTD_TL.xml").write_text(
        tile.replace("<ULX>499980</ULX>", "<ULX>399960</ULX>")
        .replace("<ULY>3100020</ULY>", "<ULY>4700040</ULY>")
        .replace("EPSG:32646", "EPSG:32631")
        .replace("2021-09-08T04:40:48.758475Z", "2015-07-26T10:50:26.027Z")
    )
    (folder / "MTD_MSIL1C.xml").write_text(Path(f"{known}_MTD_MSIL1C.xml").read_text())
    (granule / "QI_DATA/MSK_DETFOO_B02.gml").write_text(detectors_gml(500))
    (granule / "QI_DATA/MSK_DEFECT_B03.gml").write_text(gml({"b-1": ("QT_DEFECTIVE_PIXELS", ring(400, 440))}))
    return folder


def test_a_safe_with_masks_in_polygons_becomes_a_scene(safe: Path, tmp_path: Path) -> None:
    (product,) = find_products(safe).products
    assert {"DETFOO", "DEFECT_B03"} < set(product.assets)
    store = create_store(str(tmp_path / "store"), StoreConfig(10.0, 20.0, 256, DEFAULT_BANDS))
    scene = ingest(product, store, Recipe(mask="model"))
    item = read_item(store, scene)
    assert item["properties"]["platform"].lower().endswith("2a")
    assert (scene.epsg, scene.mgrs) == (32631, "31TDH")
    correction = read_correction(store.read_bytes(scene.key(CORRECTION)), scene.key(CORRECTION))
    assert correction.offset == 0
    assert set(np.unique(correction.detector)) == {11, 12}
    with rasterio.open(store.raster_path(scene.key(MASK))) as dataset:
        row, col = dataset.index(LEFT + 410, TOP - 600)
        classes = dataset.read(1)
    assert (classes[row - 10 : row + 10, col : col + 1] == MaskClass.DEFECTIVE).all()


@pytest.mark.parametrize("off", [(0.0, 0.0), (7.0, -13.0)])
def test_masks_of_a_whole_tile_are_read_in_a_small_scene_as_if_cut_from_all_of_it(
    tmp_path: Path, off: tuple[float, float]
) -> None:
    rng = np.random.default_rng(4)
    flags = np.zeros((8, 240, 240), np.uint8)
    flags[[2, 4]] = rng.random((2, 240, 240)) < 0.02
    detectors = np.kron(rng.integers(1, 13, (1, 24, 24)), np.ones((1, 10, 10)))
    assets = {"QUALIT_B02": str(write(tmp_path / "QUALIT_B02.jp2", flags, 10))}
    footprint = str(write(tmp_path / "DETFOO_B02.jp2", detectors, 10))
    classification = str(write(tmp_path / "CLASSI.jp2", flags[2:5], 10))
    whole = PixelBox(BOX.row0, BOX.col0, BOX.row0 + 120, BOX.col0 + 120)
    for row, col in ((0, 0), (50, 70), (95, 95)):
        small = PixelBox(whole.row0 + row, whole.col0 + col, whole.row0 + row + 30, whole.col0 + col + 30)
        at = small.intersection(whole).within(whole)
        inside = small.intersection(whole).within(small)
        for read, source in (
            (read_defects, assets), (read_detectors, footprint), (read_classification, classification),
        ):  # fmt: skip
            cut, all_of_it = read(source, GRID, small, off), read(source, GRID, whole, off)
            np.testing.assert_array_equal(cut[inside], all_of_it[at])
            assert all_of_it[at].any()
    elsewhere = PixelBox(BOX.row0 + 500, BOX.col0, BOX.row0 + 530, BOX.col0 + 30)
    assert not read_defects(assets, GRID, elsewhere).any()
    assert not read_classification(classification, GRID, elsewhere).any()


@pytest.mark.parametrize(
    ("told", "read"), [("0", False), ("0.0", False), ("0.0009", True), ("", True), ("x", True), (None, True)]
)
def test_rasters_of_defects_are_read_but_where_the_metadata_say_that_nothing_is_degraded(
    tmp_path: Path, told: str | None, read: bool
) -> None:
    flags = np.zeros((8, 60, 60), np.uint8)
    flags[2, 20, 40] = 1
    element = "" if told is None else f"<DEGRADED_MSI_DATA_PERCENTAGE>{told}</DEGRADED_MSI_DATA_PERCENTAGE>"
    (tmp_path / "MTD_TL.xml").write_text(f"<a><Image_Content_QI>{element}</Image_Content_QI></a>")
    (tmp_path / "DEFECT_B03.gml").write_text(gml({"b-1": ("QT_DEFECTIVE_PIXELS", ring(400, 440))}))
    assets = {
        "QUALIT_B02": str(write(tmp_path / "QUALIT_B02.jp2", flags, 20)),
        "DEFECT_B03": str(tmp_path / "DEFECT_B03.gml"),
        "granule_metadata": str(tmp_path / "MTD_TL.xml"),
    }
    found = read_defects(assets, GRID, BOX)
    assert bool(found[20, 40]) is read
    assert not found[20, 30]
    assert found[:, 20:22].all()


BOMB = '<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
def test_metadata_that_declare_entities_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "MTD.xml"
    path.write_text(text)
    for read in (read_xml, read_angles, read_xml_offset):
        with pytest.raises(UnreadableAsset, match="EntitiesForbidden"):
            read(str(path))


def test_metadata_that_grow_without_end_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / f"{NAME}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("MTD_TL.xml", b"<a>" + b" " * MOST_XML + b"</a>")
    assert archive.stat().st_size < 100_000
    with pytest.raises(UnreadableAsset, match="larger than any metadata"):
        read_xml(f"/vsizip/{archive}/MTD_TL.xml")


@pytest.mark.parametrize("member", ["../MTD_MSIL1C.xml", "/etc/MTD_MSIL1C.xml", "a/../../b.xml", "..\\b.xml"])
def test_a_zip_whose_files_lead_out_of_it_is_left_out_with_the_reason(tmp_path: Path, member: str) -> None:
    with zipfile.ZipFile(tmp_path / f"{NAME}.zip", "w") as container:
        container.writestr(member, "<a/>")
    found = find_products(tmp_path)
    assert not found.products
    assert "leads out of the zip" in found.left_out[0].reason


def test_a_zip_that_grows_beyond_any_product_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as container:
        container.writestr("B02.jp2", bytes(1_000_000))
    assert zip_members(tmp_path / "a.zip") == ["B02.jp2"]
    monkeypatch.setattr("terrazzo.precompute.products.files.MOST_UNPACKED", 999_999)
    with pytest.raises(UnreadableAsset, match="larger than any product"):
        zip_members(tmp_path / "a.zip")


def test_a_raster_that_claims_more_pixels_than_a_tile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "B02.tif"
    profile = {"driver": "GTiff", "width": 200_000, "height": 200_000, "count": 1, "dtype": "uint16"}
    profile |= {"crs": "EPSG:32631", "transform": from_origin(LEFT, TOP, 20, 20), "SPARSE_OK": "TRUE"}
    with rasterio.open(path, "w", tiled=True, compress="deflate", BIGTIFF="YES", **profile):
        pass
    with pytest.raises(UnreadableAsset, match="200000 × 200000"):
        read_on_grid(str(path), GRID, BOX, "reflectance")
