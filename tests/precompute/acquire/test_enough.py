"""Products are fetched by what they add of clear observations, and no more than it takes."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import rasterio
import shapely

from precompute import sample
from precompute.acquire.enough import choose, expected, measured, places
from terrazzo.bands import CLEAR
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
def test_a_scene_s_own_mask_tells_where_it_was_clear(sample_store: Path) -> None:
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


@pytest.mark.clients
def test_a_run_stops_when_every_place_has_enough_and_tells_what_that_saves(
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
