"""Real metadata of all archives and baselines: the right offset, quantification, angles, satellite and bands."""

import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ElementTree

import numpy as np
import pytest
import shapely

from terrazzo.bands import BANDS, DEFAULT_BANDS
from terrazzo.precompute.acquire.archives import ARCHIVES
from terrazzo.precompute.acquire.checks import parse_multihash
from terrazzo.precompute.acquire.run import needed_files
from terrazzo.precompute.acquire.search import Candidate, Query, candidate_of
from terrazzo.precompute.products.angles import BAND_IDS, read_angles
from terrazzo.precompute.products.files import read_xml
from terrazzo.precompute.products.items import choose_assets, product_from_item
from terrazzo.precompute.products.offset import read_xml_offset
from terrazzo.precompute.products.product import LeftOut

L2A_BANDS = set(BANDS) - {"B10"}
EARTH_L2A = "stac_earthsearch_v1_sentinel-2-l2a_item_13TDE_20231008.json"
EARTH_L1C = "stac_earthsearch_v1_sentinel-2-l1c_item.json"
CDSE_2020 = "stac_cdse_sentinel-2-l2a_item_N0500.json"
CDSE_S2C = "stac_cdse_sentinel-2-l2a_item_S2C_N0512.json"
PLANETARY = "stac_planetarycomputer_sentinel-2-l2a_item.json"
EXTENSION = "stac_sentinel2_extension_item_N0509.json"


@pytest.fixture(scope="session")
def metadata(data: Path) -> Path:
    return data / "imagery/metadata"


def load(metadata: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((metadata / name).read_text())
    return document


@pytest.mark.parametrize(
    ("name", "offset", "quantification", "satellite"),
    [
        ("L1C_N0301_S2A_46RER_20210908_MTD_MSIL1C.xml", None, 10_000, "Sentinel-2A"),
        ("L1C_N0400_S2B_32UPC_20220615_MTD_MSIL1C.xml", -1000, 10_000, "Sentinel-2B"),
        ("L2A_N0212_S2A_07HFE_20190212_MTD_MSIL2A.xml", None, 10_000, "Sentinel-2A"),
        ("L2A_N0509_S2A_01KAB_20230821_MTD_MSIL2A.xml", -1000, 10_000, "Sentinel-2A"),
    ],
)
def test_product_metadata_of_each_baseline_have_offset_and_quantification(
    metadata: Path, name: str, offset: int | None, quantification: int, satellite: str
) -> None:
    path = str(metadata / name)
    root = read_xml(path)
    values = [root.findtext(f".//{t}") for t in ("QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE")]
    assert read_xml_offset(path) == offset
    assert [int(v) for v in values if v] == [quantification]
    assert root.findtext(".//SPACECRAFT_NAME") == satellite


TILE_LEVEL = "L1C_N0301_S2A_46RER_20210908_MTD_TL.xml"


def test_angles_of_a_granule_are_those_its_metadata_name(metadata: Path) -> None:
    angles, root = read_angles(str(metadata / TILE_LEVEL)), read_xml(str(metadata / TILE_LEVEL))
    sun = [float(root.findtext(f".//Mean_Sun_Angle/{t}") or "") for t in ("ZENITH_ANGLE", "AZIMUTH_ANGLE")]
    assert angles.mean_sun == pytest.approx(sun, abs=0.001)
    assert set(angles.view) == set(BANDS)
    means = root.findall(".//Mean_Viewing_Incidence_Angle")
    told = [np.mean([float(m.findtext(t) or "") for m in means]) for t in ("ZENITH_ANGLE", "AZIMUTH_ANGLE")]
    assert angles.mean_view == pytest.approx(told, abs=1.0)


def test_angles_are_kept_for_each_band_and_detector_where_the_metadata_have_them(metadata: Path) -> None:
    angles, root = read_angles(str(metadata / TILE_LEVEL)), read_xml(str(metadata / TILE_LEVEL))
    seen = 0
    for grid in root.iterfind(".//Viewing_Incidence_Angles_Grids"):
        zenith, azimuth = (
            np.radians(
                [[float(v) for v in (row.text or "").split()] for row in grid.iterfind(f"{name}//VALUES")]
            )
            for name in ("Zenith", "Azimuth")
        )
        view = angles.view[BAND_IDS[int(grid.get("bandId", ""))]][int(grid.get("detectorId", ""))]
        known = np.isfinite(zenith) & np.isfinite(azimuth)
        seen += int(known.sum())
        assert np.isfinite(view).all(), "a plane where the metadata have no number"
        assert np.allclose(np.hypot(*view)[known], np.tan(zenith)[known])
        turned = np.angle(np.exp(1j * (np.arctan2(*view) - azimuth)))[known]
        assert np.abs(turned).max() < 1e-6
    assert seen > 1500


def test_azimuths_on_both_sides_of_north_have_their_mean_in_the_north(metadata: Path, tmp_path: Path) -> None:
    # The real granule, seen from a satellite that stands 71° further east: azimuths from 342° over 0° to 7°.
    turned = 71.0
    root = read_xml(str(metadata / TILE_LEVEL))
    for grid in root.iterfind(".//Azimuth/Values_List/VALUES"):
        grid.text = " ".join(str((float(v) + turned) % 360) for v in (grid.text or "").split())
    mean = root.find(".//Mean_Sun_Angle/AZIMUTH_ANGLE")
    assert mean is not None
    mean.text = str((float(mean.text or "") + turned) % 360)
    ElementTree(root).write(tmp_path / "MTD_TL.xml")
    plain, found = read_angles(str(metadata / TILE_LEVEL)), read_angles(str(tmp_path / "MTD_TL.xml"))
    assert found.mean_view[0] == pytest.approx(plain.mean_view[0], abs=1e-6)
    assert found.mean_view[1] == pytest.approx((plain.mean_view[1] + turned) % 360, abs=1e-6)
    assert found.mean_view[1] < 1 or found.mean_view[1] > 359


@pytest.mark.parametrize(
    ("name", "bands", "satellite", "tile", "baseline", "level"),
    [
        (EARTH_L2A, L2A_BANDS, "S2A", "13TDE", "0509", "L2A"),
        (EARTH_L1C, set(BANDS), "S2B", "27VWK", "0510", "L1C"),
        (CDSE_2020, L2A_BANDS, "S2B", "36NYH", "0500", "L2A"),
        (CDSE_S2C, L2A_BANDS, "S2C", "55WFR", "0512", "L2A"),
        (PLANETARY, L2A_BANDS, "S2B", "06VVN", "0212", "L2A"),
        (EXTENSION, L2A_BANDS, "S2A", "20QRF", "0509", "L2A"),
    ],
)
def test_items_of_all_archives_map_to_the_same_bands(
    metadata: Path, name: str, bands: set[str], satellite: str, tile: str, baseline: str, level: str
) -> None:
    item = load(metadata, name)
    product = product_from_item(item, metadata / name)
    chosen = choose_assets(item["assets"])
    assert set(chosen) & set(BANDS) == bands
    assert "granule_metadata" in chosen
    assert (product.platform, product.mgrs, product.baseline, product.level) == (
        satellite,
        tile,
        baseline,
        level,
    )


def test_of_several_copies_the_one_at_the_band_s_own_resolution_is_taken_and_a_cog_before_a_jp2(
    metadata: Path,
) -> None:
    copies = choose_assets(load(metadata, CDSE_S2C)["assets"])
    assert {copies[b] for b in ("B01", "B02", "B05", "SCL")} == {"B01_60m", "B02_10m", "B05_20m", "SCL_20m"}
    assert choose_assets(load(metadata, EARTH_L2A)["assets"])["B04"] == "red"


def test_one_pass_over_many_tiles_keeps_one_datatake(metadata: Path) -> None:
    items = load(metadata, "stac_planetarycomputer_9items_one_pass.geojson")["features"]
    products = [product_from_item(item, metadata / "x.json") for item in items]
    assert len({p.datatake for p in products}) == 1
    assert len({p.mgrs for p in products}) == 9


def candidate(metadata: Path, name: str, archive: str, level: str = "l2a") -> Candidate | LeftOut | None:
    world = shapely.box(-180, -90, 180, 90)
    query = Query(world, level)  # type: ignore[arg-type]
    files = needed_files(query.level, DEFAULT_BANDS)
    return candidate_of(load(metadata, name), ARCHIVES[archive], query, *files)


def test_an_address_that_can_be_read_from_here_is_taken_before_one_that_cannot(metadata: Path) -> None:
    item = load(metadata, EARTH_L2A)
    for key, asset in item["assets"].items():
        asset["alternate"] = {"web": {"href": f"https://a.b/{key}.tif"}, "disk": {"href": f"/disk/{key}.tif"}}
    item["assets"]["red"]["href"] = "gs://bucket/red.tif"
    files = needed_files("l2a", DEFAULT_BANDS)
    found = candidate_of(
        item, ARCHIVES["earth-search"], Query(shapely.box(-180, -90, 180, 90), "l2a"), *files
    )
    assert isinstance(found, Candidate)
    places = {f.role: f.href for f in found.files}
    assert places["B04"] == "https://a.b/red.tif"
    assert places["B03"] == item["assets"]["green"]["href"]


@pytest.mark.parametrize(
    ("name", "archive", "level"),
    [
        (EARTH_L2A, "earth-search", "l2a"),
        (EARTH_L1C, "earth-search", "l1c"),
        (CDSE_2020, "cdse", "l2a"),
        (CDSE_S2C, "cdse", "l2a"),
        (PLANETARY, "planetary-computer", "l2a"),
        (EXTENSION, "planetary-computer", "l2a"),
    ],
)
def test_items_of_all_archives_name_the_files_to_fetch(
    metadata: Path, name: str, archive: str, level: str
) -> None:
    found = candidate(metadata, name, archive, level)
    assert isinstance(found, Candidate)
    assert set(DEFAULT_BANDS) < {f.role for f in found.files}
    assert len({f.name for f in found.files}) == len(found.files)
    assert not any("_60m" in f.name or "-jp2" in f.href for f in found.files if f.role in DEFAULT_BANDS)


def test_copernicus_items_lead_to_the_quality_files_they_do_not_list(metadata: Path) -> None:
    found = candidate(metadata, CDSE_2020, "cdse")
    assert isinstance(found, Candidate)
    unlisted = {f.role: f.href.rpartition(".SAFE/")[2] for f in found.files if not f.listed}
    granule = "GRANULE/L2A_T36NYH_A015891_20200322T075811/QI_DATA"
    assert unlisted == {
        "CLDPRB": f"{granule}/MSK_CLDPRB_20m.jp2",
        "DETFOO": f"{granule}/MSK_DETFOO_B02.jp2",
    }


def test_a_zarr_item_is_left_out_with_the_reason(metadata: Path) -> None:
    found = candidate(metadata, "stac_eopf_s2c_item.json", "planetary-computer")
    assert isinstance(found, LeftOut)
    assert "B02" in found.reason


def test_checksums_of_real_items_are_read_and_mislabelled_ones_ignored(metadata: Path) -> None:
    assets = load(metadata, CDSE_2020)["assets"]
    kinds = {
        key: parse_multihash(assets[key].get("file:checksum"))
        for key in ("B02_10m", "Product", "granule_metadata")
    }
    assert kinds["B02_10m"] is not None
    assert kinds["B02_10m"][0] == "sha3_256"
    assert kinds["Product"] is not None
    assert kinds["Product"][0] == "md5"
    assert kinds["granule_metadata"] is None
