"""The one table of archives is what help, documentation and code say; Items as archives really write them end no run.

`python -m tests.precompute.acquire.test_archives` writes the table into docs/reference/archives.md again.
"""

import json
import random
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from terrazzo.bands import DEFAULT_BANDS
from terrazzo.errors import InvalidRequest
from terrazzo.precompute.acquire.archives import ARCHIVES, READABLE, find_archive, find_archives
from terrazzo.precompute.acquire.area import from_box, from_tile
from terrazzo.precompute.acquire.fetch import Openers, Plan, Wanted, accessible
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.product_folder import ProductFolder, local_item
from terrazzo.precompute.acquire.run import needed_files
from terrazzo.precompute.acquire.search import Candidate, Query, candidate_of
from terrazzo.precompute.acquire.until_clear import expected
from terrazzo.precompute.commands.acquire import acquire
from terrazzo.precompute.commands.audit import audit
from terrazzo.precompute.products.product import LeftOut
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import open_version
from tests.chain import FOUR
from tests.data import __file__ as data_file
from tests.world import archive as world
from tests.world.archive import Archive
from tests.world.faults import proxy
from tests.world.mutate import mutated
from tests.world.passes import METADATA, TEMPLATES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "archives.md"
BLOCK = re.compile(r"(?<=<!-- archives -->\n).*?(?=<!-- /archives -->)", re.DOTALL)
CASES = Path(data_file).parent / "cases"
EVERYWHERE = Query(from_box(-180, -80, 180, 84), whole=True)
FILES = needed_files("l2a", DEFAULT_BANDS)
ONE, TWO = "S2B_33TWL_20230813_0_L2A", "S2A_33TWL_20230815_0_L2A"
Terrazzo = Callable[..., subprocess.CompletedProcess[str]]


def table() -> str:
    """The archives as the documentation shows them."""
    rows: dict[str, Callable[[Any], str]] = {
        "who": lambda a: a.who,
        "address": lambda a: f"`{a.url.removeprefix('https://')}`",
        "L2A": lambda a: ", ".join(a.collections.get("l2a", ("none",))),
        "L1C": lambda a: ", ".join(a.collections.get("l1c", ("none",))),
        "files": lambda a: a.files,
        "names of bands": lambda a: a.assets,
        "numbers": lambda a: a.offset,
        "size and checksum in Items": lambda a: a.sizes,
        "files for the mask, beside classes and metadata": lambda a: a.extras,
        "credentials": lambda a: a.credentials,
    }
    lines = ["| | " + " | ".join(f"`{name}`" for name in ARCHIVES) + " |", "|---" * (len(ARCHIVES) + 1) + "|"]
    lines += [
        f"| {row} | " + " | ".join(cell(a) for a in ARCHIVES.values()) + " |" for row, cell in rows.items()
    ]
    return "\n".join(lines) + "\n"


def test_the_documentation_shows_the_table_of_archives() -> None:
    shown = BLOCK.search(PAGE.read_text())
    assert shown
    assert shown[0] == table(), "python -m tests.precompute.acquire.test_archives writes it again"


def test_help_names_the_archives_that_can_be_read_and_audit_all() -> None:
    fetch, compare = (" ".join(CliRunner().invoke(c, ["--help"]).output.split()) for c in (acquire, audit))
    assert READABLE in fetch
    assert all(name in compare for name in ARCHIVES)


def test_all_that_holds_old_baselines_at_earth_search_is_asked() -> None:
    asked = ARCHIVES["earth-search"].collections["l2a"]
    assert set(asked) == {"sentinel-2-c1-l2a", "sentinel-2-pre-c1-l2a", "sentinel-2-l2a"}
    assert asked[0] == "sentinel-2-c1-l2a", "of equal baselines the preferred one is taken"


def test_an_archive_of_zarr_is_refused_with_what_to_fetch_instead() -> None:
    with pytest.raises(InvalidRequest, match=r"Zarr.*fetch the same passes from earth-search"):
        find_archives("cdse,eopf")
    with pytest.raises(InvalidRequest, match=r"earth-search, .*eopf, or the address"):
        find_archives("nowhere")


def test_the_address_of_an_api_is_its_name_without_what_is_secret() -> None:
    found = find_archive("https://user:word@stac.example.org/api/?key=1")
    assert found.name == "https://stac.example.org/api"
    assert found.url.endswith("?key=1")


def real(name: str) -> dict[str, Any]:
    return json.loads((METADATA / TEMPLATES[name]).read_text())


@pytest.mark.parametrize("name", [n for n, a in ARCHIVES.items() if a.readable])
def test_the_real_item_of_each_archive_becomes_a_candidate_whose_files_it_can_open(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"):
        monkeypatch.setenv(variable, "x")
    found = candidate_of(real(name), ARCHIVES[name], EVERYWHERE, *FILES)
    assert isinstance(found, Candidate)
    assert set(DEFAULT_BANDS) <= {f.role for f in found.files}
    for file in found.files:
        _, key = Opener(ARCHIVES[name]).open(file.href)
        assert file.href.split("?")[0].endswith(key)


def test_a_product_that_wants_keys_keeps_no_other_of_its_archive_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    # Some Items of Earth Search have no COG, but JP2 in a bucket that bills its readers (earth-search#79).
    items = [real("earth-search"), real("earth-search")]
    for asset in items[0]["assets"].values():
        asset["href"] = f"s3://sentinel-s2-l2a/tiles/13/T/DE/{asset['href'].rpartition('/')[2]}"
    found = [candidate_of(item, ARCHIVES["earth-search"], EVERYWHERE, *FILES) for item in items]
    jp2, cog = (Wanted((c,), 0) for c in found if isinstance(c, Candidate))
    kept = accessible(Plan((jp2, cog), 0, (), ()), Openers())
    assert kept.wanted == (cog,)
    assert len(kept.notes) == 1
    assert "AWS_ACCESS_KEY_ID" in kept.notes[0]


@pytest.mark.parametrize("path", [METADATA / TEMPLATES["eopf"], CASES / "item_eopf_stac_2025.json"])
def test_an_item_of_zarr_says_so_and_what_to_fetch(path: Path) -> None:
    found = candidate_of(json.loads(path.read_text()), find_archive("https://stac"), EVERYWHERE, *FILES)
    assert isinstance(found, LeftOut)
    assert "Zarr is not read" in found.reason
    assert "--archive cdse" in found.reason


@pytest.mark.parametrize("tile", ["9TWL", "09TWL", "T09twl"])
def test_a_tile_of_zone_nine_is_found_however_it_is_written(tile: str) -> None:
    from terrazzo.precompute.acquire.area import tile_name

    name = tile_name(tile)
    query = Query(from_tile(name), tile=name, whole=True)
    item = json.loads((CASES / "item_zone9.json").read_text())
    item["links"] = [{"rel": "self", "href": "https://stac/items/one"}]
    needed = (("B02", "B03", "B04", "B08"), ())
    found = candidate_of(item, ARCHIVES["earth-search"], query, *needed)
    named = {**item, "properties": {**item["properties"], "grid:code": "MGRS-09TWL"}}
    other = candidate_of(named, ARCHIVES["cdse"], query, *needed)
    # No name, no code: the fields of the MGRS extension are left.
    bare = {k: v for k, v in item["properties"].items() if k not in ("grid:code", "s2:product_uri")}
    bare |= {"s2:datatake_id": "GS2B_20230813T193909_033610_N05.09", "sat:relative_orbit": 42}
    third = candidate_of({**item, "id": "one_L2A", "properties": bare}, ARCHIVES["cdse"], query, *needed)
    keys = [c.key for c in (found, other, third) if isinstance(c, Candidate)]
    assert keys == [("S2B_20230813T193909_R042", "09TWL")] * 3


@pytest.mark.slow
def test_no_value_in_an_item_ends_a_search(tmp_path: Path) -> None:
    chance, places = random.Random(3), np.array([[16.0, 45.8], [-117.5, 52.0]])
    kept = 0
    for name in TEMPLATES:
        whole = real(name)
        for _ in range(400):
            item, done = mutated(whole, chance, chance.randint(1, 3))
            query = replace(EVERYWHERE, max_cloud=chance.choice((None, 50.0)), whole=chance.random() < 0.5)
            found = candidate_of(item, ARCHIVES[name], query, *FILES)
            if isinstance(found, Candidate):
                kept += 1
                assert len(found.fingerprint) == 12, done
                assert expected(found.item, places).shape == (2,), done
                json.dumps(local_item(found, tmp_path))
            else:
                assert found is None or found.reason, done
    assert kept > 500


POOR = ("geometry", "bbox", "eo:cloud_cover")


def poor(body: bytes) -> bytes:
    """An archive's answer whose Items have no geometry, box or cloud cover, and an asset that is null."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    for item in document.get("features", []) if document.get("type") == "FeatureCollection" else []:
        item["geometry"], item["bbox"] = None, None
        item["properties"]["eo:cloud_cover"] = None
        item["assets"]["aot"] = None
        item["assets"]["coastal"] = {"href": None}
        item["links"] = None
    return json.dumps(document).encode()


@pytest.fixture
def bare_store(tmp_path: Path) -> Path:
    create_store(tmp_path / "store", StoreConfig(120.0, 120.0, 64, FOUR))
    return tmp_path / "store"


@pytest.mark.clients
@pytest.mark.slow
def test_items_without_geometry_or_cloud_cover_end_no_command(
    archive: Archive, terrazzo: Terrazzo, bare_store: Path, tmp_path: Path
) -> None:
    config = tmp_path / "croatia.toml"
    config.write_text("bounds = [15.7, 45.7, 16.0, 45.9]\n")
    field = ("--bbox", 15.95, 45.75, 16.05, 45.85, "--datetime", "2023-08-13", "--max-cloud", 80)
    with proxy(archive.stac, rewrite=poor) as stac:
        where = ("--archive", stac.address)
        to = ("--store", bare_store, "--workers", 1, *field, *where)
        bands = ("--bands", "B02,B03,B04,B08")
        dry = terrazzo("acquire", "--store", bare_store, *field, *where, "--dry-run")
        whole = terrazzo(
            "acquire", "--store", tmp_path / "other", "--tile", "33TWL", *bands, *field[5:], *where
        )
        again = terrazzo(
            "acquire", "--store", tmp_path / "other", "--tile", "33TWL", *bands, *field[5:], *where
        )
        plan = terrazzo("plan", config, *where, "--datetime", "2023-08", "--bands", "B02,B03,B04,B08")
        audited = terrazzo("audit", config, *where, "--datetime", "2023-08")
        got = terrazzo("get", *to, "--yes", "-o", tmp_path / "out.tif")
        watched = terrazzo("watch", *to)
    assert dry.returncode == 0, dry.stderr
    assert len(dry.stdout.splitlines()) == 1, "the tile tells where the Item lies"
    assert (whole.returncode, again.returncode) == (0, 3), whole.stderr + again.stderr
    assert plan.returncode == 0, plan.stderr
    assert audited.returncode in (0, 4), audited.stderr
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "out.tif").exists()
    assert watched.returncode == 0, watched.stderr
    assert "1 here already" in watched.stderr


@pytest.mark.clients
@pytest.mark.slow
def test_watch_fetches_from_the_next_archive_what_the_first_lacks(
    terrazzo: Terrazzo, bare_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    newer = world.sample_items([ONE])
    newer[0]["id"] = "S2B_33TWL_20230813_1_L2A"
    uri = newer[0]["properties"]["s2:product_uri"].replace("N0509", "N0510")
    newer[0]["properties"] |= {"s2:processing_baseline": "05.10", "s2:product_uri": uri}
    with (
        world.stac_server(tmp_path / "a", world.sample_items([ONE])) as a,
        world.stac_server(tmp_path / "b", newer + world.sample_items([TWO])) as b,
    ):
        where = ("--tile", "33TWL", "--datetime", "2023-08", "--until-clear", 0, "--workers", 1)
        first = terrazzo("watch", "--store", bare_store, *where, "--archive", a)
        # Without an area of its own the mosaic's tiles are asked for.
        config = bare_store / "mosaics" / "mosaic" / "mosaic.toml"
        config.write_text("")
        days = ("--datetime", "2023-08", "--collection", "sentinel-2-l2a", "--json")
        before = terrazzo("audit", config, "--archive", f"{a},{b}", *days)
        both = terrazzo("watch", "--store", bare_store, *where, "--archive", f"{a},{b}")
        after = terrazzo("audit", config, "--archive", b, *days)
    assert first.returncode == both.returncode == 0, first.stderr + both.stderr
    assert before.returncode == 4, before.stderr
    causes = {f["datetime"][:10]: (f["cause"], f["what"]) for f in json.loads(before.stdout)["findings"]}
    assert causes["2023-08-15"][0] == "in_one_only"
    assert causes["2023-08-13"][0] == "superseded"
    assert "the mosaic shows N0509, N0510 is in" in causes["2023-08-13"][1]
    version = open_version(Store(bare_store), "mosaic")
    assert {e.scene.id for p in version.periods for e in version.entries(p)} == {newer[0]["id"], TWO}
    assert ProductFolder(tmp_path / "store-products").products()
    assert json.loads(after.stdout)["findings"] == []
    assert after.returncode == 0, after.stderr


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: table(), PAGE.read_text()))
