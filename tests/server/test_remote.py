"""A store in an object store behind a slow line: how deep its waits are, and who waits for it."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import morecantile
import obstore
import pytest

from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.request import PixelRequest
from terrazzo.store import Store
from terrazzo.version import open_version
from tests.conftest import missing
from tests.server.test_load import count, fetched
from tests.server.test_serve import serving
from tests.waiting import until
from tests.world import archive as world
from tests.world.line import Line

TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/728.png"
OTHER = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1110/729.png?style=ndvi"


@pytest.fixture(scope="module")
def line(sample_store, tmp_path_factory):
    """The sample store in an object store, behind a line that counts and can be held."""
    try:
        world.programs()
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"the servers of .ci/archive.in cannot be installed: {getattr(error, 'stderr', error)}")
    with world.s3_server(tmp_path_factory.mktemp("s3"), {}, "moto") as address:
        objects = world.bucket(address)
        for path in sorted(p for p in sample_store.rglob("*") if p.is_file()):
            key = f"store/{path.relative_to(sample_store)}"
            obstore.put(objects, key, path.read_bytes())
        with Line(address) as line:
            yield line


@pytest.fixture
def environment(line, monkeypatch):
    variables = {**world.KEYS, "AWS_ENDPOINT_URL": line.address, "AWS_ALLOW_HTTP": "true"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@contextmanager
def opened():
    version = open_version(Store(f"s3://{world.BUCKET}/store"), "mosaic")
    blocks = Blocks()
    yield Engine(version, blocks)
    blocks.close()


@pytest.fixture
def target():
    return tile_target(morecantile.tms.get("WebMercatorQuad"), 4454, 2914, 13)


@pytest.mark.parametrize("method", ["first", "feather", "median", "kriging"])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_cold_tile_waits_at_most_four_times_and_equals_the_local_one(
    environment, line, sample_store, target, method, normalize
):
    request = PixelRequest(("B04", "B03", "B02"), method=method, normalize=normalize)
    local = Engine(open_version(Store(sample_store), "mosaic"), Blocks())
    with opened() as engine:
        selection = engine.select(request)
        engine.content_hash(selection, target)
        with line.rounds() as cold:
            image = engine.render(selection, target)
        assert not image.problems
        assert 2 <= len(cold.paths) <= 4
        with line.rounds() as warm:
            engine.render(selection, target)
        assert not warm.paths
    expected = local.render(local.select(request), target)
    assert (image.values == expected.values).all()
    assert (image.provenance == expected.provenance).all()


def test_no_tile_lists_the_bucket(environment, line, target):
    with opened() as engine, line.rounds() as rounds:
        engine.render(engine.select(PixelRequest(("B04",))), target)
    asked = [p for paths in rounds.paths for p in paths]
    assert asked
    assert not [p for p in asked if "list-type" in p or "prefix=" in p]


def test_a_store_that_does_not_answer_stalls_only_what_needs_it(environment, line, tmp_path):
    store = f"s3://{world.BUCKET}/store"
    options = {"TERRAZZO_THREADS": "2", "TERRAZZO_FOLLOW": "0.1", **environment}
    with serving(store, "--cache-dir", str(tmp_path), **options) as (_, address):
        kept = fetched(address, TILE)
        assert kept[0] == 200
        with ThreadPoolExecutor(6) as users, line.held():
            others = [users.submit(fetched, address, f"{OTHER}&max_cloud={60 + i}") for i in range(6)]
            # One of them may be the one that looks for a new version, which the store does not answer either.
            assert until(lambda: count(address, "terrazzo_queue") >= 5)
            for _ in range(20):
                again = fetched(address, TILE)
                assert (again[0], again[1]["x-cache"], again[2]) == (200, "hit", kept[2])
            assert fetched(address, TILE, **{"If-None-Match": kept[1]["etag"]})[0] == 304
            assert fetched(address, "/healthz")[0] == 200
            assert not any(o.done() for o in others)
        assert [o.result()[0] for o in others] == [200] * 6
