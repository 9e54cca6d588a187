"""`terrazzo film` shows the engine's own pixels, step by step, in a file that is whole or not there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terrazzo.bands import STYLES, MaskClass
from terrazzo.errors import InvalidRequest, OutsideCoverage
from terrazzo.grid import Bounds
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.request import PixelRequest
from terrazzo.precompute.film.drawing import BAR, STEPS, write
from terrazzo.precompute.film.frames import BANDS, film_target, frames
from terrazzo.precompute.scene.recipe import Recipe
from tests.chain import precompute
from tests.world.worlds import Weather, make_world

TERRAZZO = str(Path(sys.executable).parent / "terrazzo")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    make_world(folder / "p", dates=3, size=(192, 192), weather=Weather(cloud=0.25))
    done, _ = precompute(folder / "p", folder / "s", recipe=Recipe("scl"))
    made = Engine(done.version, Blocks())
    yield made
    made.blocks.close()


def test_the_last_picture_is_the_engines_tile(engine):
    film = list(frames(engine, engine.version.bounds))
    assert [f.step for f in film] == sorted(f.step for f in film)
    assert {f.step for f in film} == set(range(len(STEPS)))
    style = STYLES["natural"]
    request = PixelRequest(style.bands, stage="normalized")
    values = engine.part(request, film_target(engine, engine.version.bounds)).values
    seen = (values != -32768).all(axis=0)
    low, high = style.rescale
    share = np.clip((values[:, seen] * 1e-4 - low) / (high - low), 0, 1) ** (1 / style.gamma)
    assert seen.mean() > 0.3
    assert np.abs(film[-1].picture[seen].T - 255 * share).max() <= 0.51


def test_the_file_is_an_animated_webp_with_all_frames(engine, tmp_path):
    film = list(frames(engine, engine.version.bounds))
    root = engine.version.store.url
    box = [str(v) for v in engine.version.bounds]
    done = subprocess.run(
        [TERRAZZO, "film", "--store", root, "--bbox", *box, "-o", tmp_path / "film.webp"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "film.webp") as image:
        assert image.format == "WEBP"
        assert image.n_frames == len(film)
        assert image.height == film[0].picture.shape[0] + BAR
        image.seek(image.n_frames - 1)
        image.load()


def test_an_empty_box_and_one_beside_the_mosaic_are_reported(engine):
    with pytest.raises(InvalidRequest, match="W below E"):
        next(frames(engine, Bounds(15.0, 45.0, 15.0, 46.0)))
    left, bottom, right, _ = engine.version.bounds
    with pytest.raises(OutsideCoverage, match="no scene has pixels in the box"):
        next(frames(engine, Bounds(left, bottom - 0.5, right, bottom - 0.4)))


def test_a_film_that_breaks_off_leaves_the_older_file_as_it_was(engine, tmp_path):
    def broken():
        film = frames(engine, engine.version.bounds)
        yield next(film)
        raise OSError("the disk is gone")

    (tmp_path / "film.webp").write_bytes(b"older")
    with pytest.raises(OSError, match="the disk is gone"):
        write(broken(), "", tmp_path / "film.webp")
    assert [p.name for p in tmp_path.iterdir()] == ["film.webp"]
    assert (tmp_path / "film.webp").read_bytes() == b"older"


def test_the_legend_reports_the_shares_of_the_classes_where_there_are_data(engine):
    target = film_target(engine, engine.version.bounds)
    masks = [f for f in frames(engine, engine.version.bounds) if STEPS[f.step] == "Masks"]
    days = {}
    for entry in engine.select(PixelRequest(BANDS)).entries:
        days.setdefault(entry.scene.datetime.date(), []).append(entry.scene.id)
    assert len(masks) == len(days) > 1
    for frame, day in zip(masks, sorted(days), strict=True):
        classes = engine.part(PixelRequest(BANDS, ids=tuple(days[day]), stage="mask"), target).values
        cloud = (classes == MaskClass.CLOUD).sum() / (classes > 0).sum()
        assert f"cloud {100 * cloud:.0f} %" in [name for name, _ in frame.legend]
