"""A mosaic of a server from Python: its scenes, tiles, arrays and exports, over HTTP. Needs `terrazzo[client]`."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import rioxarray
from rasterio.io import MemoryFile
from xarray import DataArray

from terrazzo.crs import DEGREES, in_units
from terrazzo.errors import InvalidRequest, NotFound, Overloaded, TerrazzoError, TooMany
from terrazzo.grid import Bounds
from terrazzo.mosaic.warp import Target, transformer
from terrazzo.request.boxes import box_of, numbers_of_box
from terrazzo.request.kinds import read
from terrazzo.request.parameters import BOXED
from terrazzo.store import beside

__all__ = ["Client"]

TRIES, PAUSE = 8, 2.0
"""How often a question is asked that a busy server puts off, and the seconds between."""
MOST_ZOOM = 20
"""Zoom up to which a notebook's map magnifies the mosaic's last tiles."""
ERRORS: Mapping[int, type[TerrazzoError]] = {
    400: InvalidRequest,
    404: NotFound,
    429: TooMany,
    503: Overloaded,
}
Progress = Callable[[int, str], None]
"""Called with per cent and the job's status: accepted, running, successful."""


class Client:
    """A client of one mosaic on a server.

    Keywords of its methods that are not named are the server's parameters, as `/docs` there lists them: `datetime`,
    `bands`, `style`, `expression`, `method`, `normalize`, `stage`, …; several values as a list.

    Every method raises `InvalidRequest` for parameters that the server does not accept, `NotFound` for what does not
    exist, `TooMany` past a quota, `Overloaded` when the server stays busy, and `TerrazzoError` when it does
    not answer or needs a key.
    """

    def __init__(
        self, url: str, mosaic: str = "mosaic", *, key: str | None = None, timeout: float = 120.0
    ) -> None:
        """Opens a connection to a server.

        Args:
            url: address of the server, such as http://127.0.0.1:8000.
            key: API key, where the server wants one.
            timeout: seconds to wait for an answer.
        """
        self.url, self.mosaic = url.rstrip("/"), mosaic
        headers = {} if key is None else {"X-API-Key": key}
        self._http = httpx.Client(timeout=timeout, headers=headers)
        self._collection: dict[str, Any] = {}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def collection(self) -> dict[str, Any]:
        """Return the mosaic as STAC Collection (extent, periods, styles, versions); fetched once."""
        if not self._collection:
            self._collection = self._get("").json()
        return self._collection

    def collections(self) -> list[dict[str, Any]]:
        """Return all mosaics of the server as STAC Collections."""
        with self._answered():
            answer = _checked(self._http.get(f"{self.url}/mosaics")).json()
        collections: list[dict[str, Any]] = answer["collections"]
        return collections

    def search(self, **selection: object) -> list[dict[str, Any]]:
        """Return the STAC Items of the selected scenes, in the mosaic's order."""
        items: list[dict[str, Any]] = self._get("/scenes", selection).json()["features"]
        return items

    def tile(
        self, z: int, x: int, y: int, *, form: str = "png", tms: str = "WebMercatorQuad", **shown: object
    ) -> bytes:
        """Return a tile: png, jpg, webp, tif or npy."""
        return self._get(f"/tiles/{tms}/{z}/{x}/{y}.{form}", shown).content

    def picture(self, bbox: Sequence[float] | str, max_size: int = 1024, **shown: object) -> bytes:
        """Return a PNG of a box in degrees, W S E N, with at most `max_size` pixels on its longer side."""
        corners = ",".join(map(repr, numbers_of_box(bbox)))
        return self._get(f"/bbox/{corners}.png", {**shown, "max_size": max_size}).content

    def map(self, **shown: object) -> Any:
        """Return the mosaic as an `ipyleaflet.Map` for notebooks. Needs `terrazzo[notebook]`.

        Its only layer is the mosaic, so no other host is contacted; `add` puts more layers on it. The browser fetches the
        tiles from the client's address. A client's key is part of the layer's address: do not share a
        notebook that was saved with its widgets.

        Raises:
            TerrazzoError: ipyleaflet is missing.
        """
        try:
            from ipyleaflet import Map, TileLayer
        except ImportError as error:
            raise TerrazzoError(f"{error.name} is missing: pip install 'terrazzo[notebook]'") from None
        about = self._get("/WebMercatorQuad/tilejson.json", shown).json()
        west, south, east, north = about["bounds"]
        lon, lat, zoom = about["center"]
        layer = TileLayer(
            url=about["tiles"][0],
            name=about["name"],
            attribution=about["attribution"],
            min_zoom=about["minzoom"],
            max_native_zoom=about["maxzoom"],
            max_zoom=MOST_ZOOM,
            # Leaflet takes no box across the antimeridian.
            bounds=[(south, west), (north, east)] if west < east else None,
        )
        return Map(layers=(layer,), center=(lat, lon), zoom=zoom, scroll_wheel_zoom=True)

    def point(self, lon: float, lat: float, **shown: object) -> dict[str, Any]:
        """Return the values at a place, and the scene that they come from."""
        values: dict[str, Any] = self._get(f"/point/{lon!r},{lat!r}", shown).json()
        return values

    def explain(self, lon: float, lat: float, **shown: object) -> dict[str, Any]:
        """Explain a place: every scene there, and for the chosen one each step from the product's number to the served value and back."""
        account: dict[str, Any] = self._get(f"/explain/{lon!r},{lat!r}", {**shown, "f": "json"}).json()
        return account

    def dates(self, bbox: Sequence[float] | str, **shown: object) -> list[dict[str, Any]]:
        """Return the days that show in a box in degrees, W S E N: `date` and `per_cent` of the pixels with data, largest first."""
        answer: dict[str, Any] = self._get(
            f"/dates/{','.join(map(repr, numbers_of_box(bbox)))}", shown
        ).json()
        dates: list[dict[str, Any]] = answer["dates"]
        return dates

    def statistics(self, features: Mapping[str, Any], **shown: object) -> dict[str, Any]:
        """Return a GeoJSON Feature or FeatureCollection of polygons in degrees with `statistics`, shares and age added to the
        properties of each.

        Args:
            shown: the server's parameters, and `p` (percentiles) and `rule` (exact or centre).
        """
        described: dict[str, Any] = self._patient("POST", "/statistics", shown, json=features).json()
        return described

    def array(
        self,
        bbox: Sequence[float] | str,
        *,
        bbox_crs: str = DEGREES,
        crs: str | None = None,
        resolution: float | None = None,
        **shown: object,
    ) -> DataArray:
        """Return a box as an array (band, y, x) with coordinates; float32 reflectance, NaN without data.

        By default its pixels are the mosaic's own, not resampled: all that the box touches, in the nearest UTM zone of the
        mosaic. For boxes above the server's limit use `export`.

        Args:
            bbox: W S E N in units of `bbox_crs`; in degrees W east of E crosses the antimeridian.
            crs: coordinate system of the array.
            resolution: pixel size in units of `crs`; by default the mosaic's own, which is degrees on the equator where
                `crs` has degrees.
        """
        target = self.target(
            numbers_of_box(bbox),
            read(BOXED["bbox_crs"], bbox_crs),
            read(BOXED["crs"], crs) if crs else None,
            resolution,
        )
        with MemoryFile(self.pixels(target, **shown)[0]) as memory, memory.open() as dataset:
            array = rioxarray.open_rasterio(dataset, mask_and_scale=True)
            assert isinstance(array, DataArray)
            names = [d or f"b{i}" for i, d in enumerate(dataset.descriptions, 1)]
            return array.load().assign_coords(band=names)

    def target(
        self, bbox: Bounds | None, bbox_crs: str, crs: str | None = None, resolution: float | None = None
    ) -> Target:
        """Return the pixels that a box touches.

        Args:
            bbox: in units of `bbox_crs`; None: all of the mosaic, in degrees.
            bbox_crs, crs: canonical; the mosaic's UTM zone nearest to the box by default.
            resolution: pixel size in units of `crs`.

        Raises:
            InvalidRequest: `crs` cannot represent the box, or the resolution is not above 0.
        """
        coverage = Bounds(*self.collection()["extent"]["spatial"]["bbox"][0])
        box = box_of(bbox or coverage, bbox_crs, coverage)
        crs = crs or self._zone(box, bbox_crs)
        if bbox_crs != crs:
            box = Bounds(*transformer(bbox_crs, crs).transform_bounds(*box, densify_pts=21))
        own = float(self.collection()["summaries"]["gsd"][0])
        size = in_units(crs, own) if resolution is None else resolution
        if not size > 0 or not all(np.isfinite(box)):
            raise InvalidRequest(f"the box cannot be transformed to {crs}, or the resolution is not above 0")
        near = 1e-6
        left, bottom = (math.floor(v / size + near) for v in box[:2])
        right, top = (
            max(math.ceil(v / size - near), low + 1) for v, low in zip(box[2:], (left, bottom), strict=True)
        )
        around = Bounds(left * size, bottom * size, right * size, top * size)
        return Target(crs, around, top - bottom, right - left)

    def pixels(self, target: Target, **shown: object) -> tuple[bytes, tuple[str, ...]]:
        """Return the GeoTIFF of a target's pixels, and the scenes that the server left out, with the reason."""
        address = f"/bbox/{','.join(map(repr, target.bounds))}/{target.width}x{target.height}.tif"
        answer = self._get(address, {**shown, "bbox_crs": target.crs})
        problems = answer.headers.get("X-Terrazzo-Problems", "")
        return answer.content, tuple(problems.split("; ")) if problems else ()

    def estimate(self, **order: object) -> dict[str, Any]:
        """Return the cost of an export (pixels, bytes, seconds, scenes) without starting it; parameters as of `export`."""
        return self._post({**order, "dry_run": True})

    def export(self, folder: str | Path, *, progress: Progress | None = None, **order: object) -> list[Path]:
        """Order an export of an area as GeoTIFF, wait for it, and download the files, each whole or not at all.

        If interrupted, or if `progress` raises, it ends the server's job too.

        Args:
            order: `bbox` or `geometry`, `bands`, `datetime`, `crs`, `resolution`, `dtype`, `extras`, …, as
                docs/how-to/exports.md lists them.

        Returns:
            The files: `NAME.tif`, those of its extras, and its STAC Item.
        """
        job = f"/exports/{self._post(order)['jobID']}"
        try:
            self._wait(job, progress or (lambda percent, status: None))
        except BaseException:
            with suppress(TerrazzoError):
                self._ask("DELETE", job)
            raise
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = self._get(f"{job}/results").json()
        return [
            self._fetch(f"{job}/results/{name}", f["length"], folder / Path(name).name)
            for name, f in files.items()
        ]

    def _zone(self, box: Bounds, crs: str) -> str:
        """The mosaic's UTM zone whose middle lies nearest to a box."""
        x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        lon = transformer(crs, DEGREES).transform(x, y)[0]
        zones: list[str] = self.collection()["summaries"]["proj:code"]
        return min(zones, key=lambda z: abs((lon - (int(z[-2:]) * 6 - 183) + 180) % 360 - 180))

    def _wait(self, job: str, progress: Progress) -> None:
        pause = 0.2
        while True:
            status = self._get(job).json()
            progress(int(status["progress"]), status["status"])
            if status["status"] == "successful":
                return
            if status["status"] in ("failed", "dismissed"):
                raise TerrazzoError(
                    f"the export {status['status']}: {status.get('message') or 'no reason was given'}"
                )
            time.sleep(pause)
            pause = min(1.5 * pause, 5.0)

    def _fetch(self, path: str, length: int, to: Path) -> Path:
        with beside(to) as part:
            with (
                self._answered(),
                self._http.stream("GET", self._address(path)) as answer,
                part.open("wb") as file,
            ):
                _checked(answer)
                for chunk in answer.iter_bytes():
                    file.write(chunk)
            if part.stat().st_size != length:
                raise TerrazzoError(
                    f"{to.name} broke off after {part.stat().st_size} of {length} bytes: ask for it again"
                )
        return to

    def _post(self, order: Mapping[str, object]) -> dict[str, Any]:
        texts = {
            k: _text(k, order[k])
            for k in ("expression", "rescale")
            if isinstance(order.get(k), (list, tuple))
        }
        order = {**order, **texts}
        answer: dict[str, Any] = self._ask("POST", "/exports", json=order).json()
        return answer

    def _get(self, path: str, parameters: Mapping[str, object] | None = None) -> httpx.Response:
        return self._patient("GET", path, parameters or {})

    def _patient(
        self, method: str, path: str, parameters: Mapping[str, object], **options: Any
    ) -> httpx.Response:
        query = {k: _text(k, v) for k, v in parameters.items() if v is not None}
        for _ in range(TRIES):
            try:
                return self._ask(method, path, params=query, **options)
            except Overloaded as error:
                busy = error
                time.sleep(PAUSE)
        raise busy

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._answered():
            return _checked(self._http.request(method, self._address(path), **options))

    def _address(self, path: str) -> str:
        return f"{self.url}/mosaics/{self.mosaic}{path}"

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise TerrazzoError(f"{self.url} does not answer: {error or type(error).__name__}") from error


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        # Expressions have commas themselves, and so have pairs of numbers.
        apart = name == "expression" or any(isinstance(v, (list, tuple)) for v in value)
        return (";" if apart else ",").join(_text("", v) for v in value)
    return str(value)


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a good one.

    Raises:
        TerrazzoError: it is not; the message is the server's.
    """
    if answer.is_success:
        return answer
    answer.read()
    try:
        said = answer.json()
        # Where nothing shows, an account names each scene with the reason.
        scenes = [f"{c['datetime'][:10]} {c['scene']}: {c['verdict']}" for c in said.get("candidates", ())]
        detail = "\n".join([str(said["detail"]), *scenes])
    except (ValueError, KeyError, TypeError, AttributeError):
        detail = f"{answer.url} answered {answer.status_code}"
    raise ERRORS.get(answer.status_code, TerrazzoError)(detail)
