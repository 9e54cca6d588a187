"""The documented correction functions, called from outside with literal numbers."""

import math

import numpy as np
import pytest

from terrazzo.precompute.correct import nbar_factor, surface_reflectance, toa_reflectance

# 6SV 1.1 with the satellite's own filter: satellite, band, aot, sun, view, relative azimuth, water, ozone,
# pressure, surface reflectance, top-of-atmosphere reflectance.
SIXS = [
    ("S2A", "B01", 0.0, 45, 5, 60, 2.0, 0.3, 1013.0, 0.05, 0.136205),
    ("S2A", "B01", 0.0, 72, 10.5, 30, 2.0, 0.3, 1013.0, 0.05, 0.183995),
    ("S2A", "B01", 0.0, 45, 5, 60, 2.0, 0.3, 746.63, 0.05, 0.113919),
    ("S2B", "B07", 0.4137, 50.99, 2.77, 115.4, 0.714, 0.373, 1013.0, 0.2883, 0.2645588),
    ("S2C", "B8A", 0.4306, 26.53, 5.02, 99.6, 2.502, 0.44, 1013.0, 0.0544, 0.0673016),
    ("S2C", "B11", 0.5139, 54.36, 9.77, 58.1, 3.203, 0.327, 1013.0, 0.0246, 0.0287590),
]


def _where(case: tuple) -> dict[str, object]:
    names = (
        "satellite",
        "band",
        "aot",
        "sun_zenith",
        "view_zenith",
        "relative_azimuth",
        "water_vapour",
        "ozone",
    )
    return dict(zip((*names, "pressure"), case[:9], strict=True))


@pytest.mark.parametrize("case", SIXS)
def test_surface_reflectance_agrees_with_6s(case: tuple) -> None:
    assert surface_reflectance(case[10], **_where(case)) == pytest.approx(case[9], abs=0.0015)


@pytest.mark.parametrize("case", SIXS)
def test_toa_reflectance_agrees_with_6s(case: tuple) -> None:
    assert toa_reflectance(case[9], **_where(case)) == pytest.approx(case[10], abs=0.0015)


AIR = {"aot": 0.2, "water_vapour": 2.0, "sun_zenith": 45.0, "view_zenith": 5.0, "relative_azimuth": 60.0}


def test_one_is_the_inverse_of_the_other() -> None:
    rho = np.linspace(-0.05, 1.2, 26)
    for band in ("B01", "B02", "B04", "B08", "B09", "B12"):
        toa = toa_reflectance(rho, satellite="S2B", band=band, **AIR)
        np.testing.assert_allclose(
            surface_reflectance(toa, satellite="S2B", band=band, **AIR), rho, atol=1e-12
        )


def test_ozone_and_pressure_have_defaults() -> None:
    given = surface_reflectance(0.2, satellite="S2A", band="B03", ozone=0.3, pressure=1013.25, **AIR)
    assert surface_reflectance(0.2, satellite="S2A", band="B03", **AIR) == given


def test_arrays_broadcast_and_come_out_as_float64() -> None:
    air = AIR | {"aot": np.array([[0.05], [0.3]], np.float32), "sun_zenith": [20.0, 40.0, 60.0]}
    out = surface_reflectance(np.float32(0.2), satellite="S2A", band="B02", **air)
    assert out.shape == (2, 3)
    assert out.dtype == np.float64
    one = surface_reflectance(0.2, satellite="S2A", band="B02", **(AIR | {"aot": 0.05, "sun_zenith": 40.0}))
    assert out[0, 1] == pytest.approx(float(one), abs=1e-7)


@pytest.mark.parametrize("name", [*AIR, "ozone", "pressure"])
def test_nan_in_gives_nan_out_and_only_there(name: str) -> None:
    whole = {"ozone": 0.3, "pressure": 1000.0} | AIR
    air = whole | {name: np.array([math.nan, whole[name]])}
    out = surface_reflectance([0.2, 0.2], satellite="S2A", band="B04", **air)
    assert math.isnan(out[0])
    assert out[1] == surface_reflectance(0.2, satellite="S2A", band="B04", **whole)


def test_nan_reflectance_gives_nan() -> None:
    assert math.isnan(surface_reflectance(math.nan, satellite="S2A", band="B04", **AIR))
    assert math.isnan(toa_reflectance(math.nan, satellite="S2A", band="B04", **AIR))


@pytest.mark.parametrize(
    "wrong",
    [
        {"aot": -0.01},
        {"aot": 1.01},
        {"water_vapour": 8.1},
        {"water_vapour": -1},
        {"sun_zenith": 78.5},
        {"sun_zenith": -1},
        {"view_zenith": 16},
        {"ozone": 3},
        {"pressure": 400},
        {"pressure": 101325},
        {"relative_azimuth": math.inf},
        {"satellite": "S2X"},
        {"band": "B10"},
        {"band": "red"},
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    arguments = {"satellite": "S2A", "band": "B02"} | AIR | wrong
    for function in (surface_reflectance, toa_reflectance):
        with pytest.raises(ValueError, match=str(next(iter(wrong)))):
            function(0.2, **arguments)


def test_relative_azimuth_is_even_and_periodic() -> None:
    arguments = {"satellite": "S2A", "band": "B02"} | AIR
    values = [
        float(surface_reflectance(0.2, **(arguments | {"relative_azimuth": a}))) for a in (60, -60, 300, 420)
    ]
    assert values == pytest.approx([values[0]] * 4, abs=1e-12)


def test_nbar_factor_is_one_at_nadir_and_known_elsewhere() -> None:
    assert nbar_factor("B04", 30.0, 0.0, 77.0) == 1.0
    # Backscatter is bright: seen from the sun's side a pixel is darkened on its way to nadir.
    assert nbar_factor("B04", 45.0, 10.0, 0.0) < 1 < nbar_factor("B04", 45.0, 10.0, 180.0)
    with pytest.raises(ValueError, match="B09"):
        nbar_factor("B09", 30.0, 5.0, 0.0)
