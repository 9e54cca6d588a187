"""The offset of a product: metadata that agree, else the pixels, and who disagrees is recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.bands import FOUR as BANDS
from terrazzo.errors import UnreadableAsset
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
def test_bright_scenes_tell_nothing(rho, added):
    assert pixel_opinion(darkest(rho, added))[1] is None


def test_a_gap_in_the_clouds_tells_enough():
    assert pixel_opinion(darkest(CLOUDY, 0))[1] == 0
    assert pixel_opinion(darkest(CLOUDY, 1000))[1] != 0


def test_a_scene_without_pixels_tells_nothing():
    assert pixel_opinion(np.zeros((5, 5), np.int32)) == (None, None)


@pytest.mark.parametrize(
    ("xml", "claims", "decided_by", "value"),
    [
        (-1000, {}, "product metadata", -1000),
        (0, {}, "product metadata", 0),
        (-1000, {"boa_offset_applied": False, "raster_offset": -0.1}, "product metadata", -1000),
        (None, {"raster_offset": -0.1}, "raster offset", -1000),
        (None, {"boa_offset_applied": False}, "boa_offset_applied", -1000),
        (None, AGREED, "boa_offset_applied", 0),
    ],
)
def test_metadata_that_agree_decide_and_pixels_that_differ_are_recorded(xml, claims, decided_by, value):
    against = ground("forest", 1000 + value)
    offset = decide_offset(against, xml_offset=xml, claims=claims, baseline="0509")
    assert (offset.decided_by, offset.value) == (decided_by, value)
    assert f"pixels says {-1000 - value}" in offset.conflicts
    assert offset.evidence["pixels"] == -1000 - value


@pytest.mark.parametrize("added", [0, 1000])
@pytest.mark.parametrize(("xml", "claims"), [(None, CONTRADICTORY), (-1000, {"boa_offset_applied": True})])
def test_where_metadata_contradict_each_other_the_pixels_decide(xml, claims, added):
    offset = decide_offset(ground("forest", added), xml_offset=xml, claims=claims, baseline="0509")
    assert (offset.decided_by, offset.value) == ("pixels", -added)
    assert offset.conflicts


def test_where_pixels_tell_nothing_the_copy_knows_what_was_done_to_it():
    offset = decide_offset(darkest(SNOW, 0), xml_offset=-1000, claims=CONTRADICTORY, baseline="0509")
    assert (offset.decided_by, offset.value) == ("boa_offset_applied", 0)
    assert len(offset.conflicts) == 3


def test_without_any_word_pixels_decide_and_after_them_the_baseline():
    silent = {"xml_offset": None, "claims": {}}
    assert decide_offset(ground("forest", 0), **silent, baseline="0509").decided_by == "pixels"
    for baseline, value in (("0301", 0), ("0400", -1000)):
        offset = decide_offset(darkest(DESERT, 0), **silent, baseline=baseline)
        assert (offset.decided_by, offset.value) == ("baseline", value)


def test_the_samples_contradictory_metadata_are_settled_by_its_pixels():
    for product in find_products(sample.path()).products:
        arrays = [rasterio.open(product.asset(b)).read(1) for b in BANDS]
        low = np.min(arrays, axis=0).astype(np.int32)
        assert product.claims == CONTRADICTORY
        offset = decide_offset(low, xml_offset=None, claims=product.claims, baseline=product.baseline)
        assert (offset.decided_by, offset.value) == ("pixels", 0), product.id
        assert offset.conflicts == ("raster offset says -1000", "baseline says -1000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("L2A_N0509_S2A_01KAB_20230821_MTD_MSIL2A.xml", -1000),
        ("L2A_N0212_S2A_07HFE_20190212_MTD_MSIL2A.xml", 0),
        ("L1C_N0400_S2B_32UPC_20220615_MTD_MSIL1C.xml", -1000),
        ("L1C_N0301_S2A_46RER_20210908_MTD_MSIL1C.xml", 0),
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
