"""Many people look at a map while one version after the other is published."""

import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import morecantile
import pytest

from terrazzo.precompute.versions.exclusions import exclude, include
from terrazzo.precompute.versions.pointer import point_to
from terrazzo.version import open_version
from tests.chain import precompute
from tests.server.test_load import fetched
from tests.server.test_serve import serving
from tests.waiting import until
from tests.world.worlds import TYPICAL, make_world

pytestmark = pytest.mark.slow
CLIENTS, VERSIONS, ZOOMS = 64, 10, (11, 12, 13, 14)


class Seen(NamedTuple):
    """A tile of a view: the version that the map was told, the one that answered, status, and the hash of the picture."""

    told: str
    served: str
    tile: tuple[int, int, int]
    status: int
    picture: str


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """A store with a version for each scene that is left out, all with other pixels."""
    base = tmp_path_factory.mktemp("rolling")
    make_world(base / "p", seed=3, dates=5, size=(96, 96), weather=TYPICAL, neighbour=True)
    first, _ = precompute(base / "p", base / "s", window=32)
    made, store = [first.version], first.version.store
    for scene in sorted(first.scenes, key=lambda s: s.id)[: VERSIONS - 1]:
        exclude(store, "mosaic", scene.id, "test", None)
        made.append(precompute(base / "p", base / "s", window=32, force=True)[0].version)
        include(store, "mosaic", scene.id)
    assert len({v.name for v in made}) == VERSIONS
    return made


def test_no_request_fails_and_no_view_mixes_versions_while_ten_are_published(versions, tmp_path):
    store = versions[0].store
    tms = morecantile.tms.get("WebMercatorQuad")
    tiles = [(t.z, t.x, t.y) for t in tms.tiles(*versions[0].bounds, ZOOMS)]
    point_to(store, versions[0])
    options = ("--workers", "2", "--cache-dir", str(tmp_path / "cache"))
    with serving(store.url, *options, TERRAZZO_FOLLOW="0.2") as (_, address):
        ended, views = threading.Event(), list[list[Seen]]()

        def look():
            """Opens the map again and again: a view is what one TileJSON leads to."""
            while not ended.is_set():
                status, _, body = fetched(address, "/mosaics/mosaic/WebMercatorQuad/tilejson.json")
                assert status == 200, body
                (template,) = json.loads(body)["tiles"]
                told = re.search(r"version=(\w+)", template)[1]
                view = []
                for z, x, y in tiles:
                    path = template.format(z=z, x=x, y=y).removeprefix(address)
                    status, headers, body = fetched(address, path)
                    served = re.search(r"version=(\w+)", headers.get("x-terrazzo-request", "version=none"))[1]
                    view.append(Seen(told, served, (z, x, y), status, hashlib.sha256(body).hexdigest()))
                views.append(view)

        with ThreadPoolExecutor(CLIENTS) as people:
            looking = [people.submit(look) for _ in range(CLIENTS)]
            try:
                for version in versions:
                    point_to(store, version)
                    assert until(lambda v=version: any(view[0].told == v.name for view in views))
            finally:
                ended.set()
            for one in looking:
                one.result()
        seen = [s for view in views for s in view]
        assert {s.status for s in seen} == {200}
        assert all(len({s.served for s in view}) == 1 for view in views)
        assert all(s.served == s.told for s in seen)
        assert {s.served for s in seen} == {v.name for v in versions}
        pictures = {}
        for s in seen:
            assert pictures.setdefault((s.served, s.tile), s.picture) == s.picture
        # Every version shows something of its own, or the hashes would prove nothing.
        whole = {v.name: tuple(pictures[v.name, t] for t in tiles) for v in versions}
        assert len(set(whole.values())) == VERSIONS
    assert open_version(store, "mosaic").name == versions[-1].name
