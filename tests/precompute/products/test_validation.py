"""Whatever a product holds, `validated` returns a checked product or one reason why it is left out."""

import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terrazzo.errors import ProductError
from terrazzo.precompute import sample
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.items import product_from_item
from terrazzo.precompute.products.product import LeftOut, Product
from terrazzo.precompute.products.tiles import tile_name
from terrazzo.precompute.products.validation import validated
from tests.world.mutate import VALUES, mutated, places

NAME = "S2B_33TWL_20230813_0_L2A"
ITEM = json.loads((Path(sample.path()) / f"{NAME}.json").read_text())
ESA = "S2B_MSIL2A_20230813T095559_N0509_R122_T33TWL_20230813T130536"
PLACES = places(ITEM)


def read(item: object) -> Product | LeftOut:
    return validated("x", lambda: product_from_item(item, Path(sample.path()) / "x.json"))  # type: ignore[arg-type]


def with_properties(**changed: object) -> dict:
    properties = {**ITEM["properties"], **changed}
    return {**ITEM, "properties": {k: v for k, v in properties.items() if v is not ...}}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PLACES), st.sampled_from(VALUES), st.integers(0, 2**32), st.integers(0, 3))
def test_an_item_of_any_values_becomes_a_product_or_one_line(place, value, seed, more):
    out, _ = mutated(ITEM, random.Random(seed), more)
    holder = out
    try:
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
    except (IndexError, KeyError, TypeError):
        pass
    found = read(out)
    if isinstance(found, LeftOut):
        assert found.reason
        assert "\n" not in found.reason
    else:
        assert (found.mgrs, found.epsg, found.level) == ("33TWL", 32633, "L2A")
        assert found.platform == "S2B"
        assert set(found.claims.values()) <= {True, False, -0.1}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["id", "properties", "assets", "links", "geometry", "type"]), JSON))
def test_a_document_of_any_shape_is_left_out_with_a_reason(document):
    assert isinstance(read(document), LeftOut)


@pytest.mark.parametrize("nothing", [None, float("nan"), ..., "", [], {}])
@pytest.mark.parametrize("key", ["platform", "grid:code", "s2:processing_baseline", "sat:relative_orbit"])  # fmt: skip
def test_what_a_property_lacks_comes_from_the_products_name(key, nothing):
    full, found = read(ITEM), read(with_properties(**{key: nothing}))
    assert isinstance(full, Product)
    assert isinstance(found, Product)
    for field in ("platform", "mgrs", "baseline", "relative_orbit", "datatake"):
        assert getattr(found, field) == getattr(full, field)


def test_the_constellations_name_leaves_the_satellite_to_the_products_name():
    for text in ("sentinel-2", "Sentinel 2", "SENTINEL-2B", "S2B"):
        found = read(with_properties(platform=text))
        assert isinstance(found, Product), found
        assert found.platform == "S2B"


@pytest.mark.parametrize(
    "changed",
    [
        {"grid:code": "MGRS-33TWM"},
        {"platform": "sentinel-2a"},
        {"platform": "landsat-9"},
        {"datetime": "yesterday"},
    ],
)
def test_an_item_that_contradicts_its_products_name_is_left_out(changed):
    found = read(with_properties(**changed))
    assert isinstance(found, LeftOut)
    assert "correct the Item" in found.reason or "not Sentinel-2A, B or C" in found.reason


@pytest.mark.parametrize("text", ["MGRS-9VWK", "9VWK", "09VWK", "T09VWK", "t9vwk", "mgrs-09vwk", " 09VWK "])
def test_a_tile_has_one_name_however_it_is_written(text):
    assert tile_name(text) == "09VWK"


@pytest.mark.parametrize("text", ["", "61VWK", "0VWK", "09IWK", "09VWI", "MGRS-", "33TWLX", "09VW"])
def test_what_is_no_tile_is_refused(text):
    with pytest.raises(ProductError, match="MGRS tile"):
        tile_name(text)


def test_the_orbit_follows_from_the_count_of_orbits_where_nothing_else_has_it(data):
    told = {}
    for name in ("stac_cdse_sentinel-2-l2a_item_S2C_N0512.json", "stac_cdse_sentinel-2-l2a_item_N0500.json"):
        item = json.loads((data / "imagery/metadata" / name).read_text())
        full = product_from_item(item, Path("x.json"))
        bare = {**item, "id": "plain_L2A"}
        bare["properties"] = {k: v for k, v in item["properties"].items() if k != "sat:relative_orbit"}
        told[full.platform] = (product_from_item(bare, Path("x.json")).relative_orbit, full.relative_orbit)
    assert all(a == b > 0 for a, b in told.values())
    bare["properties"] = {
        k: v for k, v in bare["properties"].items() if "orbit" not in k and "datatake" not in k
    }
    assert product_from_item(bare, Path("x.json")).relative_orbit == 0


def test_a_zarr_product_is_named_and_what_to_fetch_instead(data):
    for path in (data / "imagery/metadata/stac_eopf_s2c_item.json",):
        found = read(json.loads(path.read_text()))
        assert isinstance(found, LeftOut)
        assert "EOPF Zarr" in found.reason
        assert "--archive" in found.reason


@pytest.mark.parametrize(
    ("offsets", "claimed"),
    [([0], 0.0), ([-0.1], -0.1), ([-1000], -0.1), ([None, -0.1], -0.1), ([], None),
     ([0.05], ...), ([-100], ...), ([0, -0.1], ...), (["x"], ...), ([float("inf")], ...)],
)  # fmt: skip
def test_an_offset_that_no_product_carries_is_refused(offsets, claimed):
    item = json.loads(json.dumps(ITEM))
    for asset in item["assets"].values():
        asset.pop("raster:bands", None)
    for key, offset in zip(("blue", "red"), offsets, strict=False):
        item["assets"][key]["raster:bands"] = [{"offset": offset}]
    found = read(item)
    if claimed is ...:
        assert isinstance(found, LeftOut)
    else:
        assert isinstance(found, Product)
        assert found.claims.get("raster_offset") == claimed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(Path(sample.path()) / NAME, tmp_path / NAME)
    (tmp_path / f"{NAME}.json").write_text(json.dumps(ITEM))
    return tmp_path


def test_one_bad_item_is_named_and_the_others_go_on(folder):
    bad = with_properties(datetime="2023-08-15T15:50:57Z UTC")
    (folder / "bad.json").write_text(json.dumps({**bad, "id": "bad"}))
    (folder / "half.json").write_text('{"type": "Feature", ')
    (folder / "latin.json").write_bytes(b'{"a": "\xe9"}')
    found = find_products(folder)
    assert [p.id for p in found.products] == [NAME]
    assert {o.name for o in found.left_out} == {"bad", "half.json", "latin.json"}
    assert all(o.bad for o in found.left_out)


def test_item_collections_and_geojson_are_read_and_what_is_passed_over_is_listed(folder):
    (folder / f"{NAME}.json").rename(folder / "one.geojson")
    (folder / "two.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [{**ITEM, "id": "other"}]})
    )
    (folder / "catalog.json").write_text(json.dumps({"type": "Catalog", "links": []}))
    (folder / ".hidden.json").write_text("{")
    found = find_products(folder)
    assert sorted(p.id for p in found.products) == [NAME, "other"]
    (over,) = found.left_out
    assert (over.name, over.bad) == ("catalog.json", False)


def test_an_item_whose_images_are_elsewhere_says_how_to_fetch_them(tmp_path):
    item = json.loads(json.dumps(ITEM).replace("./S2B", "https://example.org/S2B"))
    (tmp_path / "x.json").write_text(json.dumps(item))
    (out,) = find_products(tmp_path).left_out
    assert "terrazzo acquire" in out.reason


def test_a_date_keeps_its_zone_and_is_utc_without_one():
    found = read(with_properties(datetime="2023-08-13T12:07:22+02:00"))
    plain = read(with_properties(datetime="2023-08-13T10:07:22"))
    assert isinstance(found, Product)
    assert isinstance(plain, Product)
    assert found.datetime == plain.datetime == datetime(2023, 8, 13, 10, 7, 22, tzinfo=UTC)


@pytest.mark.parametrize("odd", [None, 5, [], {}, {"type": "Feature", "geometry": None}])
def test_one_member_of_a_collection_that_is_no_item_leaves_the_others_in(tmp_path, odd):
    folder = Path(sample.path()) / NAME
    (tmp_path / NAME).symlink_to(folder)
    document = {"type": "FeatureCollection", "features": [ITEM, odd]}
    (tmp_path / "items.json").write_text(json.dumps(document))
    found = find_products(tmp_path)
    assert [p.id for p in found.products] == [NAME]
    assert [(o.name, o.bad) for o in found.left_out] == [("items.json, feature 1", True)]


@pytest.mark.parametrize("name", ["Ž" * 101, "a" * 201])
def test_an_id_that_no_folder_can_be_named_after_is_refused(name):
    out = read({**ITEM, "id": name})
    assert isinstance(out, LeftOut)
    assert "cannot be the name of a folder" in out.reason


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"proj:epsg": 32634}, 32634),
        ({"proj:code": "EPSG:32634", "proj:epsg": 32633}, 32634),
        ({"proj:epsg": None}, None),
        ({"proj:epsg": ...}, None),
    ],
)
def test_the_code_of_an_items_images_is_read_in_both_spellings(said, code):
    out = read(with_properties(**said))
    assert isinstance(out, Product)
    assert {t.epsg for t in out.declared.values()} == {code}


def test_what_the_properties_say_of_all_images_counts_where_an_image_says_nothing():
    item = with_properties(
        **{"raster:scale": 5e-5, "raster:offset": -0.1, "nodata": 65535, "proj:shape": [10, 20]},
        **{"proj:transform": [10, 0, 5e5, 0, -10, 51e5], "earthsearch:boa_offset_applied": None},
    )
    silent = ("raster:bands", "proj:shape", "proj:transform")
    item["assets"] = {
        key: {k: v for k, v in asset.items() if k not in silent or key == "nir"}
        for key, asset in item["assets"].items()
    }
    item["assets"]["nir"]["raster:bands"] = [{"scale": 5e-5, "nodata": 0}]
    found = read(item)
    assert isinstance(found, Product)
    assert found.claims == {"raster_offset": -0.1}
    red = found.declared["B04"]
    assert (red.scale, red.nodata, red.shape) == (5e-5, 65535, (10, 20))
    assert red.transform == (10, 0, 5e5, 0, -10, 51e5)
    nir, asset = found.declared["B08"], item["assets"]["nir"]
    assert (nir.nodata, nir.shape) == (0, tuple(asset["proj:shape"]))
    item["assets"]["nir"]["raster:bands"] = [{"scale": 1e-4}]
    assert "different scales" in read(item).reason


def test_items_of_earth_search_before_its_version_1_are_read():
    """As Digital Earth Africa has them, too."""
    item = {**ITEM, "id": "S2A_33UWP_20220405_0_L2A", "collection": "sentinel-s2-l2a-cogs"}
    item["properties"] = {
        "datetime": "2022-04-05T10:08:30Z",
        "platform": "sentinel-2a",
        "proj:epsg": 32633,
        "sentinel:utm_zone": 33,
        "sentinel:latitude_band": "U",
        "sentinel:grid_square": "WP",
        "sentinel:processing_baseline": "04.00",
        "sentinel:boa_offset_applied": True,
    }
    item["assets"] = {"B02": {"href": "./B02.tif"}, "SCL": {"href": "./SCL.tif"}}
    found = read(item)
    assert isinstance(found, Product)
    assert (found.mgrs, found.epsg, found.level, found.baseline) == ("33UWP", 32633, "L2A", "0400")
    assert found.claims == {"boa_offset_applied": True}
    item["properties"]["sentinel:product_id"] = "S2A_MSIL2A_20220405T100031_N0400_R122_T33UWP_20220405T120515"
    found = read(item)
    assert isinstance(found, Product)
    assert (found.relative_orbit, found.datatake) == (122, "S2A_20220405T100031_R122")


@pytest.mark.parametrize(
    ("red", "reason"),
    [
        ("./x/B03.tif", "asset 'red' is B04, and its file B03.tif is named B03"),
        (
            "./x/T33TWL_20230813T095559_B8A_20m.jp2?sig=x",
            "T33TWL_20230813T095559_B8A_20m.jp2 is named B8A",
        ),
        ("./x/one.tif", "B03 and B04 are one file, ./x/one.tif"),
    ],
)
def test_an_image_that_is_another_bands_is_refused(red, reason):
    assets = {**ITEM["assets"], "green": {"href": "./x/one.tif"}, "red": {"href": red}}
    found = read({**ITEM, "assets": assets})
    assert isinstance(found, LeftOut)
    assert reason in found.reason


@pytest.mark.parametrize(
    "name", ["B04.tif", "B4.tif", "B04_B03.tif", "SUB03.tif", "T01B03X_red.tif", "red.tif"]
)
def test_a_name_that_is_no_other_bands_is_taken(name):
    assets = {**ITEM["assets"], "red": {"href": f"./x/{name}"}}
    assert isinstance(read({**ITEM, "assets": assets}), Product)


def test_an_image_that_lies_here_beside_its_own_address_is_read_here(tmp_path):
    (tmp_path / "B04.tif").touch()
    places = {"s3": {"href": "s3://b/B04.tif"}, "local": {"href": "./B04.tif"}, "odd": 5}
    assets = {
        "red": {"href": "https://a.b/B04.tif", "alternate": places},
        "blue": {"href": "https://a.b/B02.tif", "alternate": {"local": {"href": "file:///gone/B02.tif"}}},
        "green": {"href": "https://a.b/B03.tif", "alternate": ["x"]},
    }
    product = product_from_item({**ITEM, "assets": assets}, tmp_path / "x.json")
    assert product.assets == {"B04": str(tmp_path / "B04.tif")}
