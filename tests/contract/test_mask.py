"""`terrazzo mask` on real top-of-atmosphere crops: classes and probabilities of whatever bands there are."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from terrazzo.bands import PALETTE

TERRAZZO = str(Path(sys.executable).parent / "terrazzo")
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
LAYERS = ("class", "p_land", "p_water", "p_snow", "p_cloud", "p_thin_cloud", "p_shadow")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TERRAZZO, "mask", *map(str, arguments)], capture_output=True, text=True, check=False
    )


FOREST = "imagery/stack_l1c_slovenia_10m"


@pytest.fixture(scope="module")
def clear(data: Path) -> Path:
    return data / FOREST / "S2A_L1C_20150711T100008.tif"


@pytest.fixture(scope="module")
def cloudy(data: Path) -> Path:
    return data / FOREST / "S2A_L1C_20150820T100728.tif"


@pytest.fixture(scope="module")
def mixed(clear: Path, cloudy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clear day, with the cloudy one in its western half."""
    path = tmp_path_factory.mktemp("mixed") / "mixed.tif"
    with rasterio.open(clear) as east, rasterio.open(cloudy) as west:
        profile, values = east.profile, east.read()
        values[..., :50] = west.read()[..., :50]
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
    return path


def subset(source: Path, target: Path, bands: tuple[str, ...]) -> Path:
    with rasterio.open(source) as dataset:
        profile, values = dataset.profile, dataset.read([BANDS.index(b) + 1 for b in bands])
    profile.update(count=len(bands))
    with rasterio.open(target, "w", **profile) as dataset:
        dataset.write(values)
    return target


@pytest.mark.parametrize("bands", [BANDS, BANDS[:10] + BANDS[11:], ("B02", "B03", "B04", "B08", "B11", "B12"),
                                   ("B02", "B03", "B04", "B08"), ("B02", "B04", "B11"), ("B12", "B03", "B8A", "B02")])  # fmt: skip
def test_any_bands_distinguish_a_day_under_cloud_from_a_clear_one(clear, cloudy, tmp_path, bands):
    shares = []
    for source in (clear, cloudy):
        image = subset(source, tmp_path / source.name, bands)
        out = tmp_path / "mask.tif"
        done = run(image, "-o", out, "--level", "l1c", "--bands", ",".join(bands))
        assert done.returncode == 0, done.stderr
        with rasterio.open(out) as dataset, rasterio.open(image) as before:
            assert dataset.descriptions == LAYERS
            assert (dataset.crs, dataset.transform, dataset.shape) == (
                before.crs,
                before.transform,
                before.shape,
            )
            assert set(dataset.dtypes) == {"uint8"}
            values = dataset.read()
        assert values[1:].max() <= 250
        assert np.abs(values[1:].sum(axis=0, dtype=int) - 250).max() <= 4
        assert set(np.unique(values[0])) <= set(range(1, 9))
        shares.append(np.isin(values[0], (4, 5)).mean())
    assert shares[0] < 0.05
    assert shares[1] > 0.9


def test_no_data_is_no_class_and_no_probability(mixed, tmp_path):
    image = subset(mixed, tmp_path / "image.tif", ("B02", "B03", "B04", "B08"))
    with rasterio.open(image, "r+") as dataset:
        values = dataset.read()
        values[:, :50] = 0
        dataset.write(values)
    assert run(image, "-o", tmp_path / "mask.tif").returncode == 0
    with rasterio.open(tmp_path / "mask.tif") as dataset:
        made = dataset.read()
    assert (made[0, :50] == 0).all()
    assert (made[1:, :50] == 255).all()
    assert (made[0, 50:] > 0).all()
    assert (made[1:, 50:] < 255).all()


def test_scale_and_offset_make_no_difference_when_they_say_what_was_done(mixed, tmp_path):
    image = subset(mixed, tmp_path / "image.tif", ("B02", "B03", "B04", "B08"))
    with rasterio.open(image) as dataset:
        profile, values = dataset.profile, dataset.read()
    with rasterio.open(tmp_path / "other.tif", "w", **profile) as dataset:
        dataset.write(values + 1000)
    assert run(image, "-o", tmp_path / "a.tif").returncode == 0
    assert run(tmp_path / "other.tif", "-o", tmp_path / "b.tif", "--offset", "-0.1").returncode == 0
    made = [rasterio.open(tmp_path / n).read(1) for n in ("a.tif", "b.tif")]
    assert (made[0] == made[1]).mean() > 0.999


def test_a_zero_in_the_infrared_is_dark_ground_or_unknown_but_no_hole(mixed, tmp_path):
    image = subset(mixed, tmp_path / "image.tif", BANDS)
    assert run(image, "-o", tmp_path / "whole.tif").returncode == 0
    with rasterio.open(image, "r+", nodata=0) as dataset:
        values = dataset.read()
        values[BANDS.index("B10")] = 0
        values[BANDS.index("B12"), ::3] = 0
        dataset.write(values)
        dataset.nodata = 0
    assert run(image, "-o", tmp_path / "mask.tif").returncode == 0
    made = [rasterio.open(tmp_path / n).read(1) for n in ("whole.tif", "mask.tif")]
    assert (made[1] > 0).all()
    assert (made[0] == made[1]).mean() > 0.9


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--bands", "B02,B03"], "names 2 bands.*has 13"),
        (["--bands", ",".join(["B99", *BANDS[1:]])], "B99: unknown.*B02"),
        (["--sun", "high"], "--sun 38.5,152"),
        (["--sun", "95,10"], "from 0 to 90"),
        (["--bands", "B02,B03" + 11 * ",-"], "at least 3 of the bands"),
    ],
)
def test_what_is_not_understood_is_refused(mixed, tmp_path, options, told):
    done = run(mixed, "-o", tmp_path / "mask.tif", *options)
    assert done.returncode != 0
    assert re.search(told, done.stderr), done.stderr
    assert not list(tmp_path.iterdir())


def test_a_mask_has_colours_names_and_shares_for_gdal_and_the_reader(mixed, tmp_path):
    image = tmp_path / "image.tif"
    with rasterio.open(mixed) as dataset:
        profile, values = dataset.profile, dataset.read()
    values[:, :10] = 0
    with rasterio.open(image, "w", **profile) as dataset:
        dataset.write(values)
    done = run(image, "-o", tmp_path / "mask.tif")
    assert done.returncode == 0, done.stderr
    with rasterio.open(tmp_path / "mask.tif") as dataset:
        classes, colours = dataset.read(1), dataset.colormap(1)
        assert dataset.colorinterp[0] == rasterio.enums.ColorInterp.palette
    assert {v: colours[v] for v in range(1, 9)} == {int(v): (*c, 255) for v, c in PALETTE.items()}
    assert colours[0][3] == 0
    table = ElementTree.parse(tmp_path / "mask.tif.aux.xml")
    names = [e.text for e in table.iter("Category")]
    assert names == [
        "no data",
        "land",
        "water",
        "snow",
        "cloud",
        "thin cloud",
        "shadow",
        "saturated",
        "terrain shadow",
    ]
    cells = [[f.text for f in row.iter("F")] for row in table.iter("Row")]
    assert [int(c[2]) for c in cells] == np.bincount(classes.ravel(), minlength=9).tolist()
    seen = classes[classes > 0]
    for value in np.unique(seen):
        assert f"{100 * (seen == value).mean():.1f} % {names[value]}" in done.stderr
    assert f"{100 * (classes == 0).mean():.1f} % of all pixels no data" in done.stderr


@pytest.mark.parametrize(
    ("dtype", "change", "options", "told"),
    [
        ("float32", lambda v: v * 1e-4, [], "--scale 0.0001: .*give --scale 1$"),
        ("uint16", lambda v: v, ["--scale", "1"], "--scale 1: .*give --scale 0.0001$"),
        (
            "uint8",
            lambda v: np.clip(v / 10_000 * 255, 0, 255),
            [],
            r"--scale 0.0001: .*give --scale 0\.0039\d*$",
        ),
        ("uint16", lambda v: v, ["--offset", "-0.5"], "--offset -0.5: .*leave it out"),
        ("float32", lambda v: v * 1e-2, ["--scale", "1"], "give --scale 0.01$"),
    ],
)
def test_numbers_that_cannot_be_what_scale_says_are_refused_with_the_option(
    mixed, tmp_path, dtype, change, options, told
):
    with rasterio.open(mixed) as dataset:
        profile, values = dataset.profile, dataset.read()
    profile.update(dtype=dtype)
    with rasterio.open(tmp_path / "image.tif", "w", **profile) as dataset:
        dataset.write(change(values.astype(np.float64)).astype(dtype))
    done = run(tmp_path / "image.tif", "-o", tmp_path / "mask.tif", *options)
    assert done.returncode != 0
    assert re.search(told, done.stderr.strip()), done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["image.tif"]


def test_float_reflectance_with_its_scale_has_the_mask_of_its_counts(mixed, tmp_path):
    with rasterio.open(mixed) as dataset:
        profile, values = dataset.profile, dataset.read()
    profile.update(dtype="float32")
    with rasterio.open(tmp_path / "image.tif", "w", **profile) as dataset:
        dataset.write(values.astype(np.float32) * np.float32(1e-4))
    assert run(mixed, "-o", tmp_path / "a.tif").returncode == 0
    assert run(tmp_path / "image.tif", "-o", tmp_path / "b.tif", "--scale", "1").returncode == 0
    made = [rasterio.open(tmp_path / n).read(1) for n in ("a.tif", "b.tif")]
    assert (made[0] == made[1]).mean() > 0.999
