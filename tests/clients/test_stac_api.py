"""STAC API with the clients that people search with: pystac-client, odc-stac, titiler's reader, stac-geoparquet."""

import io
import urllib.request
import warnings

import numpy as np
import odc.stac
import pyarrow.parquet as pq
import pystac
import pystac_client
import pytest
import shapely
import stac_geoparquet.arrow as stac_arrow
from rio_tiler.io import STACReader

import terrazzo

pytestmark = pytest.mark.clients
BOX = (15.95, 45.75, 16.0, 45.8)


@pytest.fixture(scope="module")
def stac(address):
    with warnings.catch_warnings():
        # pystac-client warns where it must walk instead of search.
        warnings.simplefilter("error")
        yield pystac_client.Client.open(f"{address}/stac")


def test_pystac_client_searches_without_falling_back(stac):
    search = stac.search(
        collections=["mosaic"],
        bbox=BOX,
        datetime="2023-08-15",
        filter="eo:cloud_cover < 50 AND platform = 'sentinel-2a'",
        sortby="-properties.datetime",
    )
    (item,) = search.items()
    assert (item.id, search.matched()) == ("S2A_33TWL_20230815_0_L2A", 1)
    for method in ("GET", "POST"):
        pages = [len(p.items) for p in stac.search(method=method, collections=["mosaic"], limit=4).pages()]
        assert pages == [4, 4, 2]
    again = stac.get_collection("mosaic").get_item(item.id)
    assert (again.id, again.properties, again.assets.keys()) == (item.id, item.properties, item.assets.keys())
    assert {c.id for c in stac.get_collections()} == {"mosaic", "mosaic.periods"}


def test_what_a_search_gives_is_valid_and_its_links_lead_where_they_say(stac):
    for collection in ("mosaic", "mosaic.periods"):
        document = stac.get_collection(collection)
        item = next(stac.search(collections=[collection], limit=1).items())
        for thing in (document, item):
            thing.stac_extensions = []
            thing.validate()
            assert pystac.read_file(thing.get_self_href()).id == thing.id
        assert item.get_collection().id == collection


def test_odc_stac_reads_scenes_and_the_mosaic_itself(stac, sample_store):
    array = terrazzo.open(sample_store, bbox=BOX, bands=["B04", "B08"])
    (item,) = stac.search(collections=["mosaic.periods"]).items()
    read = odc.stac.load([item], bands=["B04", "B08"], bbox=BOX)
    for band in ("B04", "B08"):
        own = array.sel(band=band).isel(time=0).reindex(x=read.x, y=read.y)
        np.testing.assert_allclose(read[band].values[0] * 1e-4, own.values, atol=1e-6)
    (scene,) = stac.search(collections=["mosaic"], bbox=BOX, datetime="2023-08-15", limit=1).items()
    raw = odc.stac.load([scene], bands=["B04"], bbox=BOX)["B04"].values
    assert np.mean((raw > 0) & (raw < 10000)) == 1


def test_titiler_reads_an_item(stac):
    item = next(stac.search(collections=["mosaic"], limit=1).items())
    with STACReader(item.get_self_href()) as reader:
        assert {"B02", "B03", "B04", "B08"} <= set(reader.assets)
        image = reader.preview(assets=["B04"], max_size=32)
    assert image.mask.any()


def test_all_items_of_a_version_are_one_geoparquet_file(stac):
    with urllib.request.urlopen(stac.get_collection("mosaic").assets["scenes"].href) as answer:
        items = list(stac_arrow.stac_table_to_items(pq.read_table(io.BytesIO(answer.read()))))
    known = {i.id: i for i in stac.search(collections=["mosaic"]).items()}
    assert {i["id"] for i in items} == set(known)
    for item in items:
        assert item["assets"]["B04"]["href"] == known[item["id"]].assets["B04"].href
        assert shapely.equals(
            shapely.geometry.shape(item["geometry"]), shapely.geometry.shape(known[item["id"]].geometry)
        )
