"""Two real series of dates, written as products: Italian fields (L1C, 10 m) and Belgian ones (L2A, 20 m).

Pictures of 2.6 and 0.6 km are mirrored outward to scenes of 10.2 and 5.1 km, so that no weight falls towards their edge. The sun
is computed; the view is taken for nadir.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from terrazzo.precompute.clouds.model import BANDS
from terrazzo.precompute.clouds.train.elsewhere import fields
from terrazzo.precompute.clouds.train.scenes import images, read
from tests.world.land import Land
from tests.world.products import Pass, Place, asset, place_of, write_product, write_raster
from tests.world.sky import Seen, Sky, View

WINDOW = 512

Array = NDArray[np.float32]
Command = TypeVar("Command", bound=Callable[..., Any])


class Series(NamedTuple):
    """Dates of one place: level, place of the mirrored scenes, and for each date (band, row, col) reflectance and Sen2Cor's classes where known."""

    name: str
    level: str
    place: Place
    latitude: float
    dates: list[tuple[date, Array, NDArray[np.uint8] | None]]


def data_option(*, required: bool = False) -> Callable[[Command], Command]:
    """The option of the folder with labels and imagery."""
    folder = click.Path(exists=True, path_type=Path)
    return click.option("--data", type=folder, required=required, help="folder with labelled/ and imagery/")


def both(data: Path) -> Iterator[Series]:
    """The two series."""
    italy = []
    for path in images(data):
        if path.parent.name == "ts":
            day = date.fromisoformat(path.stem.split("_")[2])
            italy.append((day, read(path).astype(np.float32) / 10_000, None))
    place = place_of("33TUG", 32633, 4_659_200.0, 307_200.0, 1024, 1024, 10.0, WINDOW)
    yield Series("Italian fields", "L1C", place, 42.06, italy)
    belgium = [(d, i.astype(np.float32), s.astype(np.uint8)) for d, i, s in fields(data)]
    place = place_of("31UES", 32631, 5_621_760.0, 573_440.0, 256, 256, 20.0, WINDOW // 2)
    yield Series("Belgian fields", "L2A", place, 50.74, belgium)


def sun(day: date, latitude: float) -> tuple[float, float]:
    """Zenith and azimuth of the sun in degrees at half past ten of local solar time (Cooper 1969, doi 10.1016/0038-092X(69)90047-4)."""
    declination = np.radians(23.45 * np.sin(2 * np.pi * (284 + day.timetuple().tm_yday) / 365))
    hour, phi = np.radians(15 * -1.5), np.radians(latitude)
    up = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(hour)
    return float(np.degrees(np.arccos(up))), float(np.degrees(np.arctan2(east, north)) % 360)


def mirrored(values: NDArray[np.generic], place: Place) -> NDArray[np.generic]:
    """Pixels mirrored outward until they fill a place, whose middle they are."""
    short = [(n - m) // 2 for n, m in zip(place.box.shape, values.shape[-2:], strict=True)]
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(n, n) for n in short], mode="symmetric")


def write_series(folder: Path, series: Series) -> None:
    """Writes a series as products."""
    place = series.place
    none = np.zeros(place.box.shape, bool)
    for day, image, scl in series.dates:
        held = [k for k, b in enumerate(BANDS) if np.isfinite(image[k]).any()]
        rho = mirrored(image[held], place).astype(np.float32)
        zenith, azimuth = sun(day, series.latitude)
        view = View(zenith, azimuth, tilt=(0.0, 0.0), forward=0.0, width=1e6)
        land = Land(place, tuple(BANDS[k] for k in held), np.nan_to_num(rho), none.astype(np.uint8))
        valid, detector = np.isfinite(rho).all(axis=0), (~none).view(np.uint8)
        seen = Seen(land, Sky(view=view), land.rho, valid, none, none, none, detector)
        when = datetime(day.year, day.month, day.day, 10, tzinfo=UTC)
        about = Pass(when, level=series.level, baseline="02.06", added=0, fine=True)
        path = write_product(folder, seen, about, scl=False)
        if scl is not None:
            write_raster(path.with_suffix("") / "SCL.tif", mirrored(scl, place).astype(np.uint8), place)
            item = json.loads(path.read_text())
            item["assets"]["scl"] = asset(path.stem, "SCL.tif")
            path.write_text(json.dumps(item))
