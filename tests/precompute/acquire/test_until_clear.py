"""Products are fetched by what they add of clear observations, and no more than it takes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import rasterio
import shapely

from terrazzo.bands import CLEAR
from terrazzo.precompute import sample
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.fetch import Plan, Wanted
from terrazzo.precompute.acquire.search import Candidate, Query, candidate_of
from terrazzo.precompute.acquire.until_clear import choose, expected, measured, needed, places, thinned
from terrazzo.precompute.products.product import Product
from terrazzo.scene import MASK, list_scenes
from terrazzo.store import Store
from tests.world import archive as world
from tests.world.archive import Archive

Terrazzo = Callable[..., CompletedProcess[str]]


def test_clear_products_come_first_and_cloudy_ones_are_left() -> None:
    chances = np.array([[0.1] * 4, [1.0] * 4, [0.5] * 4, [0.95] * 4])
    assert choose(chances, [1, 1, 1, 1], np.zeros(4), 1) == [1]
    assert choose(chances, [1, 1, 1, 1], np.zeros(4), 2)[:2] == [1, 3]


def test_what_is_there_already_counts() -> None:
    chances = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    assert choose(chances, [1, 1], np.array([2.0, 2.0, 0.0, 0.0]), 2) == [1]
    assert choose(chances, [1, 1], np.full(4, 2.0), 2) == []


def test_of_equal_products_the_one_of_fewer_bytes_is_taken() -> None:
    assert choose(np.ones((2, 3)), [700, 400], np.zeros(3), 1) == [1]


def test_a_product_that_adds_next_to_nothing_is_not_worth_its_bytes() -> None:
    assert choose(np.full((5, 3), 0.02), [1] * 5, np.zeros(3), 1) == []


def test_every_place_has_enough_whenever_the_archive_has_it() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        chances = (rng.random((12, 30)) < 0.5) * 1.0
        chosen = choose(chances, rng.integers(1, 9, 12).tolist(), np.zeros(30), 3)
        assert (chances[chosen].sum(axis=0) >= np.minimum(3, chances.sum(axis=0))).all()


def test_places_lie_in_the_area_and_every_area_has_one() -> None:
    area = shapely.Polygon([(24, 60), (26, 60), (26, 61), (24, 60)])
    found = places(area)
    assert shapely.intersects_xy(area, found[:, 0], found[:, 1]).all()
    square_km = area.area * 111.32**2 * np.cos(np.radians(60.3))
    assert len(found) == pytest.approx(square_km / 5.12**2, rel=0.1)
    assert places(shapely.box(24, 60, 24.001, 60.001)).shape == (1, 2)
    assert places(shapely.MultiPoint([(24, 60), (26, 61)])).shape == (1, 2)


def test_a_product_shows_nothing_where_it_does_not_reach() -> None:
    item = {
        "geometry": shapely.geometry.mapping(shapely.box(15, 45, 16, 46)),
        "properties": {"eo:cloud_cover": 30.0},
    }
    assert expected(item, np.array([[15.5, 45.5], [16.5, 45.5]])).tolist() == pytest.approx([0.7, 0.0])


@pytest.mark.slow
def test_a_scenes_own_mask_decides_where_it_was_clear(sample_store: Path) -> None:
    store = Store(sample_store)
    area = shapely.box(15.85, 45.4, 16.2, 45.9)
    where = places(area)
    found, true = [], []
    for scene in list_scenes(store):
        found.append(measured(store, scene, where))
        with rasterio.open(store.raster_path(scene.key(MASK))) as dataset:
            clear = np.isin(dataset.read(1), [int(c) for c in CLEAR])
            xs, ys = rasterio.warp.transform("EPSG:4326", dataset.crs, *where.T)
            half = 2560 / dataset.res[0]
            corners = [dataset.index(x - 2560, y + 2560) for x, y in zip(xs, ys, strict=True)]
        true.append([whole(clear, row, col, round(2 * half)).mean() for row, col in corners])
    away = np.abs(np.array(found) - np.array(true))
    assert np.std(true) > 0.25
    assert away.mean() < 0.04
    assert away.max() < 0.25


def whole(clear: np.ndarray, row: int, col: int, side: int) -> np.ndarray:
    """A square of a mask, not clear where the mask does not reach."""
    out = np.zeros((side, side), bool)
    inner = clear[max(0, row) : max(0, row + side), max(0, col) : max(0, col + side)]
    out[: inner.shape[0], : inner.shape[1]] = inner
    return out


def wanted(tile: str, day: int, cloud: float, size: int = 700) -> Wanted:
    """A product of one tile and day in August that is to be fetched."""
    item = next(i for i in world.sample_items() if i["properties"]["grid:code"] == f"MGRS-{tile}")
    item["id"] = f"S2A_{tile}_202308{day:02d}_0_L2A"
    item["properties"] |= {
        "datetime": f"2023-08-{day:02d}T10:00:00Z",
        "eo:cloud_cover": cloud,
        "s2:product_uri": f"S2A_MSIL2A_202308{day:02d}T100000_N0509_R122_T{tile}_202308{day:02d}T200000.SAFE",
    }
    query = Query(shapely.box(-180, -90, 180, 90))
    found = candidate_of(item, find_archive("earth-search"), query, ["B02"], [])
    assert isinstance(found, Candidate)
    return Wanted((found,), size)


def days(made: Plan) -> list[int]:
    return sorted(w.candidates[0].product.datetime.day for w in made.wanted)


def plan_of(*products: Wanted) -> Plan:
    return Plan(products, 0, (), ())


AREA = shapely.box(15.3, 45.3, 15.6, 45.6)


def test_a_short_request_is_fetched_whole_however_cloudy() -> None:
    few = plan_of(wanted("33TWL", 3, 100), wanted("33TWL", 8, 96), wanted("33TWL", 13, 5))
    assert days(thinned(few, [], AREA, needed(3, None, "mosaic"))) == [3, 8, 13]
    assert days(thinned(few, [], AREA, needed(1, None, "mosaic"))) == [13]


def test_what_is_left_is_reported_in_bytes() -> None:
    many = plan_of(*(wanted("33TWL", day, 2, 700_000_000) for day in range(3, 13)))
    made = thinned(many, [], AREA, needed(3, None, "mosaic"))
    assert made.size == 4 * 700_000_000
    assert made.notes[0].startswith("6 of 10 products (4.2 GB) are not needed for 3 clear observations")


def test_a_place_cloudier_than_its_metadata_gets_more_at_the_next_run(tmp_path: Path) -> None:
    first = [wanted("33TWL", day, 10) for day in (3, 8)]
    more = [wanted("33TWL", day, 30) for day in (13, 18, 23)]
    here = [shelved(w, tmp_path) for w in first]
    enough = needed(2, None, "mosaic")
    told = thinned(plan_of(*more), here, AREA, enough)
    assert len(told.wanted) == 1
    cloudy = [replace(p, item="nothing is known of it.SAFE") for p in here]
    assert len(thinned(plan_of(*more), cloudy, AREA, enough).wanted) == 3


def shelved(wanted: Wanted, folder: Path) -> Product:
    """The product, with its Item on this machine."""
    candidate = wanted.candidates[0]
    path = folder / f"{candidate.id}.json"
    path.write_text(json.dumps(candidate.item))
    return replace(candidate.product, item=str(path))


def test_who_watches_gets_each_new_product_though_every_place_has_enough(tmp_path: Path) -> None:
    past = [wanted("33TWL", day, 0) for day in (3, 5, 8, 10, 13)]
    follow = needed(1, None, "mosaic", follow=True)
    first = thinned(plan_of(*past), [], AREA, follow)
    assert 13 in days(first)
    assert len(first.wanted) <= 2
    here = [shelved(w, tmp_path) for w in first.wanted]
    later = plan_of(*(w for w in past if w not in first.wanted), wanted("33TWL", 15, 90))
    assert days(thinned(later, here, AREA, follow)) == [15]


@pytest.mark.clients
def test_a_run_stops_when_every_place_has_enough_and_reports_what_that_saves(
    archive: Archive, terrazzo: Terrazzo, tmp_path: Path
) -> None:
    where = ("--bbox", 15.1, 45.2, 16.2, 45.8, "--datetime", "2023-08", "--bands", ",".join(sample.BANDS))
    command = ("acquire", "--store", tmp_path / "s", "--archive", archive.stac, *where, "--dry-run")
    told = {k: terrazzo(*command, "--until-clear", k) for k in (1, 2, 9)}
    chosen = {k: {line.split()[0] for line in done.stdout.splitlines()} for k, done in told.items()}
    clear = {i["id"]: 100 - i["properties"]["eo:cloud_cover"] for i in world.sample_items()}
    assert len(chosen[1]) < len(chosen[2]) < len(chosen[9])
    assert all(clear[i] > 90 for i in chosen[1])
    assert "are not needed for 1 clear observations" in told[1].stderr
