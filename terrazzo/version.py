"""Immutable versions of a mosaic: which scenes in which order, their weights, gains and content hashes."""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrazzo.cells import CellGrid, from_table
from terrazzo.checks import checksum, table_source, understood
from terrazzo.config import MosaicConfig, Period, parse_config, require_name
from terrazzo.errors import Damaged, NotFound, StoreError
from terrazzo.grid import Bounds, PixelBox
from terrazzo.scene import Scene, by_beginning
from terrazzo.seasons import Apart, apart_from_json
from terrazzo.store import Store

T = TypeVar("T")

VERSION_NAME = re.compile(r"[0-9a-f]{12}")
COLLECTION = "mosaic.json"
POINTER = "terrazzo:version"
HISTORY = "terrazzo:history"
PINS = "terrazzo:pins"
KEPT_BACK = "terrazzo:kept_back"


@dataclass(frozen=True, slots=True)
class Entry:
    """A scene's place in a period of a version.

    Attributes:
        rank: position in the period's one total order, 0 first.
        ordinal: row of the scene in its tile's gains file.
        weight_key: key of the weight raster in the store.
        haze: mean haze weight over the scene's clear pixels, 1 = as clear as the reference.
        aerosol_model: whether the aerosol of CAMS, which its product brings, went into the correction.
        dem: name of the elevation model that went into the correction or the mask; empty without.
    """

    scene: Scene
    period: str
    rank: int
    ordinal: int
    weight_key: str
    haze: float
    aerosol_model: bool = False
    dem: str = ""


@dataclass(frozen=True)
class Gains:
    """The gain corners of one MGRS tile and period.

    Attributes:
        windows: box of window indices whose corners these are.
        corners: (ordinal, 2, band, ny + 1, nx + 1) int16: gain · 2¹⁴, offset · 1e5.
        measured: by scene, a packed bit for each window: whether its gain was measured there, not extrapolated. Of scenes that
            are not named it is not known.
    """

    windows: PixelBox
    corners: NDArray[np.int16]
    measured: Mapping[str, bytes]


@dataclass(frozen=True)
class Places:
    """Where the scenes of a period lie, in their order, to find those of a place without looking at each.

    Attributes:
        epsg: (n,) zones.
        boxes: (n, 4) row0, col0, row1, col1 on the zone grids.
    """

    epsg: NDArray[np.int64]
    boxes: NDArray[np.int64]


class Version:
    """A version opened for reading; everything but pixels is in memory.

    Attributes:
        lock: everything that determines the pixels.
        periods: periods and parents by name, oldest first.
        bands: bands every scene holds, in the order of the gains.
        zones: UTM zones of the scenes, lower numbers first.
        bounds: west, south, east, north in degrees.
        apart: periods whose dates show different land, by name; older versions name none.
        scatter: how much dates of a period differ on the same ground, by its name and by band: intercept and slope of a standard deviation
            by reflectance. Periods without such dates, and those of older versions, have none.
    """

    def __init__(self, store: Store, mosaic_id: str, name: str) -> None:
        self.store, self.mosaic_id, self.name = store, mosaic_id, name
        self.lock: dict[str, Any] = store.read_json(version_key(mosaic_id, name, "lock.json"))
        self.config: MosaicConfig = parse_config(mosaic_id, self.lock["mosaic_toml"])
        self.bands: tuple[str, ...] = tuple(self.lock["bands"])
        self.periods: dict[str, Period] = {p["name"]: _period(p) for p in self.lock["periods"]}
        self.normalized: bool = self.lock["normalized"]
        self.bounds = Bounds(*self.lock["bounds"])
        self.apart: dict[str, Apart] = {
            name: apart_from_json(raw) for name, raw in self.lock.get("apart", {}).items()
        }
        self.scatter: dict[str, dict[str, tuple[float, float]]] = {
            name: {band: (a, b) for band, (a, b) in raw.items()}
            for name, raw in self.lock.get("scatter", {}).items()
        }
        self._sums: Mapping[str, str] = self.lock.get("sums", {})
        self._entries = self._read_entries()
        self.zones: tuple[int, ...] = tuple(
            sorted({e.scene.epsg for es in self._entries.values() for e in es}, key=lambda z: (z % 100, z))
        )
        self._gains: OrderedDict[tuple[str, str], Gains] = OrderedDict()
        self._gains_bytes, self._gains_lock = 0, threading.Lock()
        self._places = {name: places_of(entries) for name, entries in self._entries.items()}

    def entries(self, period: str) -> tuple[Entry, ...]:
        """The scenes of a period in its total order.

        Raises:
            NotFound: the version has no such period; the message lists those it has.
        """
        try:
            return self._entries[period]
        except KeyError:
            raise NotFound(
                f"mosaic {self.mosaic_id} has no period {period!r}; it has {', '.join(self.periods)}"
            ) from None

    def places(self, period: str) -> Places:
        """Where the scenes of `entries` lie."""
        return self._places[period]

    def gains(self, entry: Entry) -> Gains | None:
        """The gains file a scene's row lies in; None in a version published without normalization.

        Raises:
            Damaged: the file has changed since it was written.
        """
        if not self.normalized:
            return None
        key = (entry.period, entry.scene.mgrs)
        with self._gains_lock:
            if key in self._gains:
                self._gains.move_to_end(key)
                return self._gains[key]
        gains = self._read_gains(*key)
        with self._gains_lock:
            if key not in self._gains:
                self._gains[key] = gains
                self._gains_bytes += gains.corners.nbytes
            while self._gains_bytes > KEPT_GAINS and len(self._gains) > 1:
                self._gains_bytes -= self._gains.popitem(last=False)[1].corners.nbytes
        return gains

    def corners(self, entry: Entry) -> tuple[NDArray[np.int16], PixelBox] | None:
        """(2, band, ny + 1, nx + 1) int16 gain corners of a scene and the windows whose corners they are.

        Raises:
            Damaged: the gains file has changed since it was written.
        """
        gains = self.gains(entry)
        return None if gains is None else (gains.corners[entry.ordinal], gains.windows)

    def cells(self, epsg: int, windows: PixelBox, period: str) -> bytes:
        """Hash of what determines the pixels of a box of windows; empty where no scene lies."""
        grid = self.cell_grid(epsg, period)
        return b"" if grid is None else grid.over(windows)

    def cell_grid(self, epsg: int, period: str) -> CellGrid | None:
        """Hashes of all windows of a zone in a period; None where no scene lies."""
        return self._cells.get((period, epsg))

    @property
    def cell_grids(self) -> Mapping[tuple[str, int], CellGrid]:
        """Hashes of all windows by period and zone.

        Raises:
            Damaged: cells.parquet has changed since it was written.
        """
        return self._cells

    @cached_property
    def _cells(self) -> dict[tuple[str, int], CellGrid]:
        data = self.read_checked("cells.parquet")
        with understood("cells.parquet of " + self.name):
            grids = from_table(pq.read_table(table_source(data), read_dictionary=["period"]))
        _release()
        return grids

    @cached_property
    def scene_ids(self) -> frozenset[str]:
        """The names of the scenes of all periods."""
        return frozenset(e.scene.id for es in self._entries.values() for e in es)

    @cached_property
    def orbits(self) -> tuple[int, ...]:
        """The relative orbits of the scenes of all periods, in ascending order; 1 to 143."""
        return tuple(sorted({e.scene.relative_orbit for es in self._entries.values() for e in es} - {0}))

    @cached_property
    def attribution(self) -> str:
        """The line that the data of all scenes must be shown with."""
        return self.attribution_of(e for es in self._entries.values() for e in es)

    def attribution_of(self, shown: Iterable[Entry]) -> str:
        """The line that what these scenes show must be shown with: Sentinel's years, and what else their pixels were made with."""
        entries = list(shown)
        parts = [f"Contains modified Copernicus Sentinel data {_years(entries)}"]
        if modelled := [e for e in entries if e.aerosol_model]:
            parts.append(
                f"contains modified Copernicus Atmosphere Monitoring Service information {_years(modelled)}"
            )
        parts += sorted({_dem_notice(e.dem) for e in entries if e.dem})
        return "; ".join(parts)

    def _read_entries(self) -> dict[str, tuple[Entry, ...]]:
        data = self.read_checked("scenes.parquet")
        entries: dict[str, list[Entry]] = {name: [] for name in self.periods}
        shared: dict[Any, Any] = {}
        with understood("scenes.parquet of " + self.name):
            file = pq.ParquetFile(table_source(data))
            # A struct's field, by the path that Parquet knows it by; scenes without air or elevation model have none.
            for batch in file.iter_batches(BATCH, columns=[*COLUMNS, *NOTICED]):
                for row in batch.to_pylist():
                    entries[row["terrazzo:period"]].append(_entry(row, shared))
        _release()
        return {name: tuple(sorted(es, key=lambda e: e.rank)) for name, es in entries.items()}

    def _read_gains(self, period: str, mgrs: str) -> Gains:
        name = f"gains/{period}/{mgrs}.npy"
        about = self.store.read_json(
            version_key(self.mosaic_id, self.name, name.removesuffix(".npy") + ".json")
        )
        data = self.read_checked(name)
        with understood(f"{name} of {self.name}"):
            measured = {k: bytes.fromhex(v) for k, v in about.get("measured", {}).items()}
            corners = np.load(io.BytesIO(data), allow_pickle=False)
            return Gains(PixelBox(*about["windows"]), corners, measured)

    def read_checked(self, name: str) -> bytes:
        """The content of one of the version's tables.

        Raises:
            Damaged: it is missing, or has changed since it was written.
        """
        return read_checked(self.store, self.mosaic_id, self.name, name, self._sums)


def read_checked(store: Store, mosaic_id: str, version: str, name: str, sums: Mapping[str, str]) -> bytes:
    """The content of one of a version's tables.

    Args:
        sums: checksums by name, `sums` of the version's lock; versions of older stores have none.

    Raises:
        Damaged: it is missing, or has changed since it was written.
    """
    mend = "`terrazzo store verify --repair` mends it, or says what does"
    try:
        data = store.read_bytes(version_key(mosaic_id, version, name))
    except NotFound:
        raise Damaged(f"{name} of version {version} of mosaic {mosaic_id} is missing: {mend}") from None
    if name in sums and checksum(data) != sums[name]:
        raise Damaged(
            f"{name} of version {version} of mosaic {mosaic_id} has changed since it was written: {mend}"
        )
    return data


KEPT_GAINS = 256 << 20
"""Bytes of gains kept in memory."""


def _release() -> None:
    """Gives back what Arrow keeps of tables that were read: a third of a server's memory with 100,000 scenes."""
    pa.default_memory_pool().release_unused()


def places_of(entries: Sequence[Entry]) -> Places:
    """Where scenes lie."""
    count = len(entries)
    epsg = np.fromiter((e.scene.epsg for e in entries), np.int64, count)
    sides = np.fromiter((v for e in entries for v in e.scene.box), np.int64, 4 * count)
    return Places(epsg, sides.reshape(count, 4))


BATCH = 4096
"""Rows of scenes.parquet that are Python objects at the same time."""
COLUMNS = (
    "id",
    "datetime",
    "platform",
    "terrazzo:source",
    "proj:code",
    "grid:code",
    "sat:relative_orbit",
    "terrazzo:rev",
    "terrazzo:prefix",
    "terrazzo:datatake",
    "terrazzo:box",
    "terrazzo:bands",
    "terrazzo:clear_share",
    "terrazzo:cloud_share",
    "terrazzo:snow_share",
    "terrazzo:haze",
    "terrazzo:period",
    "terrazzo:rank",
    "terrazzo:ordinal",
    "terrazzo:weight",
    "terrazzo:haze_weight",
)
"""Columns of scenes.parquet that a server reads; the others serve the STAC Items of it."""
NOTICED = ("terrazzo:air.aot.origin", "terrazzo:elevation_model")
"""Fields that name the other sources of a scene besides Sentinel-2; older stores have none."""
MODELLED = "weather model"
"""Words in the origin of an aerosol that comes from the product's own CAMS data."""
COPERNICUS_DEM = re.compile(r"copernicus|cop[-_]?dem|glo[-_]?(30|90)", re.IGNORECASE)


def _years(entries: Iterable[Entry]) -> str:
    return ", ".join(map(str, sorted({e.scene.datetime.year for e in entries})))


def _dem_notice(name: str) -> str:
    """The line that an elevation model must be shown with: Copernicus DEM's own, the name of any other."""
    if not COPERNICUS_DEM.search(name):
        return f"elevation model {name}"
    return (
        "produced using Copernicus WorldDEM © DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018"
        " provided under COPERNICUS by the European Union and ESA; all rights reserved"
    )


def _entry(row: Mapping[str, Any], shared: dict[Any, Any]) -> Entry:
    """The entry of a row; values that many have are one object, `shared` by itself: a large mosaic has 100,000 entries."""

    def one(value: T) -> T:
        return cast(T, shared.setdefault(value, value))

    when, air = row["datetime"], row.get("terrazzo:air") or {}
    scene = Scene(
        id=row["id"],
        rev=row["terrazzo:rev"],
        prefix=row["terrazzo:prefix"],
        mgrs=one(row["grid:code"].removeprefix("MGRS-")),
        epsg=int(row["proj:code"].removeprefix("EPSG:")),
        datetime=when if isinstance(when, datetime) else datetime.fromisoformat(when),
        platform=one(row["platform"]),
        level=one(row["terrazzo:source"]["level"]),
        relative_orbit=int(row.get("sat:relative_orbit") or 0),
        datatake=one(row["terrazzo:datatake"]),
        box=one(PixelBox(*map(int, row["terrazzo:box"]))),
        bands=one(tuple(map(one, row["terrazzo:bands"]))),
        clear_share=row["terrazzo:clear_share"],
        cloud_share=row["terrazzo:cloud_share"],
        snow_share=row["terrazzo:snow_share"],
        haze=float("nan") if row["terrazzo:haze"] is None else row["terrazzo:haze"],
    )
    return Entry(
        scene,
        one(row["terrazzo:period"]),
        int(row["terrazzo:rank"]),
        int(row["terrazzo:ordinal"]),
        row["terrazzo:weight"],
        row["terrazzo:haze_weight"],
        MODELLED in ((air.get("aot") or {}).get("origin") or ""),
        one(row.get("terrazzo:elevation_model") or ""),
    )


def _period(raw: Mapping[str, Any]) -> Period:
    return Period(
        raw["name"],
        date.fromisoformat(raw["start"]),
        date.fromisoformat(raw["end"]),
        tuple(raw["members"]),
    )


def total_order(scenes: Iterable[Scene], middle: date, haze: Mapping[str, float]) -> list[Scene]:
    """The one order of a period's scenes: clear share, days from the period's middle, haze, id.

    It depends on the scenes alone, never on a window, tile or zoom: were the first scene another one
    beyond some line, that line would show.

    Args:
        haze: mean haze weight by scene id, higher is clearer; a missing id counts as 0.
    """

    def key(scene: Scene) -> tuple[float, int, float, str]:
        days = abs((scene.datetime.date() - middle).days)
        return -round(scene.clear_share, 2), days, -round(haze.get(scene.id, 0.0), 3), scene.id

    return sorted(scenes, key=key)


def version_key(mosaic_id: str, version: str, name: str) -> str:
    """Key of a version's file."""
    return f"mosaics/{mosaic_id}/versions/{version}/{name}"


def gains_key(mosaic_id: str, version: str, period: str, mgrs: str) -> str:
    """Key of the gains of a tile and period."""
    return version_key(mosaic_id, version, f"gains/{period}/{mgrs}.npy")


def list_mosaics(store: Store) -> list[str]:
    """The mosaics of a store that have a published version."""
    return [n for n in store.folders("mosaics") if store.exists(f"mosaics/{n}/{COLLECTION}")]


def list_versions(store: Store, mosaic_id: str) -> list[str]:
    """The complete versions of a mosaic, in order of name."""
    prefix = f"mosaics/{mosaic_id}/versions"
    return [n for n in store.folders(prefix) if store.exists(f"{prefix}/{n}/lock.json")]


def history(store: Store, mosaic_id: str) -> list[str]:
    """The complete versions of a mosaic in the order in which they were first published, the oldest first.

    Those whose publishing was not noted (stores of earlier releases, versions that were kept back) come before the others.
    """
    known = list_versions(store, mosaic_id)
    noted = [h["version"] for h in read_collection(store, mosaic_id).get(HISTORY, ())]
    return [v for v in known if v not in noted] + [v for v in noted if v in known]


def read_collection(store: Store, mosaic_id: str) -> dict[str, Any]:
    """The mosaic.json of a mosaic; empty where nothing was published yet."""
    try:
        document: dict[str, Any] = store.read_json(f"mosaics/{mosaic_id}/{COLLECTION}")
    except NotFound:
        return {}
    return document


def current_version(store: Store, mosaic_id: str) -> str:
    """The version a mosaic's pointer names.

    Raises:
        NotFound: the mosaic does not exist or has no version yet.
        StoreError: it cannot have that name.
    """
    require_name(mosaic_id)
    try:
        document = store.read_json(f"mosaics/{mosaic_id}/{COLLECTION}")
    except NotFound:
        known = ", ".join(list_mosaics(store)) or "none yet"
        raise NotFound(
            f"there is no mosaic {mosaic_id!r}",
            f"in {store.url}; there are: {known}."
            f" `terrazzo precompute SOURCE --store {store.url} --mosaic {mosaic_id}` makes it",
        ) from None
    name = document.get(POINTER)
    if not isinstance(name, str):
        raise StoreError(
            f"mosaics/{mosaic_id}/{COLLECTION} names no version: `terrazzo store verify` says what else is damaged",
            f"({store.url})",
        )
    return name


def open_version(store: Store, mosaic_id: str, name: str | None = None) -> Version:
    """Opens a version, the current one by default.

    Raises:
        NotFound: there is no such mosaic or version.
        StoreError: the version cannot be understood.
    """
    if name is None:
        name = current_version(store, mosaic_id)
    elif not VERSION_NAME.fullmatch(name):
        raise NotFound(f"version {name!r} of mosaic {mosaic_id}: a version is 12 hexadecimal digits")
    with understood(f"version {name} of mosaic {mosaic_id}"):
        return Version(store, mosaic_id, name)


def known_version(store: Store, mosaic_id: str, name: str) -> Version:
    """A version by its name, or by the first digits of it.

    Raises:
        NotFound: none has that name, or several begin with it; the message lists those there are.
    """
    name = by_beginning(name, list_versions(store, mosaic_id), "version", f"mosaic {mosaic_id}")
    return open_version(store, mosaic_id, name)
