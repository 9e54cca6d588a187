"""Links that carry a signature are used as they are, and no output or document ever shows the signature."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlparse

import obstore
import pytest
import rasterio

from terrazzo.grid import Bounds
from terrazzo.precompute import sample
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.download import Unreachable, download
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.search import RemoteFile
from terrazzo.precompute.acquire.sizes import measure
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.links import unsigned, without_query, without_secrets
from terrazzo.store import StoreConfig, create_store
from tests.chain import FOUR
from tests.waiting import PATIENCE
from tests.world import archive as world
from tests.world.archive import Archive, free_port
from tests.world.faults import once, proxy

ONE = "S2B_33TWL_20230813_0_L2A"
FIELD = ("--bbox", 15.95, 45.75, 16.05, 45.85)
WHOLE = ("--tile", "33TWL")
SAS = "sv=2023-11-03&se=2026-12-01T00%3A00%3A00Z&sr=c&sp=rl&sig=aB%2Fc%2BdE%3D"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://a.blob.core.windows.net/c/B02.tif?{SAS}", "https://a.blob.core.windows.net/c/B02.tif"),
        ("GET http://h/k.tif?X-Amz-Signature=0f in 2 s", "GET http://h/k.tif in 2 s"),
        ("url: /search?token=abc (Caused by …)", "url: /search (Caused by …)"),
        ('"https://user:secret@host/stac?key=1", next', '"https://host/stac", next'),
        ("what is 33TWL? nothing = 0", "what is 33TWL? nothing = 0"),
    ],
)
def test_texts_for_people_have_no_signatures(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_documents_are_kept_without_the_queries_of_their_addresses() -> None:
    item = {
        "links": [{"rel": "self", "href": f"https://h/items/a?{SAS}"}],
        "assets": {"red": {"href": f"B04.tif?{SAS}", "alternate": {"s3": {"href": f"s3://b/B04.tif?{SAS}"}}}},
        "properties": {"title": f"see https://h/a?{SAS} of 5 May", "gsd": 10, "note": None},
    }
    kept = unsigned(item)
    assert "sig" not in json.dumps(kept)
    assert kept["assets"]["red"] == {"href": "B04.tif", "alternate": {"s3": {"href": "s3://b/B04.tif"}}}
    assert kept["properties"] == {"title": "see https://h/a of 5 May", "gsd": 10, "note": None}
    assert without_query("./S2B_33TWL/B04.tif") == "./S2B_33TWL/B04.tif"


@pytest.fixture
def s3(archive: Archive, tmp_path: Path) -> Iterator[str]:
    """A server that checks signatures, with one product of the sample."""
    files = {key: content for key, content in world.sample_files().items() if key.startswith(ONE)}
    (tmp_path / "s3").mkdir()
    with world.s3_server(tmp_path / "s3", files, "seaweedfs") as address:
        yield address


def presigned(s3: str) -> list[dict[str, Any]]:
    """The product's Item with links that are good for an hour, and for GET alone."""
    items = world.sample_items([ONE])
    for asset in items[0]["assets"].values():
        key = asset["href"].removeprefix(f"s3://{world.BUCKET}/")
        asset["href"] = obstore.sign(world.bucket(s3), "GET", key, timedelta(hours=1))
    return items


def without_keys(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in an environment that has no keys: only the links open the files."""
    environment = {k: v for k, v in Archive("", "").environment().items() if not k.startswith("AWS_")}
    command = [Path(sys.executable).parent / "terrazzo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)


def signatures(items: list[dict[str, Any]]) -> set[str]:
    found = {urlparse(a["href"]).query.rpartition("X-Amz-Signature=")[2] for a in items[0]["assets"].values()}
    assert all(len(s) == 64 for s in found)
    return found


def shown_anywhere(secrets: set[str], texts: list[str], folder: Path) -> set[str]:
    """The secrets that a text or a file below a folder holds."""
    files = [f.read_bytes() for f in folder.rglob("*") if f.is_file()] if folder.exists() else []
    held = b"\n".join([*(t.encode() for t in texts), *files])
    return {s for s in secrets if s.encode() in held}


@pytest.mark.clients
@pytest.mark.parametrize("where", [WHOLE, FIELD])
def test_presigned_links_bring_files_and_parts_and_are_written_nowhere(
    s3: str, tmp_path: Path, where: tuple[object, ...]
) -> None:
    items = presigned(s3)
    # Nobody fetches a preview; its link is kept, not its signature.
    items[0]["assets"]["thumbnail"] = {"href": next(iter(items[0]["assets"].values()))["href"]}
    with world.stac_server(tmp_path, items) as stac:
        command = (
            "acquire",
            "--store",
            tmp_path / "s",
            "--archive",
            stac,
            *where,
            "--datetime",
            "2023-08-13",
        )
        dry = without_keys(*command, "--dry-run")
        done = without_keys(*command, "--bands", ",".join(sample.BANDS))
    assert (dry.returncode, done.returncode) == (0, 0), dry.stderr + done.stderr
    (product,) = find_products(tmp_path / "s-products").products
    assert len(product.assets) == 8
    if where is WHOLE:
        for path in map(Path, product.assets.values()):
            assert path.read_bytes() == (sample.path() / ONE / path.name).read_bytes()
    texts = [dry.stdout, dry.stderr, done.stdout, done.stderr]
    assert not shown_anywhere(signatures(items), texts, tmp_path / "s-products")


@pytest.mark.clients
@pytest.mark.slow
def test_an_area_is_made_into_a_file_through_presigned_links_and_the_store_shows_none(
    s3: str, tmp_path: Path
) -> None:
    create_store(tmp_path / "s", StoreConfig(120.0, 120.0, 64, FOUR))
    items = presigned(s3)
    items[0]["links"] = [{"rel": "self", "href": next(iter(items[0]["assets"].values()))["href"]}]
    with world.stac_server(tmp_path, items) as stac:
        command = ("get", "--store", tmp_path / "s", "--archive", stac, *FIELD, "--datetime", "2023-08-13")
        done = without_keys(*command, "--yes", "--workers", 1, "-o", tmp_path / "out.tif")
    assert done.returncode == 0, done.stderr
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.read(1).any()
    for folder in (tmp_path / "s", tmp_path / "s-products"):
        assert not shown_anywhere(signatures(items), [done.stdout, done.stderr], folder)


@pytest.mark.clients
@pytest.mark.parametrize("broken", ["forged", "dead"])
def test_links_that_open_nothing_are_reported_without_their_signatures(
    s3: str, tmp_path: Path, broken: str
) -> None:
    items, nowhere = presigned(s3), f"http://127.0.0.1:{free_port()}"
    for asset in items[0]["assets"].values():
        if broken == "forged":
            start, name, signature = asset["href"].rpartition("X-Amz-Signature=")
            asset["href"] = f"{start}{name}{signature[::-1]}"
        else:
            asset["href"] = asset["href"].replace(s3, nowhere)
    with world.stac_server(tmp_path, items) as stac:
        command = (
            "acquire",
            "--store",
            tmp_path / "s",
            "--archive",
            stac,
            *WHOLE,
            "--datetime",
            "2023-08-13",
        )
        done = without_keys(*command, "--bands", "B02,B03,B04,B08")
    assert done.returncode == 4, done.stderr
    told = "signature may have run out" if broken == "forged" else "cannot be reached"
    assert told in done.stderr
    assert not shown_anywhere(signatures(items), [done.stdout, done.stderr], tmp_path / "s-products")


@pytest.mark.clients
def test_a_key_in_the_address_of_an_api_goes_with_every_request_and_is_never_shown(
    archive: Archive, tmp_path: Path
) -> None:
    with proxy(archive.stac, once("dropped", "search")) as stac:
        address = f"{stac.address.replace('//', '//user:word@')}/?subscription-key=S3CRET"
        command = ("acquire", "--store", tmp_path / "s", "--archive", address, *WHOLE)
        command += ("--datetime", "2023-08-13", "--bands", "B02,B03,B04,B08")
        line = [Path(sys.executable).parent / "terrazzo", *map(str, command)]
        done = subprocess.run(
            line, capture_output=True, text=True, env=archive.environment(), timeout=PATIENCE
        )
        asked = [seen.path for seen in stac.seen]
    assert done.returncode == 0, done.stderr
    assert asked
    assert all("subscription-key=S3CRET" in path for path in asked)
    assert not shown_anywhere({"S3CRET", "word@"}, [done.stdout, done.stderr], tmp_path / "s-products")


@pytest.mark.clients
def test_a_link_of_a_container_s_token_gives_size_file_and_part(s3: str, tmp_path: Path) -> None:
    href = presigned(s3)[0]["assets"]["red"]["href"]
    opener, whole = Opener(find_archive("http://stac")), (sample.path() / ONE / "B04.tif").read_bytes()
    file = RemoteFile("B04", href, "B04.tif", None, None)
    assert measure(opener, file) == len(whole)
    download(opener, file, tmp_path, lambda size: None, Event())
    assert (tmp_path / "B04.tif").read_bytes() == whole
    with rasterio.open(tmp_path / "B04.tif") as source:
        left, top = source.transform @ (100, 100)
        expected = source.read(1, window=((100, 140), (100, 130)))
        part = Bounds(left, top - 40 * source.res[0], left + 30 * source.res[0], top)
    download(opener, RemoteFile("B04", href, "part.tif", None, None, part=part), tmp_path, print, Event())
    with rasterio.open(tmp_path / "part.tif") as source:
        assert (source.read(1) == expected).all()


def test_a_file_that_breaks_off_is_reported_without_its_signature(tmp_path: Path) -> None:
    file = RemoteFile("B04", f"http://127.0.0.1:{free_port()}/B04.tif?{SAS}", "B04.tif", None, None)
    with pytest.raises(Unreachable) as told:
        download(Opener(find_archive("http://stac")), file, tmp_path, lambda size: None, Event())
    assert "sig=" not in str(told.value)
