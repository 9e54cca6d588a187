"""The offset of a product: what is impossible is ruled out, what nothing settles is left out, and who disagrees is recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.bands import FOUR as BANDS
from terrazzo.errors import ProductError, UnreadableAsset
from terrazzo.precompute import sample
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.items import product_from_item
from terrazzo.precompute.products.offset import decide_offset, pixel_opinion, read_xml_offset
from tests.world.land import KINDS, SPECTRA

RNG = np.random.default_rng(0)
AGREED = {"boa_offset_applied": True, "raster_offset": 0.0}
CONTRADICTORY = {"boa_offset_applied": True, "raster_offset": -0.1}


def darkest(rho: np.ndarray, added: int) -> np.ndarray:
    """Counts of pixels whose lowest band has these reflectances."""
    return np.maximum(np.rint(rho * 10_000) + added, 1).astype(np.int32)


def ground(kind: str, added: int) -> np.ndarray:
    low = SPECTRA[KINDS.index(kind), [1, 2, 3, 7]].min()
    return darkest(low * np.random.default_rng(1).normal(1, 0.15, (100, 100)), added)


OVERCORRECTED_WATER = RNG.normal(-0.008, 0.004, (100, 100))
DESERT = RNG.uniform(0.12, 0.30, (100, 100))
SNOW = RNG.uniform(0.5, 0.9, (100, 100))
CLOUDY = np.where(RNG.random((100, 100)) < 0.97, RNG.uniform(0.3, 0.7, (100, 100)), 0.03)


@pytest.mark.parametrize("kind", ["water", "forest"])
@pytest.mark.parametrize("added", [0, 1000])
def test_dark_ground_shows_whether_something_was_added(kind, added):
    assert pixel_opinion(ground(kind, added))[1] == -added


def test_water_that_came_out_below_zero_does_not_hide_the_addition():
    assert pixel_opinion(darkest(OVERCORRECTED_WATER, 1000))[1] is None
    half = np.concatenate([darkest(OVERCORRECTED_WATER, 1000), ground("forest", 1000)])
    assert pixel_opinion(half)[1] != 0
    assert pixel_opinion(darkest(OVERCORRECTED_WATER, 0))[1] == 0


@pytest.mark.parametrize("rho", [DESERT, SNOW], ids=["desert", "snow"])
@pytest.mark.parametrize("added", [0, 1000])
def test_bright_scenes_decide_no_offset(rho, added):
    assert pixel_opinion(darkest(rho, added))[1] is None


def test_a_gap_in_the_clouds_decides_the_offset():
    assert pixel_opinion(darkest(CLOUDY, 0))[1] == 0
    assert pixel_opinion(darkest(CLOUDY, 1000))[1] != 0


def test_a_scene_without_pixels_decides_no_offset():
    assert pixel_opinion(np.zeros((5, 5), np.int32)) == (None, None)


TAKEN_OUT, LEFT_IN = {"boa_offset_applied": True}, {"boa_offset_applied": False, "raster_offset": -0.1}
BRIGHT = darkest(SNOW, 0)


def decide(low: np.ndarray, **given) -> tuple[int, str]:
    """Value and who decided it, for a copy (not ESA's own files) of a baseline 05.09 unless told."""
    offset = decide_offset(low, **{"xml_offset": None, "claims": {}, "baseline": "0509", **given})
    return offset.value, offset.decided_by


@pytest.mark.parametrize("baseline", ["0204", "0206", "0301"])
@pytest.mark.parametrize("given", [{}, {"claims": LEFT_IN}, {"xml_offset": -1000}])
def test_a_baseline_below_04_00_has_nothing_added_whatever_haze_and_claims_say(data, baseline, given):
    with rasterio.open(data / "cases/hazy_baseline_0206_20180908.tif") as dataset:
        hazy = dataset.read().min(axis=0)
    assert pixel_opinion(hazy)[1] == -1000
    assert decide(hazy, baseline=baseline, **given) == (0, "baseline")


@pytest.mark.parametrize("xml", [0, -1000])
def test_esas_metadata_beside_esas_own_files_stand_against_everybody(xml):
    against = ground("forest", 1000 + xml)
    claims = {"raster_offset": -0.1 - xml / 10_000}
    assert decide(against, xml_offset=xml, claims=claims, untouched=True) == (xml, "product metadata")


@pytest.mark.parametrize(
    "given", [{"claims": LEFT_IN}, {"claims": LEFT_IN, "xml_offset": -1000}, {"xml_offset": -1000}, {}]
)
def test_pixels_that_the_addition_would_make_impossible_overrule_what_a_copys_writer_says(given):
    assert decide(ground("forest", 0), **given) == (0, "pixels")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"claims": LEFT_IN}, (-1000, "Item")),
        ({"claims": TAKEN_OUT}, (0, "Item")),
        ({"claims": TAKEN_OUT, "xml_offset": -1000}, (0, "Item")),
        ({"xml_offset": -1000}, (-1000, "product metadata")),
        ({"untouched": True}, (-1000, "baseline")),
    ],
)
def test_where_pixels_are_silent_who_is_not_contradicted_decides(given, found):
    assert decide(BRIGHT, **given) == found


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"baseline": ""},
        {"claims": CONTRADICTORY},
        {"claims": CONTRADICTORY, "xml_offset": -1000},
    ],
)
def test_where_nothing_settles_it_the_product_is_left_out(given):
    with pytest.raises(ProductError, match=r"nothing settles.*fetch"):
        decide(BRIGHT, **given)


def test_an_item_that_denies_the_addition_that_the_pixels_show_settles_nothing():
    with pytest.raises(ProductError, match="Item says 0"):
        decide(ground("forest", 1000), claims=AGREED)
    with pytest.raises(ProductError, match="Item says 0"):
        decide(ground("forest", 1000), claims=AGREED, xml_offset=-1000)


def test_an_item_that_says_both_is_no_witness_and_only_what_is_impossible_decides():
    assert decide(ground("forest", 0), claims=CONTRADICTORY) == (0, "pixels")
    with pytest.raises(ProductError, match="nothing settles"):
        decide(ground("forest", 1000), claims=CONTRADICTORY)


def test_thick_haze_looks_as_if_1000_were_added_and_alone_proves_nothing(data):
    with rasterio.open(data / "cases/hazy_baseline_0206_20180908.tif") as dataset:
        hazy = dataset.read().min(axis=0)
    for given in ({"baseline": ""}, {"claims": CONTRADICTORY}, {"claims": TAKEN_OUT}):
        with pytest.raises(ProductError, match="nothing settles"):
            decide(hazy, **given)
    assert decide(hazy, claims=TAKEN_OUT, swir=False) == (0, "Item")


def test_who_looks_as_if_1000_were_added_and_says_nothing_else_has_them_since_04_00():
    assert decide(ground("forest", 1000)) == (-1000, "pixels")


def test_few_pixels_say_nothing():
    few = ground("forest", 0)[:10, :30]
    assert pixel_opinion(few)[1] is None
    assert decide(few, claims=LEFT_IN) == (-1000, "Item")


@pytest.mark.parametrize("xml", [-999, 1000, -100])
def test_metadata_with_another_offset_are_refused(xml):
    with pytest.raises(ProductError, match=f"offset of {xml}"):
        decide(ground("forest", 0), xml_offset=xml)


def test_verdict_and_evidence_are_in_words():
    offset = decide_offset(ground("forest", 0), xml_offset=-1000, claims=LEFT_IN, baseline="0509")
    assert "would be below -0.03" in offset.verdict
    assert offset.conflicts == (
        "product metadata says -1000",
        "Item says -1000",
        "baseline says -1000",
    )
    assert offset.evidence["pixels"] == 0


def test_the_samples_contradictory_metadata_are_settled_by_its_pixels():
    for product in find_products(sample.path()).products:
        arrays = [rasterio.open(product.asset(b)).read(1) for b in BANDS]
        low = np.min(arrays, axis=0).astype(np.int32)
        assert product.claims == CONTRADICTORY
        offset = decide_offset(low, xml_offset=None, claims=product.claims, baseline=product.baseline)
        assert (offset.decided_by, offset.value) == ("pixels", 0), product.id
        assert offset.conflicts == ("baseline says -1000", "the Item says both 0 and -1000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("L2A_N0509_S2A_01KAB_20230821_MTD_MSIL2A.xml", -1000),
        ("L2A_N0212_S2A_07HFE_20190212_MTD_MSIL2A.xml", None),
        ("L1C_N0400_S2B_32UPC_20220615_MTD_MSIL1C.xml", -1000),
        ("L1C_N0301_S2A_46RER_20210908_MTD_MSIL1C.xml", None),
    ],
)
def test_real_product_metadata_are_read(data, name, value):
    assert read_xml_offset(data / "imagery/metadata" / name) == value


@pytest.mark.parametrize("text", ["", "<a>", "<a><BOA_ADD_OFFSET>-1000</BOA_ADD_OFFSET><BOA_ADD_OFFSET>0</BOA_ADD_OFFSET></a>"])  # fmt: skip
def test_product_metadata_that_cannot_be_understood_are_named(tmp_path: Path, text):
    (tmp_path / "MTD_MSIL2A.xml").write_text(text)
    with pytest.raises(UnreadableAsset, match=r"MTD_MSIL2A.*fetch"):
        read_xml_offset(tmp_path / "MTD_MSIL2A.xml")


def test_claims_are_found_wherever_archives_write_them(data):
    folder = data / "imagery/metadata"
    for name, claims in (
        ("stac_cdse_sentinel-2-l2a_item_S2C_N0512.json", {"raster_offset": -0.1}),
        ("stac_earthsearch_v1_sentinel-2-l2a_item_13TDE_20231008.json", CONTRADICTORY),
        ("stac_planetarycomputer_sentinel-2-l2a_item.json", {}),
    ):
        product = product_from_item(json.loads((folder / name).read_text()), folder / name)
        assert product.claims == claims
