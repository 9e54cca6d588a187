"""Mosaics as lazy arrays: xarray over a store or a server, whose pixels are read when they are needed. Needs `terrazzo[client]`."""

import atexit
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow
from xarray import DataArray, Dataset
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from terrazzo.bands import NODATA
from terrazzo.bulk.area import area_of_box
from terrazzo.bulk.windows import export_target, part_of, windows
from terrazzo.client import Client
from terrazzo.config import day_interval
from terrazzo.crs import DEGREES, crs_of, definition, is_geographic
from terrazzo.errors import InvalidRequest
from terrazzo.export.order import Encoding
from terrazzo.export.pieces import encode
from terrazzo.expression import parts
from terrazzo.grid import Bounds
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, Image
from terrazzo.mosaic.measure import choose, draw
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Target
from terrazzo.request.boxes import numbers_of_box
from terrazzo.request.kinds import read
from terrazzo.request.parameters import BOXED, MEASURED
from terrazzo.request.parse import UNMEASURED, measured, values
from terrazzo.store import CONFIG_KEY, Store
from terrazzo.version import open_version

SIDE = 1024
"""Pixels a side of a chunk, and of what is read at once."""
FLOATS = Encoding("float32", 1.0, 0.0, float("nan"))
NAME = "mosaic"
"""Of the variable in a dataset."""
Times = str | date | Sequence[str | date | np.datetime64]


class PixelSource(Protocol):
    """Where the pixels of a mosaic's version come from; cheap to pickle, so that other processes can read too."""

    @property
    def mosaic(self) -> str:
        """The mosaic's name."""
        ...

    @property
    def version(self) -> str:
        """The name of the version that all its pixels come from."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The channels: bands, or the parts of an expression."""
        ...

    @property
    def periods(self) -> Mapping[str, tuple[date, date]]:
        """First and last days of the periods that are no parents, by name, the oldest first."""
        ...

    @property
    def attribution(self) -> str:
        """The notice that pictures of it need."""
        ...

    def target(self, bbox: Bounds | None, bbox_crs: str, crs: str | None, size: float | None) -> Target:
        """The pixels of a box, those of an export of it; of all that there is for None."""
        ...

    def pixels(self, time: str, target: Target) -> NDArray[np.float32]:
        """(channel, row, col) values, NaN without data; warns of scenes that cannot be read."""
        ...

    def check(self, time: str) -> None:
        """Raises InvalidRequest for a time that there is not, as far as that costs nothing."""
        ...


@dataclass(frozen=True)
class OfStore:
    """A store, read in this process."""

    url: str
    mosaic: str
    version: str
    shown: tuple[tuple[str, Any], ...]

    @property
    def _engine(self) -> Engine:
        return _engine_of(self.url, self.mosaic, self.version)

    @property
    def names(self) -> tuple[str, ...]:
        """The channels."""
        return measured(dict(self.shown), self._engine.version).names

    @property
    def periods(self) -> Mapping[str, tuple[date, date]]:
        """Those that are no parents."""
        all_ = sorted(self._engine.version.periods.values(), key=lambda p: p.start)
        return {p.name: (p.start, p.end) for p in all_ if not p.members}

    @property
    def attribution(self) -> str:
        """The version's."""
        return self._engine.version.attribution

    def target(self, bbox: Bounds | None, bbox_crs: str, crs: str | None, size: float | None) -> Target:
        """The pixels of a box."""
        version = self._engine.version
        area = area_of_box(bbox or version.bounds, bbox_crs if bbox else DEGREES, version.bounds)
        return export_target(version, area, crs, size)

    def pixels(self, time: str, target: Target) -> NDArray[np.float32]:
        """(channel, row, col) values."""
        engine = self._engine
        measure = measured({**dict(self.shown), "datetime": time}, engine.version)

        def render(selection: Selection) -> Image:
            return engine.render(selection, target)

        drawn = draw(choose(engine, measure), render)
        _warn(drawn.problems)
        return _floats(drawn.values, is_measured=measure.pixels.stage not in UNMEASURED)

    def check(self, time: str) -> None:
        """Looks for the scenes of a time."""
        engine = self._engine
        choose(engine, measured({**dict(self.shown), "datetime": time}, engine.version))


@dataclass(frozen=True)
class OfServer:
    """A mosaic of a server, read over HTTP."""

    url: str
    mosaic: str
    version: str
    shown: tuple[tuple[str, Any], ...]
    key: str | None

    @property
    def _client(self) -> Client:
        return _client_of(self.url, self.mosaic, self.key)

    @cached_property
    def _asked(self) -> dict[str, Any]:
        given = dict(self.shown)
        return given if {"bands", "expression"} & set(given) else {**given, "bands": self.names}

    @property
    def names(self) -> tuple[str, ...]:
        """The channels."""
        given = dict(self.shown)
        if "expression" in given:
            return tuple(parts(given["expression"]))
        return tuple(given.get("bands") or self._client.collection()["item_assets"])

    @property
    def periods(self) -> Mapping[str, tuple[date, date]]:
        """Those that are no parents."""
        listed = [p for p in self._client.collection()["terrazzo:periods"] if not p["members"]]
        days = {p["name"]: (date.fromisoformat(p["start"]), date.fromisoformat(p["end"])) for p in listed}
        return dict(sorted(days.items(), key=lambda p: p[1]))

    @property
    def attribution(self) -> str:
        """The version's."""
        return str(self._client.collection()["terrazzo:attribution"])

    def target(self, bbox: Bounds | None, bbox_crs: str, crs: str | None, size: float | None) -> Target:
        """The pixels of a box."""
        return self._client.target(bbox, bbox_crs if bbox else DEGREES, crs, size)

    def pixels(self, time: str, target: Target) -> NDArray[np.float32]:
        """(channel, row, col) values."""
        content, problems = self._client.pixels(
            target, **{**self._asked, "datetime": time, "version": self.version}
        )
        _warn(problems)
        with MemoryFile(content) as memory, memory.open() as dataset:
            return _floats(dataset.read(), is_measured=dict(self.shown).get("stage") not in UNMEASURED)

    def check(self, time: str) -> None:
        """Looks at the form of a time; whether there is one is for the server to say."""
        if time not in {p["name"] for p in self._client.collection()["terrazzo:periods"]}:
            day_interval(time)


@cache
def _blocks() -> Blocks:
    """The decoded blocks of all stores, in one bounded cache."""
    blocks = Blocks()
    atexit.register(blocks.close)
    return blocks


@lru_cache(maxsize=8)
def _engine_of(url: str, mosaic: str, version: str) -> Engine:
    return Engine(open_version(Store(url), mosaic, version), _blocks())


@lru_cache(maxsize=8)
def _client_of(url: str, mosaic: str, key: str | None) -> Client:
    client = Client(url, mosaic, key=key)
    atexit.register(client.close)
    return client


def _warn(problems: Sequence[str]) -> None:
    for problem in problems:
        warnings.warn(f"left out {problem}", RuntimeWarning, stacklevel=2)


def _floats(pixels: NDArray[np.int16] | NDArray[np.float32], *, is_measured: bool) -> NDArray[np.float32]:
    """Reflectance of counts, as exports of float32 hold it; classes and raw counts as they are."""
    if is_measured:
        return np.asarray(encode(pixels, FLOATS), np.float32)
    return np.where(pixels == NODATA, np.float32("nan"), pixels.astype(np.float32))


class LazyPixels(BackendArray):
    """(time, channel, y, x) of a source, read when it is indexed."""

    def __init__(self, source: PixelSource, target: Target, times: tuple[str, ...]) -> None:
        self._source, self._target, self._times = source, target, times
        self._channels = len(source.names)
        self.shape = (len(times), self._channels, *target.shape)
        self.dtype = np.dtype("float32")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.float32]:
        basic = indexing.IndexingSupport.BASIC
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, basic, self._read), np.float32)

    def _read(self, key: tuple[int | slice, ...]) -> NDArray[np.float32]:
        times, channels, rows, cols = (_places(k, n) for k, n in zip(key, self.shape, strict=True))
        values = np.full([len(v) for v in (times, channels, rows, cols)], np.nan, np.float32)
        if values.size:
            for window, part, r, c in _touched(self._target, rows, cols):
                for n, time in enumerate(times):
                    pixels = self._source.pixels(self._times[time], part)
                    inner = np.ix_(channels, rows[r] - window.row_off, cols[c] - window.col_off)
                    values[n][:, r[:, None], c[None, :]] = pixels[inner]
        return values[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]


def _places(key: int | slice, length: int) -> NDArray[np.int64]:
    return np.arange(length)[key if isinstance(key, slice) else slice(key, key + 1)]


def _touched(
    target: Target, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> Iterator[tuple[RasterWindow, Target, NDArray[np.int64], NDArray[np.int64]]]:
    """The windows that hold any of some rows and columns, with which of these they hold."""
    top, left = int(rows.min()), int(cols.min())
    around = part_of(target, top, left, int(rows.max()) + 1 - top, int(cols.max()) + 1 - left)
    for inner, part in windows(around, SIDE):
        window = RasterWindow(left + inner.col_off, top + inner.row_off, inner.width, inner.height)
        r = np.flatnonzero((rows >= window.row_off) & (rows < window.row_off + window.height))
        c = np.flatnonzero((cols >= window.col_off) & (cols < window.col_off + window.width))
        if r.size and c.size:
            yield window, part, r, c


def open_array(
    where: str | Path,
    mosaic: str = "mosaic",
    *,
    chunks: int | Mapping[str, int] | None = SIDE,
    **asked: Any,
) -> DataArray:
    """Return a mosaic as a lazy array (time, band, y, x) of float32 reflectance, NaN without data.

    Opening reads no pixel. Every value equals that of `terrazzo export` with the same parameters. A scene that cannot be read
    is left out with a RuntimeWarning.

    Args:
        where: folder or address of a store (`demo`, `s3://bucket/store`), or http(s) address of a server.
        chunks: side of dask's chunks in pixels, or sizes by dimension; None: without dask, each part is read when it is
            indexed.
        asked: `datetime`, one or several days, months, years, intervals or names of periods, by default every period without
            children; `bbox` W S E N in units of `bbox_crs`, by default the whole mosaic; `crs` and `resolution`, by default the mosaic's
            own pixels; `version`, by default the current one, the same for all parts; `key` of a server; and the pixels' parameters: `bands`,
            `expression`, `baseline`, `max_cloud`, `min_score`, `orbit`, `ids`, `method`, `normalize`, `stage`, `fill`, `snow`, `resampling`.

    Returns:
        The array; `time` is the first day of each period or interval, `datetime` the requested value.

    Raises:
        InvalidRequest: a parameter or value is not valid, or `crs` cannot represent the box.
        NotFound: the mosaic or version does not exist.
        StoreError: the store is missing.
    """
    dataset = xarray.open_dataset(
        str(where),
        engine=Backend,
        chunks=None,
        mosaic=mosaic,
        **asked,
    )
    array: DataArray = dataset[NAME]
    if chunks is None:
        return array
    sizes = {"x": chunks, "y": chunks} if isinstance(chunks, int) else dict(chunks)
    # Its times are known: dask need not ask for them.
    return array.chunk({"time": 1, "band": -1, **sizes}).assign_coords(datetime=dataset["datetime"].load())


class Backend(BackendEntrypoint):
    """`xarray.open_dataset(STORE_OR_SERVER, engine="terrazzo", …)`."""

    description = "Sentinel-2 mosaics of a Terrazzo store or server"
    url = "https://github.com/terrazzo-mosaic/terrazzo"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "mosaic", "datetime", "bbox", "crs")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is the folder of a store."""
        return (
            isinstance(filename_or_obj, str | os.PathLike) and (Path(filename_or_obj) / CONFIG_KEY).is_file()
        )

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | Path,
        *,
        drop_variables: object = None,
        mosaic: str = "mosaic",
        datetime: Times | None = None,
        bbox: Sequence[float] | str | None = None,
        crs: str | int | None = None,
        **asked: Any,
    ) -> Dataset:
        """A dataset of one variable, `mosaic`, as `open_array` returns it; parameters as there."""
        bbox_crs = read(BOXED["bbox_crs"], asked.pop("bbox_crs", DEGREES))
        resolution = asked.pop("resolution", None)
        source = _source(str(filename_or_obj), mosaic, asked)
        times = _times(source, datetime)
        for name in times:
            source.check(name)
        target = source.target(
            None if bbox is None else numbers_of_box(bbox),
            bbox_crs,
            None if crs is None else read(BOXED["crs"], crs),
            None if resolution is None else float(resolution),
        )
        return _dataset(source, target, times)


def _source(where: str, mosaic: str, asked: dict[str, Any]) -> PixelSource:
    key, version = asked.pop("key", None), asked.pop("version", None)
    shown = tuple(values({k: v for k, v in asked.items() if v is not None}, MEASURED).items())
    if where.startswith(("http://", "https://")):
        current = _client_of(where, mosaic, key).collection()["terrazzo:version"]
        return OfServer(where, mosaic, version or current, shown, key)
    if key is not None:
        raise InvalidRequest("key: a store takes none; keys are for servers")
    return OfStore(where, mosaic, open_version(Store(where), mosaic, version).name, shown)


def _times(source: PixelSource, asked: Times | None) -> dict[str, date]:
    """What is asked by `datetime`, each with its first day."""
    periods = source.periods
    if asked is None:
        return {name: start for name, (start, _) in periods.items()}
    several = [asked] if isinstance(asked, str | date | np.datetime64) else asked
    texts = [np.datetime_as_string(t, "D") if isinstance(t, np.datetime64) else str(t) for t in several]
    texts = [t.partition(" ")[0] if t.endswith(" 00:00:00") else t for t in texts]
    if not texts:
        raise InvalidRequest("datetime: name at least one time")
    first = min(start for start, _ in periods.values())
    return {t: periods[t][0] if t in periods else day_interval(t)[0] or first for t in texts}


def _dataset(source: PixelSource, target: Target, times: Mapping[str, date]) -> Dataset:
    x, y = target.axes()
    lazy = indexing.LazilyIndexedArray(LazyPixels(source, target, tuple(times)))
    geographic = is_geographic(target.crs)
    about = {"units": crs_of(target.crs).axis_info[0].unit_name}
    array = DataArray(
        lazy,
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array([np.datetime64(d, "ns") for d in times.values()]),
            "band": list(source.names),
            "y": (
                "y",
                y,
                {"standard_name": "latitude" if geographic else "projection_y_coordinate", **about},
            ),
            "x": (
                "x",
                x,
                {"standard_name": "longitude" if geographic else "projection_x_coordinate", **about},
            ),
            "datetime": ("time", list(times)),
        },
        attrs={
            "mosaic": source.mosaic,
            "version": source.version,
            "attribution": source.attribution,
        },
        name=NAME,
    )
    placed: DataArray = array.rio.write_crs(definition(target.crs)).rio.write_nodata(np.nan, encoded=True)
    return placed.to_dataset()
