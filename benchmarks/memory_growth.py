"""Whether a server's memory stays where it is: `python -m benchmarks.memory_growth --store FOLDER [--requests 50000] [--users 4]`.

FOLDER is any store. One server process gets mixed requests, of which no two need be the same: tiles of all zooms in several styles,
formats and methods, boxes, points, accounts, statistics, WMTS by pairs, documents, and errors. Prints its resident memory as it goes. The aim is that after the
first fifth it grows by 5 % at most.
"""

import itertools
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import click
import httpx
import morecantile
import numpy as np
import psutil

from benchmarks.footprint import serving
from terrazzo.store import Store
from terrazzo.version import list_mosaics, open_version

WEB = morecantile.tms.get("WebMercatorQuad")
STATISTICS = 20
"""Every so manyth request is one for statistics of a polygon."""
LOOKS = 50
"""Looks at the memory."""
WARM = 0.2
MOST = 0.05
QUERIES = ("", "style=ndvi", "style=scene", "style=quality", "method=median", "method=first&bands=B04", "normalize=off", "expression=B04/B03",
           "rescale=0,0.2", "stage=mask", "max_cloud=80", "fill=none")  # fmt: skip


class Addresses:
    """Mixed addresses of a mosaic."""

    def __init__(self, store: str, seed: int) -> None:
        self.mosaic = list_mosaics(Store(store))[0]
        self._bounds = open_version(Store(store), self.mosaic).bounds
        self._chance = random.Random(seed)

    def next(self) -> str:
        """An address."""
        kinds: list[Callable[[], str]] = [self._tile] * 6
        kinds += [self._box, self._point, self._point, self._account, self._wmts, self._document, self._error]
        return self._chance.choice(kinds)()

    def area(self) -> dict[str, Any]:
        """A small polygon."""
        (x, y), side = self._place(), self._chance.uniform(0.001, 0.02)
        ring = [[x, y], [x + side, y], [x + side, y + side], [x, y]]
        return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    def _place(self) -> tuple[float, float]:
        west, south, east, north = self._bounds
        return self._chance.uniform(west, east), self._chance.uniform(south, north)

    def _query(self) -> str:
        return self._chance.choice(QUERIES)

    def _tile(self) -> str:
        tile = WEB.tile(*self._place(), self._chance.randint(8, 15))
        ending = self._chance.choice(("png", "png", "webp", "jpg", "npy", "tif"))
        return f"/mosaics/{self.mosaic}/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.{ending}?{self._query()}"

    def _box(self) -> str:
        (x, y), side = self._place(), self._chance.uniform(0.001, 0.02)
        size = self._chance.choice((64, 200, 512))
        box = f"{x:.5f},{y:.5f},{x + side:.5f},{y + side:.5f}"
        return f"/mosaics/{self.mosaic}/bbox/{box}/{size}x{size}.png?{self._query()}"

    def _point(self) -> str:
        return "/mosaics/{}/point/{:.5f},{:.5f}".format(self.mosaic, *self._place())

    def _account(self) -> str:
        return "/mosaics/{}/explain/{:.5f},{:.5f}".format(self.mosaic, *self._place())

    def _wmts(self) -> str:
        tile = WEB.tile(*self._place(), self._chance.randint(9, 14))
        where = f"tilematrixset=WebMercatorQuad&tilematrix={tile.z}&tilerow={tile.y}&tilecol={tile.x}"
        asked = self._chance.choice(
            ("GetTile&format=image/png", "GetFeatureInfo&i=9&j=7&infoformat=application/json")
        )
        return f"/mosaics/{self.mosaic}/wmts?service=WMTS&version=1.0.0&layer={self.mosaic}&style=natural&{where}&request={asked}"

    def _document(self) -> str:
        names = ("", "/WebMercatorQuad/tilejson.json", "/wmts", "/scenes", "/seams", "/dates/{},{},{},{}")
        name = self._chance.choice(names).format(*self._bounds)
        return f"/mosaics/{self.mosaic}{name}"

    def _error(self) -> str:
        number = self._chance.randrange(10**9)
        return self._chance.choice(
            (
                f"/mosaics/no{number}/wmts",
                f"/mosaics/{self.mosaic}/point/{number},0",
                f"/mosaics/{self.mosaic}/tiles/WebMercatorQuad/11/0/{number % 2000}.png",
                f"/mosaics/{self.mosaic}/tiles/WebMercatorQuad/11/0/0.png?style=x{number}",
                f"/mosaics/{self.mosaic}/tiles/WebMercatorQuad/11/0/0.png?expression=B{number}",
            )
        )


def memory(process: psutil.Process) -> float:
    """Resident MB of a process and its children."""
    return sum(p.memory_info().rss for p in (process, *process.children(recursive=True))) / 1e6


def sent(
    address: str, addresses: Addresses, count: int, users: int, look: Callable[[], None]
) -> Counter[int]:
    """Sends requests, and looks at the memory now and then; how many answers of each status there were."""
    statuses, lock, numbers = Counter[int](), threading.Lock(), itertools.count()

    def user() -> None:
        with httpx.Client(base_url=address, timeout=120) as client:
            while (number := next(numbers)) < count:
                with lock:
                    path, area = addresses.next(), addresses.area()
                if number % STATISTICS == 0:
                    status = client.post(f"/mosaics/{addresses.mosaic}/statistics", json=area).status_code
                else:
                    status = client.get(path).status_code
                with lock:
                    statuses[status] += 1
                if number % (count // LOOKS) == 0:
                    look()

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


@click.command()
@click.option("--store", required=True)
@click.option("--requests", "count", default=50_000, show_default=True)
@click.option("--users", default=4, show_default=True)
@click.option("--seed", default=0, show_default=True)
def steady(store: str, count: int, users: int, seed: int) -> None:
    """Sends them; ends with an error where memory grows."""
    looks: list[float] = []
    with serving(sys.executable, store, "--workers", "1", "--no-worker") as (pid, address):
        server = psutil.Process(pid)
        statuses = sent(address, Addresses(store, seed), count, users, lambda: looks.append(memory(server)))
    print("resident MB:", *(f"{v:.0f}" for v in looks))
    print("answers:", dict(sorted(statuses.items())))
    warm = looks[round(WARM * len(looks)) :]
    tenth = max(1, len(warm) // 8)
    growth = np.median(warm[-tenth:]) / np.median(warm[:tenth]) - 1
    print(f"{count} requests: {100 * growth:+.1f} % after the first fifth, at most {max(warm):.0f} MB")
    bad = growth > MOST or any(s >= 500 for s in statuses)
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    steady()
