"""Of a small area only a part of each tile is fetched, pixel for pixel what the whole has there."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.windows import from_bounds

from terrazzo.precompute import sample
from terrazzo.precompute.acquire.area import MARGIN, TILE_SIDE, WINDOW, from_tile, part_of, tile_square
from terrazzo.precompute.products.find import find_products
from tests.world import archive as world
from tests.world.archive import Archive
from tests.world.faults import once, proxy, share

Terrazzo = Callable[..., CompletedProcess[str]]
ONE = "S2B_33TWL_20230813_0_L2A"
FIELD, NEXT = (15.95, 45.75, 16.05, 45.85), (16.1, 45.7, 16.15, 45.75)
BANDS = ("--bands", ",".join(sample.BANDS))


@pytest.mark.parametrize("tile", ["33TWL", "36NYH", "56HLH", "01KAB"])
def test_a_part_holds_the_area_with_its_margin_in_whole_windows_of_the_zone(tile: str) -> None:
    square, epsg = tile_square(tile)
    middle = shapely.point_on_surface(from_tile(tile))
    area = shapely.box(middle.x - 0.02, middle.y - 0.02, middle.x + 0.02, middle.y + 0.02)
    part = part_of(area, tile)
    assert part is not None
    south = 10_000_000.0 if epsg >= 32700 else 0.0
    inner = [edge for edge in part if edge not in square]
    origin = {part.left: 0.0, part.right: 0.0, part.bottom: south, part.top: south}
    assert all((edge - origin[edge]) % WINDOW == 0 for edge in inner)
    assert (part.right - part.left) * (part.top - part.bottom) < 0.15 * TILE_SIDE**2
    assert part.right - part.left <= 4_500 + (2 * MARGIN + 2) * WINDOW


def test_most_of_a_tile_is_the_whole_and_what_lies_elsewhere_has_no_part() -> None:
    assert part_of(from_tile("33TWL"), "33TWL") is None
    assert part_of(shapely.box(15.1, 45.1, 16.3, 45.9), "33TWL") is None
    assert part_of(shapely.box(20, 50, 20.1, 50.1), "33TWL") is None


@pytest.mark.clients
def test_a_part_is_what_the_whole_has_there_and_grows_when_more_is_asked(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    products = tmp_path / "s-products"
    command = (
        "acquire",
        "--store",
        tmp_path / "s",
        "--archive",
        archive.stac,
        "--datetime",
        "2023-08-13",
        *BANDS,
    )
    with proxy(archive.s3, once("down")) as s3:
        first = terrazzo(*command, "--bbox", *FIELD, s3=s3.address)
        assert first.returncode == 0, first.stderr
        part = same_as_the_whole(products)
        assert terrazzo(*command, "--bbox", 15.96, 45.76, 16.04, 45.84, s3=s3.address).returncode == 3
    assert terrazzo(*command, "--bbox", *NEXT).returncode == 0
    wide = same_as_the_whole(products)
    assert part != wide
    assert shapely.box(*wide).covers(shapely.box(*part))
    assert terrazzo(*command, "--bbox", *FIELD).returncode == 3
    assert terrazzo(*command, "--bbox", *FIELD, "--whole-tiles").returncode == 0
    whole = find_products(products).products[0]
    for path in map(Path, whole.assets.values()):
        assert path.read_bytes() == (sample.path() / ONE / path.name).read_bytes()
    assert terrazzo(*command, "--bbox", *NEXT).returncode == 3, "the whole has every part"


def same_as_the_whole(products: Path) -> list[float]:
    """Asserts that the only product's rasters are a part of the sample's; that part in metres."""
    (product,) = find_products(products).products
    item = json.loads(Path(product.item).read_text())
    part: list[float] = item["properties"]["terrazzo:part"]
    assert len(product.assets) == 8
    for path in (Path(p) for p in product.assets.values() if p.endswith(".tif")):
        with rasterio.open(path) as mine, rasterio.open(sample.path() / ONE / path.name) as whole:
            window = from_bounds(*mine.bounds, whole.transform)
            assert np.array_equal(mine.read(1), whole.read(1, window=window.round_offsets().round_lengths()))
            there = shapely.intersection(shapely.box(*part), shapely.box(*whole.bounds))
            assert shapely.box(*mine.bounds).buffer(0.01).covers(there)
            assert mine.width * mine.height < 0.3 * whole.width * whole.height
            assert (mine.crs, mine.nodata, mine.dtypes) == (whole.crs, whole.nodata, whole.dtypes)
    assert shapely.geometry.shape(item["geometry"]).covers(shapely.box(*FIELD))
    return part


@pytest.mark.clients
def test_parts_arrive_though_a_fifth_of_the_requests_fail(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    with proxy(archive.s3, share(0.2, seed=3)) as s3:
        command = ("acquire", "--store", tmp_path / "s", "--archive", archive.stac, "--bbox", *FIELD)
        done = terrazzo(*command, "--datetime", "2023-08-13", *BANDS, s3=s3.address)
    assert done.returncode == 0, done.stderr
    same_as_the_whole(tmp_path / "s-products")


@pytest.mark.clients
def test_a_file_that_the_archive_does_not_have_is_reported_for_a_part_too(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    items = world.sample_items([ONE])
    items[0]["assets"]["red"]["href"] = f"s3://{world.BUCKET}/nothing/B04.tif"
    command = ("acquire", "--store", tmp_path / "s", "--datetime", "2023-08-13", "--bbox", *FIELD, *BANDS)
    with world.stac_server(tmp_path, items) as poor:
        told = terrazzo(*command, "--archive", poor)
    assert told.returncode == 4
    assert f"{poor} has no s3://{world.BUCKET}/nothing/B04.tif" in told.stderr
