"""What the light proves decides: snow is dark in the short-wave infrared, what is bright and grey is cloud, sand is neither."""

import numpy as np
import pytest
import rasterio

from terrazzo.bands import FOUR, MaskClass
from terrazzo.precompute.clouds.mask import mask_scene
from terrazzo.precompute.clouds.model import BANDS, CLASSES, FEATURES, SIX, Model
from terrazzo.precompute.clouds.physics import (
    bright,
    cloud_like,
    earth_coloured,
    earth_through_haze,
    no_snow,
    share_out,
)

CLOUDS = (MaskClass.CLOUD, MaskClass.THIN_CLOUD)
LAND_RHO = {"B02": 0.04, "B03": 0.06, "B04": 0.05, "B08": 0.35, "B11": 0.20, "B12": 0.10}
CLOUD_RHO = {"B02": 0.60, "B03": 0.60, "B04": 0.58, "B08": 0.62, "B11": 0.45, "B12": 0.35}
ICE_CLOUD_RHO = {"B02": 0.95, "B03": 0.94, "B04": 0.93, "B08": 0.92, "B11": 0.30, "B12": 0.28}
SNOW_RHO = {"B02": 0.85, "B03": 0.86, "B04": 0.85, "B08": 0.80, "B11": 0.09, "B12": 0.07}
SAND_RHO = {"B02": 0.27, "B03": 0.32, "B04": 0.36, "B08": 0.42, "B11": 0.50, "B12": 0.45}
SHADE = {"B02": 0.40, "B03": 0.35, "B04": 0.30, "B08": 0.22, "B11": 0.18, "B12": 0.18}
"""Light left in a cloud's shadow: that of the sky, more in the blue."""
SIDE, PIXEL = 120, 20.0


def case(data, name):
    """(band, row, col) reflectance of a stored L2A image, and its bands."""
    with rasterio.open(data / "cases" / f"{name}.tif") as dataset:
        return dataset.read().astype(np.float32) / 10_000, dataset.descriptions


def filled(rho, bands, side=SIDE):
    """(band, row, col) of one surface, with the small differences between pixels that ground has."""
    noise = np.random.default_rng(4).normal(1, 0.03, (side, side)).astype(np.float32)
    return np.stack([np.float32(rho[b]) * noise for b in bands])


def masked(image, bands, sun=None, scl=None, pixel=PIXEL, level="L2A"):
    choice = "model" if scl is None else "fused"
    return mask_scene(
        lambda start, stop: image[:, start:stop], image.shape[1:], bands,
        level=level, pixel=pixel, sun=sun, scl=scl, choice=choice,
    )  # fmt: skip


@pytest.mark.parametrize("scl", [None, 11, 9], ids=["alone", "Sen2Cor says snow", "Sen2Cor says cloud"])
def test_an_overcast_day_that_is_bright_in_the_short_wave_infrared_is_cloud(data, scl):
    image, bands = case(data, "overcast_20171105")
    told = None if scl is None else np.full(image.shape[1:], scl, np.uint8)
    classes = masked(image, bands, scl=told).classes
    assert np.isin(classes, CLOUDS).all()


@pytest.mark.parametrize("pixel", [10.0, 30.0, 60.0])
def test_bright_cumulus_of_four_bands_stays_cloud(data, pixel):
    image, _ = case(data, "cumulus_four_bands")
    classes = masked(image[:4], FOUR, pixel=pixel).classes
    certain = image[:3].min(axis=0) > 0.3
    assert certain.sum() > 400
    assert np.isin(classes[certain], CLOUDS).mean() > 0.99
    assert np.isin(classes, CLOUDS).mean() < 0.4


@pytest.mark.parametrize("bands", [SIX, FOUR], ids=["six", "four"])
@pytest.mark.parametrize("radius", [3, 12], ids=["60 m", "240 m"])
def test_a_bright_cloud_is_kept_however_small(bands, radius):
    image = filled(LAND_RHO, bands)
    rows, cols = np.ogrid[:SIDE, :SIDE]
    cloud = (rows - 60) ** 2 + (cols - 60) ** 2 <= radius**2
    image[:, cloud] = filled(CLOUD_RHO, bands)[:, cloud]
    classes = masked(image, bands).classes
    assert np.isin(classes[cloud], CLOUDS).mean() > 0.99
    far = (rows - 60) ** 2 + (cols - 60) ** 2 > (radius + 8) ** 2
    assert not np.isin(classes[far], CLOUDS).any()


def test_snow_stays_snow_where_the_short_wave_infrared_shows_it():
    assert (masked(filled(SNOW_RHO, SIX), SIX).classes == MaskClass.SNOW).all()


@pytest.mark.parametrize(("rho", "bands"), [(SNOW_RHO, FOUR), (ICE_CLOUD_RHO, FOUR), (ICE_CLOUD_RHO, SIX)])
def test_white_that_may_be_cloud_is_not_clear(rho, bands):
    assert np.isin(masked(filled(rho, bands), bands).classes, CLOUDS).all()


def test_only_what_is_bright_grey_and_no_snow_looks_like_cloud():
    colours = np.array([[[rho[b]] for rho in (CLOUD_RHO, SNOW_RHO, SAND_RHO, LAND_RHO)] for b in SIX])
    assert cloud_like(colours, SIX).ravel().tolist() == [True, False, False, False]
    assert bright(colours, SIX).ravel().tolist() == [True, True, True, False]
    assert no_snow(colours, SIX).ravel().tolist() == [True, False, True, True]
    four = colours[[SIX.index(b) for b in FOUR]]
    assert cloud_like(four, FOUR).ravel().tolist() == [True, True, False, False]
    assert not bright(colours[3:], SIX[3:]).any()
    assert earth_coloured(colours, SIX, "L1C").ravel().tolist() == [False, False, True, True]
    assert earth_coloured(colours, SIX, "L2A").ravel().tolist() == [False, False, True, False]
    assert not earth_coloured(colours[1:], SIX[1:], "L1C").any()


def test_a_veil_over_fields_is_cloud_though_their_colour_shows_through():
    fields = {"B02": 0.05, "B03": 0.08, "B04": 0.09, "B08": 0.26, "B11": 0.30, "B12": 0.20}
    # Seen through a thin cloud of even reflectance .08, twice dimmed by it.
    veiled = {band: 0.08 + (1 - 0.08) ** 2 * rho for band, rho in fields.items()}
    assert np.isin(masked(filled(veiled, SIX), SIX).classes, CLOUDS).mean() > 0.95
    assert not np.isin(masked(filled(fields, SIX), SIX).classes, CLOUDS).any()


def half_hearted(thin):
    """A classifier that gives every pixel this probability of thin cloud, and land the rest."""
    p = np.full(len(CLASSES), 1e-6)
    p[[CLASSES.index(MaskClass.THIN_CLOUD), CLASSES.index(MaskClass.LAND)]] = thin, 1 - thin
    nothing, no_bias = np.zeros((2 * len(FEATURES), 4), np.float32), np.zeros(4, np.float32)
    last = np.zeros((4, len(CLASSES)), np.float32)
    one = np.ones(len(FEATURES), np.float32)
    return Model(0 * one, one, (nothing, last), (no_bias, np.log(p).astype(np.float32)), 1.0, "")


@pytest.mark.parametrize(
    ("level", "haze", "shows"), [("L1C", 0.0, True), ("L1C", 0.1, True), ("L2A", 0.1, False)]
)
def test_soil_under_haze_is_cloud_only_where_the_classifier_is_sure(level, haze, shows):
    forest = {"B02": 0.03, "B03": 0.04, "B04": 0.02, "B08": 0.25}
    soil = {"B02": 0.09, "B03": 0.11, "B04": 0.13, "B08": 0.20}
    image = filled(forest, FOUR)
    image[:, :40, :40] = filled(soil, FOUR)[:, :40, :40]
    image[:, 80:, 80:] += 0.08
    # The air adds more light the bluer it is, so that soil is no longer redder than clouds are.
    image += np.float32(haze) * np.array([1.0, 0.6, 0.4, 0.2], np.float32)[:, None, None]
    classes = {
        p: mask_scene(
            lambda a, b: image[:, a:b], image.shape[1:], FOUR, level=level, pixel=PIXEL, sun=None, choice="model",
            model=half_hearted(p),
        ).classes
        for p in (0.8, 0.95)
    }  # fmt: skip
    field, veil = slice(0, 36), slice(84, None)
    assert (classes[0.8][field, field] == MaskClass.LAND).all() == shows
    assert np.isin(classes[0.95][field, field], CLOUDS).all()
    assert np.isin(classes[0.8][veil, veil], CLOUDS).all()


def test_soil_under_cirrus_that_b10_shows_is_not_taken_for_haze():
    bands, above = ("B02", "B04", "B10"), np.array([[[0.05, 0.05, 0.05]], [[0.1, 0.1, 0.06]]], np.float32)
    seen = np.array([[[0.2, 0.2, 0.2]], [[0.2, 0.2, 0.2]], [[0.002, 0.02, 0.002]]], np.float32)
    assert earth_through_haze(seen, bands, above).ravel().tolist() == [True, False, False]


@pytest.mark.parametrize(("level", "offset"), [("L1C", -0.1), ("L2A", 0.0)])
@pytest.mark.parametrize("bands", [SIX, FOUR], ids=["six", "four"])
def test_a_clear_beach_is_no_cloud(data, level, offset, bands):
    with rasterio.open(data / f"labelled/terramind/S2{level}_282D_485L_3_3.tif") as dataset:
        rho = dataset.read().astype(np.float32) / 10_000 + np.float32(offset)
    names = [b for b in BANDS if level == "L1C" or b != "B10"]
    image = rho[[names.index(b) for b in bands]]
    assert not np.isin(masked(image, bands, pixel=10.0, level=level).classes, CLOUDS).any()


def test_what_was_taken_for_snow_goes_to_cloud_where_it_is_bright_and_is_shared_elsewhere():
    p = np.tile(np.array([0.2, 0.05, 0.5, 0.1, 0.1, 0.05], np.float32)[:, None, None], (1, 1, 3))
    never, white = np.array([[True, True, False]]), np.array([[True, False, True]])
    out = 3 * p
    share_out(out, never, white)
    snow, cloud, land = (CLASSES.index(c) for c in (MaskClass.SNOW, MaskClass.CLOUD, MaskClass.LAND))
    np.testing.assert_allclose(out.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(out[snow, 0], [0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(out[cloud, 0], [0.6, 0.2, 0.1], atol=1e-6)
    np.testing.assert_allclose(out[land, 0], [0.2, 0.4, 0.2], atol=1e-6)


@pytest.mark.parametrize("bands", [SIX, FOUR], ids=["six", "four"])
@pytest.mark.parametrize("azimuth", [90.0, 160.0, 300.0])
def test_a_shadow_is_seen_where_the_cloud_throws_it(bands, azimuth):
    side, middle = 260, 130
    image = filled(LAND_RHO, bands, side)
    rows, cols = np.ogrid[:side, :side]
    cloud = (rows - middle) ** 2 + (cols - middle) ** 2 <= 12**2
    # A cloud 5 km high under a sun 80° high throws its shadow 880 m away from the sun; rays of other pixels stay in the scene.
    reach, away = 880 / PIXEL, np.radians(azimuth + 180)
    row, col = middle - reach * np.cos(away), middle + reach * np.sin(away)
    shadow = (rows - row) ** 2 + (cols - col) ** 2 <= 12**2
    for k, band in enumerate(bands):
        image[k, shadow] *= SHADE[band]
    image[:, cloud] = filled(CLOUD_RHO, bands, side)[:, cloud]
    towards = masked(image, bands, sun=(10.0, azimuth)).classes == MaskClass.SHADOW
    assert towards[shadow].mean() > 0.95
    assert towards[~shadow].sum() < 0.4 * shadow.sum()
    assert not (masked(image, bands, sun=(10.0, azimuth + 180)).classes == MaskClass.SHADOW).any()
