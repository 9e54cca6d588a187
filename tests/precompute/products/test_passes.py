"""One pass over one tile: parts of its ground are all used, of a ground that was made again the newest."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from terrazzo.precompute import sample
from terrazzo.precompute.acquire.archives import ARCHIVES
from terrazzo.precompute.acquire.search import Candidate, _grounds, _ranked
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.passes import newest_processing, other_ground
from terrazzo.precompute.products.product import Product
from tests.chain import precompute

NAME = "S2A_33TWL_20230815_0_L2A"
ITEM = json.loads((Path(sample.path()) / f"{NAME}.json").read_text())


def part(
    folder: Path, number: int, rows: tuple[float, float], *, hour: int = 14, baseline: str = "05.09"
) -> str:
    """Writes a copy of a sample product that holds a share of its rows, made at some hour."""
    name = NAME.replace("_0_L2A", f"_{number}_L2A")
    shutil.copytree(Path(sample.path()) / NAME, folder / name)
    item = json.loads(json.dumps(ITEM).replace(f"./{NAME}/", f"./{name}/"))
    item["id"] = name
    uri = (
        item["properties"]["s2:product_uri"]
        .removesuffix(".SAFE")[:-15]
        .replace("N0509", f"N{baseline.replace('.', '')}")
    )
    item["properties"] |= {
        "s2:product_uri": f"{uri}20230815T{hour}0512.SAFE",
        "s2:generation_time": f"2023-08-15T{hour}:05:12Z",
        "s2:processing_baseline": baseline,
    }
    for path in (folder / name).glob("*.tif"):
        with rasterio.open(path) as dataset:
            values, profile = dataset.read(), dataset.profile
        height = values.shape[1]
        inside = (np.arange(height) >= rows[0] * height) & (np.arange(height) < rows[1] * height)
        with rasterio.open(path, "w", **{**profile, "driver": "GTiff"}) as dataset:
            dataset.write(np.where(inside[None, :, None], values, 0).astype(values.dtype))
    (folder / f"{name}.json").write_text(json.dumps(item))
    return name


def chosen(folder: Path, *, user_made: bool = False) -> tuple[list[str], dict[str, str]]:
    kept, out = newest_processing(find_products(folder).products, user_made)
    assert not any(o.bad for o in out)
    return [p.id for p in kept], {o.name: o.reason for o in out}


@pytest.mark.parametrize("hours", [(14, 16), (16, 14)])
@pytest.mark.parametrize("border", [((0, 0.55), (0.5, 1)), ((0, 0.8), (0.75, 1)), ((0, 0.3), (0.4, 1))])
def test_parts_of_a_pass_are_all_used(tmp_path, hours, border):
    names = [part(tmp_path, k, border[k], hour=hours[k]) for k in (0, 1)]
    assert chosen(tmp_path) == (names, {})


@pytest.mark.parametrize(("older", "newer"), [("02.08", "05.00"), ("05.09", "05.10"), ("05.09", "05.09")])
def test_the_same_ground_made_again_replaces_the_older(tmp_path, older, newer):
    old = part(tmp_path, 0, (0, 1), hour=12, baseline=older)
    new = part(tmp_path, 1, (0, 1), hour=13, baseline=newer)
    kept, out = chosen(tmp_path)
    assert kept == [new]
    assert "older processing" in out[old]


def test_parts_made_again_replace_the_whole_and_one_part_does_not(tmp_path):
    whole = part(tmp_path, 0, (0, 1), baseline="04.00")
    first = part(tmp_path, 1, (0, 0.5), hour=15)
    assert chosen(tmp_path)[0] == [whole, first]
    second = part(tmp_path, 2, (0.5, 1), hour=16)
    kept, out = chosen(tmp_path)
    assert (kept, set(out)) == ([first, second], {whole})


def test_what_a_user_made_does_not_replace_esas_unless_asked(tmp_path):
    official = part(tmp_path, 0, (0, 1))
    own = part(tmp_path, 1, (0, 1), hour=20, baseline="99.99")
    kept, out = chosen(tmp_path)
    assert kept == [official]
    assert "--user-made" in out[own]
    assert chosen(tmp_path, user_made=True)[0] == [own]


@pytest.mark.slow
def test_a_pass_in_two_products_is_published_whole_and_later_runs_keep_both(tmp_path):
    products = tmp_path / "products"
    names = [part(products, 0, (0, 0.55)), part(products, 1, (0.5, 1), hour=16)]
    given = {"pixel": 60.0, "window": 64}
    done, _store = precompute(products, tmp_path / "store", **given)
    assert [s.id for s in done.scenes] == names
    assert not done.left_out
    assert len({s.datatake for s in done.scenes}) == 1
    # The first is taken away from the folder, as a watched one would be: its scene stays in the mosaic.
    (products / f"{names[0]}.json").unlink()
    again, _ = precompute(products, tmp_path / "store", **given)
    assert [s.id for s in again.scenes] == names
    assert again.version is not None
    assert done.version is not None
    assert again.version.name == done.version.name


def product(strip: str, baseline: str = "0509", outline: dict | None = None, name: str = "x") -> Product:
    when = datetime(2023, 8, 15, 10, tzinfo=UTC)
    return Product(
        f"{name}{strip}{baseline}", "L2A", "S2A", "33TWL", 32633, when, "d", baseline, 79, when, {}, "i", {}, "", None,
        outline=outline, strip=strip,
    )  # fmt: skip


def square(south: float, north: float) -> dict:
    ring = [[15, south], [16, south], [16, north], [15, north], [15, south]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        (product("T14"), product("T16"), True),
        (product("T14"), product("T14"), False),
        (product("T14"), product(""), False),
        (product("T14", "0400"), product("T16", "0509"), False),
        (product("T14", "0400", square(45, 45.5)), product("T16", "0509", square(45.5, 46)), True),
        (product("T14", "0400", square(45, 46)), product("T16", "0509", square(45.5, 46)), False),
        (product("T14", "0400", {"type": "Polygon", "coordinates": [[None]]}), product("T16"), False),
    ],
)
def test_metadata_distinguish_parts_by_their_processing_time_and_processings_by_their_outlines(a, b, parts):
    assert other_ground(a, b) is other_ground(b, a) is parts


def test_parts_are_wanted_both_and_copies_and_older_processings_stand_behind_their_own():
    archives = list(ARCHIVES.values())[:2]
    products = [product("T14"), product("T16"), product("T14", name="copy"), product("T09", "0400")]
    members = [(k, Candidate(p, {}, archives[k], ())) for p, k in zip(products, (0, 0, 1, 0), strict=True)]
    groups = _grounds(_ranked(members))
    assert sorted(g[0].product.strip for g in groups) == ["T14", "T16"]
    assert {c.id for g in groups for c in g} == {p.id for p in products}
    (of_14,) = (g for g in groups if g[0].product.strip == "T14")
    assert "copyT140509" in [c.id for c in of_14]
