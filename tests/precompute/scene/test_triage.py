"""Products that are cloud all over are sorted out by a look at an eighth of their resolution; others never."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from terrazzo.cli import cli
from terrazzo.config import MosaicConfig, Period
from terrazzo.grid import Bounds
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.scene import triage as triages
from terrazzo.precompute.scene.looks import Looks
from terrazzo.precompute.scene.make import ingest, known_scene
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.scene.triage import cloud_share, triage
from terrazzo.precompute.work.executor import Shard
from terrazzo.scene import list_scenes
from terrazzo.store import Store, StoreConfig, create_store
from tests.world.land import Land, landscape
from tests.world.products import Pass, footprint, write_product
from tests.world.sky import Seen, Sky, observe
from tests.world.worlds import FIRST, FOUR, NORTH, place_of

SIDE = 480
STORE = StoreConfig(10.0, 20.0, 64, FOUR)


def overcast(seen: Seen) -> Seen:
    """The same under a closed cover of cloud."""
    rng = np.random.default_rng(3)
    rho = 0.6 + 0.02 * rng.standard_normal(seen.rho.shape).astype(np.float32)
    all_over = np.ones_like(seen.cloud)
    return replace(seen, rho=rho, cloud=all_over, shadow=~all_over, missed=~all_over)


def half(seen: Seen, covered: Seen) -> Seen:
    """The east of a pass from under a closed cover."""
    east = np.arange(SIDE) >= SIDE // 2
    arrays = {
        k: np.where(east, getattr(covered, k), getattr(seen, k)) for k in ("rho", "cloud", "shadow", "missed")
    }
    return replace(seen, **arrays)


@pytest.fixture(scope="module")
def land() -> Land:
    return landscape(place_of(*NORTH, SIDE, SIDE, 10.0, 64), FOUR, 5)


@pytest.fixture(scope="module")
def series(land: Land, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Product]:
    """Products of one place: clear, hazy, broken cloud, its east covered, and twice covered all over."""
    folder = tmp_path_factory.mktemp("series")
    clear = observe(land, Sky())
    covered = overcast(clear)
    skies = {
        "clear": clear,
        "hazy": observe(land, Sky(haze=0.05, seed=1)),
        "broken": observe(land, Sky(cloud=0.6, missed=0.1, seed=2)),
        "east": half(clear, covered),
        "covered": covered,
        "covered too": covered,
    }
    ids = {}
    for number, (name, seen) in enumerate(skies.items()):
        ids[write_product(folder, seen, Pass(FIRST + timedelta(days=5 * number))).stem] = name
    return {ids[p.id]: p for p in find_products(folder).products}


def share(product: Product, tmp_path: Path, area: Bounds | None = None) -> float | None:
    return cloud_share(product, Recipe(), Store(tmp_path, STORE), area)


def sorted_out(
    products: list[Product],
    tmp_path: Path,
    config: MosaicConfig,
    ready: tuple[Product, ...] = (),
    most: float = 99.9,
) -> set[str]:
    tasks = [(p, Recipe()) for p in products]
    done = triage(tasks, Looks(Store(tmp_path, STORE), config, tasks), ready, most)
    assert {t[0].id for t in done.kept} | {o.name for o in done.clouded} == {p.id for p in products}
    return {o.name for o in done.clouded}


def test_a_coarse_look_reports_how_much_is_cloud(series: dict[str, Product], tmp_path: Path) -> None:
    shares = {name: share(p, tmp_path) for name, p in series.items()}
    assert shares["clear"] is not None
    assert shares["clear"] < 0.02
    assert shares["hazy"] is not None
    assert shares["hazy"] < 0.9
    assert shares["east"] == pytest.approx(0.5, abs=0.05)
    assert shares["covered"] == shares["covered too"] == 1.0


def test_only_what_is_cloud_all_over_is_sorted_out(series: dict[str, Product], tmp_path: Path) -> None:
    out = sorted_out(list(series.values()), tmp_path, MosaicConfig("mosaic"))
    assert out == {series["covered"].id, series["covered too"].id}


def test_the_mosaics_area_alone_counts(series: dict[str, Product], land: Land, tmp_path: Path) -> None:
    west, south, east, north = footprint(land.place).bounds
    third = (east - west) / 2.2
    sunny, covered = Bounds(west, south, west + third, north), Bounds(east - third, south, east, north)
    product = series["east"]
    assert (share(product, tmp_path, sunny) or 0) < 0.1
    assert share(product, tmp_path, covered) == 1.0
    some = [series["clear"], product]
    assert sorted_out(some, tmp_path, MosaicConfig("mosaic", bounds=sunny)) == set()
    assert sorted_out(some, tmp_path, MosaicConfig("mosaic", bounds=covered)) == {product.id}


def test_the_best_of_a_place_and_period_stays_however_cloudy(
    series: dict[str, Product], tmp_path: Path
) -> None:
    clear, *covered = (series[n] for n in ("clear", "covered", "covered too"))
    plain = MosaicConfig("mosaic")
    assert len(sorted_out(covered, tmp_path, plain)) == 1
    assert len(sorted_out(covered, tmp_path, plain, ready=(clear,))) == 2
    days = sorted(p.datetime.date() for p in covered)
    apart = tuple(Period(f"day-{d:%d}", d, d) for d in days)
    assert sorted_out(covered, tmp_path, replace(plain, periods=apart), ready=(clear,)) == set()


def test_all_are_used_where_the_limit_says_so(series: dict[str, Product], tmp_path: Path) -> None:
    assert sorted_out(list(series.values()), tmp_path, MosaicConfig("mosaic"), most=100) == set()
    strict = sorted_out(list(series.values()), tmp_path, MosaicConfig("mosaic"), most=30)
    assert series["east"].id in strict
    assert series["clear"].id not in strict


def test_a_product_that_a_look_cannot_judge_is_kept(series: dict[str, Product], tmp_path: Path) -> None:
    product = series["covered"]
    unsettled = replace(product, claims={}, baseline="")
    assert share(unsettled, tmp_path) is None
    blind = replace(product, assets={k: v for k, v in product.assets.items() if k != "B08"})
    assert share(blind, tmp_path) is None
    lost = replace(product, assets={**product.assets, "B03": str(tmp_path / "gone.tif")})
    assert share(lost, tmp_path) is None


@pytest.mark.parametrize("names", [("covered", "covered too"), ("covered", "clear", "covered too", "east")])
@pytest.mark.parametrize("one_after_the_other", [False, True])
def test_the_same_are_skipped_however_many_machines_share_them(
    series: dict[str, Product], tmp_path: Path, names: tuple[str, ...], one_after_the_other: bool
) -> None:
    tasks = [(p, Recipe()) for p in sorted((series[n] for n in names), key=lambda p: p.id)]

    def skipped(machines: int) -> set[str]:
        store, out = create_store(tmp_path / str(machines), STORE), set()
        for number in range(1, machines + 1):
            mine = Shard(number, machines).part(tasks)
            done = triage(mine, Looks(store, MosaicConfig("mosaic"), tasks), (), 99.9)
            out |= {o.name for o in done.clouded}
            for product, recipe in done.kept if one_after_the_other else ():
                ingest(product, store, recipe)
        return out

    whole = skipped(1)
    assert 0 < len(whole) < len(tasks)
    assert [skipped(n) for n in (2, 3)] == [whole, whole]


def test_a_look_is_taken_once(
    series: dict[str, Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, taken = create_store(tmp_path, STORE), list[str]()

    def look(product: Product, *how: Any) -> float | None:
        taken.append(product.id)
        return cloud_share(product, *how)

    monkeypatch.setattr(triages, "cloud_share", look)

    def run(products: list[Product], config: MosaicConfig) -> set[str]:
        taken.clear()
        tasks = [(p, Recipe()) for p in products]
        looks = Looks(store, config, tasks)
        done = triage(tasks, looks, (), 99.9, {p.id: known_scene(p, store, Recipe()).rev for p in products})
        looks.keep()
        return {o.name for o in done.clouded}

    some, area = [series["clear"], series["covered"]], MosaicConfig("mosaic")
    first = run(some, area)
    assert set(taken) == {p.id for p in some}
    assert run(some, area) == first
    assert taken == []
    # Another claim makes another scene of a product, and a part of the area may be clear.
    another = replace(series["covered"], claims={**series["covered"].claims, "of": "another"})
    run([series["clear"], another], area)
    assert taken == [another.id]
    run(some, replace(area, bounds=Bounds(0.0, 0.0, 1.0, 1.0)))
    assert set(taken) == {p.id for p in some}
    kept = store.read_json("mosaics/mosaic/looks.json")["shares"]
    run([series["hazy"]], area)
    assert set(kept) - set(store.read_json("mosaics/mosaic/looks.json")["shares"]) == set(kept)


def test_a_damaged_memory_of_looks_is_no_memory(series: dict[str, Product], tmp_path: Path) -> None:
    store = create_store(tmp_path, STORE)
    for content in (b"", b"[]", b'{"shares": 3}', b'{"shares": {"a": 3}}'):
        store.write_bytes("mosaics/mosaic/looks.json", content)
        assert Looks(store, MosaicConfig("mosaic"), ()).share("a", "rev") is None


def test_precompute_makes_no_scene_of_cloud_and_counts_it(series: dict[str, Product], tmp_path: Path) -> None:
    folder = Path(series["clear"].item).parent
    arguments = ["precompute", str(folder), "--store", str(tmp_path), "--workers", "1", "--only", "strips"]
    new = ["--window", "64", "--bands", ",".join(FOUR)]
    first = CliRunner().invoke(cli, [*arguments, *new])
    assert first.exit_code == 0, first.output
    assert "4 scenes, 2 products skipped as cloud (--max-cloud 100 takes them)" in first.output
    assert (
        f"skipped {series['covered'].id}: 100.0 % of what it shows of the area is cloud or shadow"
        in first.output
    )
    assert series["covered"].id not in {s.id for s in list_scenes(Store(tmp_path))}
    assert series["covered"].id in Store(tmp_path).read_json("mosaics/mosaic/looks.json")["shares"]
    again = CliRunner().invoke(cli, [*arguments, "--max-cloud", "100"])
    assert "6 scenes\n" in again.output
