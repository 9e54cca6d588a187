"""A place is on the map from overviews of COGs at once, and its precomputed mosaic replaces that at the same address."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from terrazzo.commands.live import pixels_of
from terrazzo.grid import Bounds
from terrazzo.store import Store, StoreConfig, create_store
from terrazzo.version import current_version, open_version
from tests.conftest import missing
from tests.waiting import PATIENCE, until
from tests.world import archive as world
from tests.world.archive import BUCKET, Archive
from tests.world.products import footprint
from tests.world.worlds import FOUR, TYPICAL, World, make_world

pytestmark = [pytest.mark.clients, pytest.mark.slow]
DAYS = "2023-08"
TILEJSON = "mosaics/mosaic/WebMercatorQuad/tilejson.json"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two dates of 5.3 × 5.3 km in COGs of 10 m with overviews."""
    return make_world(
        tmp_path_factory.mktemp("ground"), seed=4, size=(528, 528), dates=2, weather=TYPICAL, neighbour=False
    )


@pytest.fixture(scope="module")
def remote(ground: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Those products in an archive."""
    try:
        world.programs()
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"the servers of .ci/archive.in cannot be installed: {getattr(error, 'stderr', error)}")
    items = [json.loads(p.read_text()) for p in sorted(ground.folder.glob("*.json"))]
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = f"s3://{BUCKET}/{asset['href'].removeprefix('./')}"
    files = {str(f.relative_to(ground.folder)): f.read_bytes() for f in ground.folder.glob("*/*")}
    folder = tmp_path_factory.mktemp("remote")
    with world.s3_server(folder, files) as s3, world.stac_server(folder, items) as stac:
        yield Archive(stac, s3)


@pytest.fixture(scope="module")
def bbox(ground: World) -> Bounds:
    """The middle of the place, in degrees."""
    west, south, east, north = footprint(next(iter(ground.land.values())).place).bounds
    far = (east - west) / 4, (north - south) / 4
    return Bounds(west + far[0], south + far[1], east - far[0], north - far[1])


def program(*arguments: object) -> list[str]:
    return [str(Path(sys.executable).parent / "terrazzo"), *map(str, arguments)]


def box_option(bbox: Bounds) -> str:
    return f"--bbox={' '.join(map(str, bbox))}"


def test_the_overview_of_a_part_is_the_cogs_own_and_lies_where_it_does(
    ground: World, remote: Archive, bbox: Bounds, tmp_path: Path
) -> None:
    command = program(
        "acquire", "--store", tmp_path / "s", box_option(bbox), "--datetime", DAYS, "--bands", ",".join(FOUR)
    )
    command += ["--archive", remote.stac, "--overview", "25"]
    done = subprocess.run(command, env=remote.environment(), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "s-products").glob("files-*/B08.tif"))
    assert len(files) == 2
    for path in files:
        name = path.parent.name.removeprefix("files-")
        with (
            rasterio.open(path) as part,
            rasterio.open(ground.folder / name / "B08.tif", overview_level=0) as overview,
        ):
            assert part.res == (20.0, 20.0)
            assert part.dtypes == overview.dtypes
            col, row = (round(v) for v in ~overview.transform @ (part.transform.c, part.transform.f))
            same = overview.read(1, window=Window(col, row, part.width, part.height))
            assert (part.read(1) == same).all()
            assert same.any()
        with (
            rasterio.open(path.with_name("SCL.tif")) as classes,
            rasterio.open(ground.folder / name / "SCL.tif") as whole,
        ):
            assert classes.res == whole.res
            assert set(np.unique(classes.read(1))) <= set(np.unique(whole.read(1)))


def test_a_look_has_as_few_pixels_whatever_the_area() -> None:
    field, county = Bounds(24.8, 60.1, 24.9, 60.15), Bounds(24.0, 60.0, 26.0, 61.0)
    assert pixels_of(field) == [80, 40]
    assert pixels_of(county) == [640, 160]


def read(address: str) -> tuple[Any, Message] | None:
    """The answer of a server and its headers; None where it has nothing yet."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        if error.code not in (404, 503):
            raise
        return None


def state_of(address: str) -> str | None:
    answer = read(f"{address}/{TILEJSON}")
    return json.loads(answer[0])["terrazzo:state"] if answer else None


def picture(address: str, bbox: Bounds) -> tuple[bytes, Message]:
    answer = read(f"{address}/mosaics/mosaic/bbox/{','.join(map(str, bbox))}/64x64.npy?bands=B04,B08")
    assert answer is not None
    return answer


def test_a_live_picture_comes_first_and_the_published_one_replaces_it(
    remote: Archive, bbox: Bounds, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    create_store(store, StoreConfig(10.0, 20.0, 64, FOUR))
    command = program(
        "live", box_option(bbox), "--datetime", DAYS, "--archive", remote.stac, "--store", store
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", "0", "--workers", "1"],
            env=remote.environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = re.match(r"map: (http://127\.0\.0\.1:\d+)/", process.stdout.readline())
        assert line, (tmp_path / "log").read_text()
        assert until(lambda: state_of(line[1]), process, pause=1) == "live"
        first, headers = picture(line[1], bbox)
        assert headers["X-Terrazzo-State"] == "live"
        assert headers["Cache-Control"] == "public, max-age=2"
        until(lambda: state_of(line[1]) == "published", process, pause=1)
        last, headers = picture(line[1], bbox)
        assert headers["X-Terrazzo-State"] == "published"
        assert "stale-while-revalidate" in headers["Cache-Control"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        # Killed, it would leave its server behind.
        process.terminate()
        process.wait(PATIENCE)
    version = current_version(Store(store), "mosaic")
    assert open_version(Store(store), "mosaic", version).normalized
    assert "goes on" in (tmp_path / "log").read_text()
    again = program("precompute", f"{store}-products", "--store", store, "--workers", "1")
    done = subprocess.run(again, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert current_version(Store(store), "mosaic") == version
    assert_alike(first, last)


def test_get_shows_the_place_until_its_file_is_there(remote: Archive, bbox: Bounds, tmp_path: Path) -> None:
    store, output = tmp_path / "store", tmp_path / "place.tif"
    create_store(store, StoreConfig(10.0, 20.0, 64, FOUR))
    asked = ("--datetime", DAYS, "--archive", remote.stac, "--store", store, "--yes", "--workers", 1)
    command = program("get", "--live", box_option(bbox), *asked, "-o", output)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=remote.environment(), stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        line = re.match(r"map: (http://127\.0\.0\.1:\d+)/", process.stdout.readline())
        assert line, (tmp_path / "log").read_text()
        assert until(lambda: state_of(line[1]), process, pause=0.2) == "live"
        assert not output.exists()
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE)
    with rasterio.open(output) as file:
        assert file.res == (10.0, 10.0)
    # The map ends with the command.
    with pytest.raises(urllib.error.URLError):
        state_of(line[1])


def assert_alike(live: bytes, published: bytes) -> None:
    """The first picture is the last one, seen coarsely."""
    from io import BytesIO

    coarse, fine = (np.load(BytesIO(p)).astype(float) for p in (live, published))
    seen = (coarse[:2] > -32768) & (fine[:2] > -32768)
    assert seen.mean() > 0.9
    ratio = np.median(coarse[:2][seen] / fine[:2][seen])
    assert ratio == pytest.approx(1, abs=0.05)
