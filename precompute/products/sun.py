"""Where the sun stood, to check what Items say of it."""

from datetime import UTC, datetime

import numpy as np

FAR, NEAR = 10.0, 8.0
"""Degrees from which an Item's sun counts as wrong, and within which one read another way is right: Copernicus' Items have the time at
which a pass began, up to half an hour before the tile, in which the sun moves seven."""
LOWEST = 85.0
"""Degrees from the zenith; lower suns are no witness: the Item's time or place is not the product's."""


def sun_position(when: datetime, lon: float, lat: float) -> tuple[float, float]:
    """Zenith and azimuth of the sun in degrees, to about 0.05°.

    Low-precision formulae of the Astronomical Almanac, without refraction.
    """
    days = (when - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86400
    anomaly = np.radians(357.528 + 0.9856003 * days)
    ecliptic = np.radians(280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    tilt = np.radians(23.439 - 4e-7 * days)
    right_ascension = np.arctan2(np.cos(tilt) * np.sin(ecliptic), np.cos(ecliptic))
    declination = np.arcsin(np.sin(tilt) * np.sin(ecliptic))
    hour = np.radians(280.46062 + 360.98564737 * days + lon) - right_ascension
    phi = np.radians(lat)
    up = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(hour)
    return float(np.degrees(np.arccos(np.clip(up, -1, 1)))), float(np.degrees(np.arctan2(east, north)) % 360)


def checked_sun(
    declared: tuple[float, float] | None, when: datetime, lon: float, lat: float
) -> tuple[tuple[float, float], str | None]:
    """The sun over a place, and a note where it is not what the Item says.

    Archives write the zenith where the elevation belongs, or elevation and azimuth in each other's place.

    Args:
        declared: zenith and azimuth in degrees as the Item has them; None without.
        lon, lat: degrees.
    """
    there = sun_position(when, lon, lat)
    if declared is None:
        if there[0] > LOWEST:
            return (45.0, 180.0), "nothing tells the sun's place: 45° high in the south was assumed"
        return there, None
    if _apart(declared, there) <= FAR:
        return declared, None
    if there[0] > LOWEST:
        return declared, "the Item's sun cannot be checked: at its time and place the sun is down"
    elevation = 90 - declared[0]
    for read, how in (
        ((elevation, declared[1]), "the zenith angle where the elevation belongs"),
        ((90 - declared[1], elevation), "elevation and azimuth in each other's place"),
    ):
        if 0 <= read[0] < 90 and _apart(read, there) <= NEAR:
            return read, f"the Item has {how}: read so, as place and time want it"
    return there, (
        f"the Item's sun ({declared[0]:.1f}° from the zenith, azimuth {declared[1]:.1f}°) is not where place and time want it:"
        f" took {there[0]:.1f}° and {there[1]:.1f}°"
    )


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Degrees between two directions."""
    (za, aa), (zb, ab) = np.radians(a), np.radians(b)
    cosine = np.cos(za) * np.cos(zb) + np.sin(za) * np.sin(zb) * np.cos(aa - ab)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
