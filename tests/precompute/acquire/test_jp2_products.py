"""Of a product in JP2 a small area takes a part of each file, which becomes a scene as a whole product does."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import obstore
import pytest
import rasterio
import shapely
from rasterio.windows import from_bounds
from scipy import ndimage

from terrazzo.bands import NODATA
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.fetch import Fetched, Openers, Plan, fetch, plan, with_headers
from terrazzo.precompute.acquire.parts import FIRST_READ
from terrazzo.precompute.acquire.product_folder import ProductFolder
from terrazzo.precompute.acquire.search import Candidate, Query, Search, candidate_of
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.product import EXTRAS
from terrazzo.scene import list_scenes, read_item
from terrazzo.store import Store
from tests.chain import FOUR, precompute, stored
from tests.world import archive as world
from tests.world.archive import Archive
from tests.world.esa import ONE, product_in_jp2
from tests.world.faults import proxy, share
from tests.world.ranges import Ranges, range_server

FIELD, NEXT = (15.95, 45.75, 16.05, 45.85), (16.1, 45.7, 16.15, 45.75)
Terrazzo = Callable[..., CompletedProcess[str]]
Esa = tuple[Ranges, dict[str, Any]]


@pytest.fixture(scope="module", params=[True, False], ids=["listed", "walked"])
def esa(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Esa]:
    """A server of one product in JP2, and its Item."""
    with range_server({}) as server:
        folder = tmp_path_factory.mktemp("esa")
        item, files = product_in_jp2(folder, server.address, index=request.param)
        server.files |= files
        yield server, item


def ordered(esa: Esa, products: Path, box: tuple[float, ...], *, whole: bool = False) -> tuple[Plan, Fetched]:
    """What is planned and fetched of a product over a box in degrees."""
    server, item = esa
    query = Query(shapely.box(*box), whole=whole)
    candidate = candidate_of(item, find_archive(server.address), query, FOUR, EXTRAS)
    assert isinstance(candidate, Candidate)
    product_folder, openers = ProductFolder(products), Openers()
    planned = plan(Search(((candidate,),), (), ()), product_folder, openers, 4)
    server.given.clear()
    return planned, fetch(
        planned,
        product_folder,
        openers,
        connections=4,
        report=lambda size: None,
        finished=lambda candidate, reason: None,
    )


def same_as_the_whole(esa: Esa, products: Path, tmp_path: Path) -> list[float]:
    """Asserts that the only product's rasters are a part of the archive's; that part in metres."""
    (product,) = find_products(products).products
    item = json.loads(Path(product.item).read_text())
    part: list[float] = item["properties"]["terrazzo:part"]
    images = [Path(p) for p in product.assets.values() if not p.endswith(".xml")]
    assert len(images) == 7
    for path in images:
        (tmp_path / "whole.jp2").write_bytes(esa[0].files[path.name.removesuffix(".tif")])
        with rasterio.open(path) as mine, rasterio.open(tmp_path / "whole.jp2") as whole:
            window = from_bounds(*mine.bounds, whole.transform).round_offsets().round_lengths()
            assert mine.driver == "GTiff"
            assert np.array_equal(mine.read(1), whole.read(1, window=window))
            there = shapely.intersection(shapely.box(*part), shapely.box(*whole.bounds))
            assert shapely.box(*mine.bounds).buffer(0.01).covers(there)
            assert mine.width * mine.height < 0.3 * whole.width * whole.height
            assert mine.crs == whole.crs
    assert all("file:size" not in a for a in item["assets"].values() if a["href"].endswith(".tif"))
    return part


def test_a_part_comes_and_grows_when_more_is_asked(esa: Esa, tmp_path: Path) -> None:
    products = tmp_path / "products"
    planned, done = ordered(esa, products, FIELD)
    assert not done.notes
    fetched = esa[0].bytes
    whole = sum(map(len, esa[0].files.values()))
    assert fetched < 0.55 * whole
    assert 0 < planned.size < 0.6 * whole
    part = same_as_the_whole(esa, products, tmp_path)
    again, _ = ordered(esa, products, FIELD)
    assert (again.here, again.wanted, esa[0].given) == (1, (), [])
    ordered(esa, products, NEXT)
    wide = same_as_the_whole(esa, products, tmp_path)
    assert part != wide
    assert shapely.box(*wide).covers(shapely.box(*part))
    ordered(esa, products, FIELD, whole=True)
    (product,) = find_products(products).products
    for path in map(Path, product.assets.values()):
        assert path.read_bytes() == esa[0].files[path.name]


def test_a_plan_tells_the_bytes_that_come_where_headers_list_them(
    esa: Esa, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server, item = esa
    query = Query(shapely.box(*FIELD))
    candidate = candidate_of(item, find_archive(server.address), query, FOUR, EXTRAS)
    assert isinstance(candidate, Candidate)
    rough = plan(Search(((candidate,),), (), ()), ProductFolder(tmp_path), Openers(), 4)
    server.given.clear()
    exact = with_headers(rough, Openers(), 4)
    assert max(Counter(name for name, _, _ in server.given).values()) == 1
    assert server.bytes <= FIRST_READ * len(server.given)
    _, fetched = ordered(esa, tmp_path, FIELD)
    assert fetched.done
    if request.node.callspec.params["esa"]:
        assert (exact.size, exact.estimated, exact.notes) == (server.bytes, 0, ())
    else:
        # What has no list of its tiles stays an estimate, and the plan says so.
        assert 0 < exact.estimated < exact.size
        assert "do not list the lengths" in exact.notes[0]


def test_a_plan_estimates_where_headers_do_not_come(esa: Esa, tmp_path: Path) -> None:
    server, item = esa
    candidate = candidate_of(item, find_archive(server.address), Query(shapely.box(*FIELD)), FOUR, EXTRAS)
    assert isinstance(candidate, Candidate)
    rough = plan(Search(((candidate,),), (), ()), ProductFolder(tmp_path), Openers(), 4)
    kept = server.files.copy()
    server.files.clear()
    try:
        exact = with_headers(rough, Openers(), 4)
    finally:
        server.files |= kept
    assert (exact.size, exact.estimated) == (rough.size, rough.estimated)
    assert "missing" in exact.notes[0]


def test_a_file_that_is_here_is_not_fetched_again(esa: Esa, tmp_path: Path) -> None:
    products, server, name = tmp_path / "products", esa[0], "T33TWL_20230813T095559_B08_10m.jp2"
    kept = server.files.pop(name)
    try:
        assert ordered(esa, products, FIELD)[1].bad
    finally:
        server.files[name] = kept
    assert not ordered(esa, products, FIELD)[1].bad
    asked = {name for name, _, _ in server.given}
    assert name in asked
    assert len(asked) < len(server.files)
    same_as_the_whole(esa, products, tmp_path)


def test_the_scene_of_a_part_has_the_pixels_of_the_whole_products_scene(esa: Esa, tmp_path: Path) -> None:
    scenes = []
    for name, whole in (("part", False), ("whole", True)):
        ordered(esa, tmp_path / name, FIELD, whole=whole)
        _, text = precompute(tmp_path / name, tmp_path / f"{name}-store", pixel=120.0)
        assert "left out" not in text, text
        store = Store(tmp_path / f"{name}-store")
        scenes.append((store, next(iter(list_scenes(store)))))
    (store, mine), (other, theirs) = scenes
    assert (
        read_item(store, mine)["properties"]["terrazzo:offset"]
        == (read_item(other, theirs)["properties"]["terrazzo:offset"])
    )
    for band in FOUR:
        values = stored(store, mine, band)
        # A part of 120 m pixels begins within a pixel of the mask, whose detector is that of the other half.
        valid = ndimage.binary_erosion(values != NODATA, np.ones((3, 3)))
        assert valid.mean() > 0.5
        assert np.array_equal(values[valid], stored(other, theirs, band, mine.box)[valid])


@pytest.mark.clients
def test_parts_come_from_s3_though_a_fifth_of_the_requests_fail(
    archive: Archive, terrazzo: Terrazzo, esa: Esa, tmp_path: Path
) -> None:
    item, files = product_in_jp2(tmp_path, f"s3://{world.BUCKET}/esa")
    for name, content in files.items():
        obstore.put(world.bucket(archive.s3), f"esa/{name}", content)
    with world.stac_server(tmp_path, [item]) as stac, proxy(archive.s3, share(0.2, seed=3)) as s3:
        command = ("acquire", "--store", tmp_path / "s", "--archive", stac, "--datetime", "2023-08-13")
        command += ("--bands", ",".join(FOUR), "--bbox", *FIELD)
        dry = terrazzo(*command, "--dry-run", s3=s3.address)
        assert dry.returncode == 0, dry.stderr
        done = terrazzo(*command, s3=s3.address)
    assert done.returncode == 0, done.stderr
    assert "comes whole" not in done.stderr
    same_as_the_whole((Ranges("", files), item), tmp_path / "s-products", tmp_path)
    (size,) = (int(line.split()[-1]) for line in dry.stdout.splitlines() if line.startswith(ONE))
    assert 0 < size < 0.6 * sum(map(len, files.values()))
