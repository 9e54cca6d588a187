"""The engine gives a place the same pixels whoever asks: tiles of any size, one box, or points."""

from dataclasses import replace
from datetime import date

import morecantile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrazzo.errors import InvalidRequest
from terrazzo.grid import Bounds, PixelBox
from terrazzo.mosaic.blocks import Blocks
from terrazzo.mosaic.engine import Engine, tile_target
from terrazzo.mosaic.layers import ALL
from terrazzo.mosaic.merge import merge
from terrazzo.mosaic.request import PixelRequest
from terrazzo.mosaic.warp import Target
from terrazzo.mosaic.zone import DOUBTED, HIGHEST, LAST, WHOLE, Merging
from terrazzo.store import Store
from terrazzo.version import open_version

pytestmark = pytest.mark.slow
TMS = morecantile.tms.get("WebMercatorQuad")


METHODS = st.sampled_from(["feather", "first", "mean", "median", "robust", "geomedian", "kriging"])


@settings(max_examples=8)
@given(
    method=METHODS,
    resampling=st.sampled_from(["bilinear", "nearest"]),
    zoom=st.sampled_from([8, 9, 11, 12]),
    east=st.floats(0.25, 0.75),
    south=st.floats(0.25, 0.75),
    normalize=st.booleans(),
)
def test_a_box_is_what_its_tiles_of_three_sizes_are(engine, method, resampling, zoom, east, south, normalize):
    request = PixelRequest(("B03", "B08"), method=method, resampling=resampling, normalize=normalize)
    b = engine.version.bounds
    lon, lat = b.left + east * (b.right - b.left), b.bottom + south * (b.top - b.bottom)
    tile = TMS.tile(lon, lat, zoom)
    x, y = tile.x - tile.x % 2, tile.y - tile.y % 2
    corners = [TMS.xy_bounds(morecantile.Tile(*t, zoom)) for t in ((x, y), (x + 1, y + 1))]
    bounds = Bounds(corners[0].left, corners[1].bottom, corners[1].right, corners[0].top)
    whole = engine.part(request, Target("EPSG:3857", bounds, 512, 512))
    four = {(i, j): engine.tile(request, TMS, x + j, y + i, zoom) for i in (0, 1) for j in (0, 1)}
    for name in ("values", "provenance", "quality"):
        rows = [np.concatenate([getattr(four[i, j], name) for j in (0, 1)], axis=-1) for i in (0, 1)]
        assert (np.concatenate(rows, axis=-2) == getattr(whole, name)).all(), name
    # A tile at 2x is the box at half the pixel size; a tile of 128 px the same place at twice it.
    for size in (128, 512):
        tiles = [[engine.tile(request, TMS, x + j, y + i, zoom, size).values for j in (0, 1)] for i in (0, 1)]
        joined = np.concatenate([np.concatenate(row, axis=-1) for row in tiles], axis=-2)
        part = engine.part(request, Target("EPSG:3857", bounds, 2 * size, 2 * size))
        assert (joined == part.values).all(), size


@settings(max_examples=20)
@given(
    method=METHODS,
    resampling=st.sampled_from(["bilinear", "nearest"]),
    row=st.integers(0, 255),
    col=st.integers(0, 255),
)
def test_a_point_is_its_pixel(engine, method, resampling, row, col):
    request = PixelRequest(engine.version.bands, method=method, resampling=resampling)
    target = tile_target(TMS, 1113, 728, 11)
    image = engine.part(request, target)
    dx, dy = target.resolution
    x, y = target.bounds.left + (col + 0.5) * dx, target.bounds.top - (row + 0.5) * dy
    point = engine.points(engine.select(request), "EPSG:3857", np.array([x]), np.array([y]))
    assert (point.values[:, 0, 0] == image.values[:, row, col]).all()
    assert point.entries[point.provenance[0, 0]] == image.entries[image.provenance[row, col]]


@settings(max_examples=10)
@given(method=METHODS, top=st.integers(0, 100), left=st.integers(0, 100), side=st.integers(1, 120))
def test_a_part_of_a_box_is_the_box_there(engine, method, top, left, side):
    """Also at an overview level: 480 m on a store of 60 m."""
    request = PixelRequest(("B04",), method=method)
    whole = Target("EPSG:32633", Bounds(500_160.0, 5_020_000.0, 600_000.0, 5_119_840.0), 208, 208)
    image = engine.part(request, whole)
    side = min(side, 208 - top, 208 - left)
    dx, _ = whole.resolution
    b = whole.bounds
    cut = Bounds(b.left + left * dx, b.top - (top + side) * dx, b.left + (left + side) * dx, b.top - top * dx)
    part = engine.part(request, Target("EPSG:32633", cut, side, side))
    assert (part.values == image.values[:, top : top + side, left : left + side]).all()


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("method", ["first", "feather", "robust"])
def test_pixels_of_the_zones_own_grid_are_the_merged_ones_and_beyond_all_scenes_there_are_none(
    engine, method, level
):
    request = PixelRequest(("B03", "B08"), method=method, max_cloud=90)
    selection, epsg = engine.select(request), next(iter(engine.version.zones))
    covered, grid = selection.covered(epsg, level), engine.version.store.grid(epsg)
    inside = PixelBox(covered.row0 + 3, covered.col0 + 5, covered.row0 + 259, covered.col0 + 205)
    beyond = PixelBox(covered.row0 - 7, covered.col0 - 11, covered.row0 + 100, covered.col0 + 120)
    for box in (inside, beyond):
        target = Target(f"EPSG:{epsg}", grid.bounds(PixelBox(*(v << level for v in box))), *box.shape)
        merged = engine.zone(selection, epsg, level, box).pixels
        image = engine.render(selection, target)
        assert merged is not None
        assert (image.values == merged.values).all()
        assert (image.provenance == merged.provenance).all()


def test_kriging_shows_the_asked_day_by_the_days_own_scenes(engine):
    """Of two asked days each is more like its own clear date than the other asked day is."""
    bounds = Bounds(545_000, 5_080_000, 575_000, 5_110_000)
    target = Target("EPSG:32633", bounds, 250, 250)

    def shown(**request):
        asked = PixelRequest(("B02", "B04", "B08"), fill="none", snow="keep", **request)
        values = engine.part(asked, target).values
        return np.where(values == -32768, np.nan, values.astype(float))

    days = ("2023-08-13", "2023-08-20")
    dates = [shown(datetime=d, method="first") for d in days]
    asked = [shown(target=d, method="kriging") for d in days]
    off = [[np.nanmedian(np.abs(a - d)) for d in dates] for a in asked]
    assert off[0][0] < off[1][0]
    assert off[1][1] < off[0][1]


@pytest.mark.parametrize("method", ["feather", "median", "kriging"])
@pytest.mark.parametrize("fill", ["best", "none"])
def test_two_parts_of_one_pass_count_once_also_where_they_are_doubted(engine, method, fill):
    selection = engine.select(PixelRequest(("B04",), method=method, fill=fill))
    first, second = (
        e for e in selection.entries if e.scene.datetime.day in (13, 20) and e.scene.mgrs == "33TWL"
    )
    parts = [first, replace(second, scene=replace(second.scene, datatake=first.scene.datatake))]
    box = first.scene.box.coarser(8)
    merging = Merging(engine.version, engine.blocks, selection.request, first.scene.epsg, 3)
    pixels = merging.pixels(list(enumerate(parts)), box, count_to=ALL, trusted=True).pixels
    assert set(np.unique(pixels.count)) <= {0, 1}
    assert pixels.count.any()


def test_kriging_shows_ground_where_feather_does_and_nowhere_else(engine):
    """What the rules of the reference drop counts beside clear scenes, and never alone: without the clearest date, too."""
    ids = tuple(e.scene.id for e in engine.version.entries("all") if e.scene.datetime.day != 13)
    target = Target("EPSG:32633", Bounds(499_200, 5_061_120, 610_560, 5_130_240), 300, 480)
    asked = {"bands": ("B02", "B08"), "fill": "none", "ids": ids, "resampling": "nearest"}
    one, other = (engine.part(PixelRequest(**asked, method=m), target).values for m in ("feather", "kriging"))
    assert ((one == -32768) == (other == -32768)).all()


@pytest.mark.parametrize("kept", [LAST + 1, 5, WHOLE, HIGHEST])
def test_two_missed_clouds_do_not_outvote_the_clear_scene_beside_them(engine, kept):
    """A clear scene fades towards its own cloud; two others show clouds there that their masks have missed and the reference's rules dropped."""
    request = engine.select(PixelRequest(("B02", "B08"), method="kriging")).request
    merging = Merging(engine.version, engine.blocks, request, 32633, 0)
    weight = np.array([kept, DOUBTED, DOUBTED], np.uint8)[:, None, None]
    whole = np.ones(weight.shape, np.float32)
    counted = merging.faded(merging.counted(weight), whole, whole[0])
    ground, cloud = (400, 2500), (1500, 3200)
    values = np.array([ground, cloud, cloud], np.int16)[..., None, None]
    days = np.array([-6, -1, 2], np.float32)
    shown = merge(values, counted, "kriging", days).values[:, 0, 0]
    assert np.abs(shown.astype(int) - ground).max() <= 30


def test_the_day_that_is_shown_is_the_middle_of_what_is_asked_and_a_part_of_the_requests_name(engine):
    def text(**request):
        return engine.select(PixelRequest(("B04",), **request)).request

    assert text(method="kriging", datetime="2023-08-12/2023-08-18").target == date(2023, 8, 15)
    assert "target=2023-08-14" in text(method="kriging", target="2023-08-14").text()
    assert text(method="kriging").target is not None
    assert "target" not in text(method="median").text()


@pytest.mark.parametrize(
    ("request_", "remedy"),
    [
        ({"target": "2023-08-14", "method": "median"}, "add method=kriging"),
        ({"target": "2023-08", "method": "kriging"}, "one day, such as"),
        ({"target": "2023-08-01/2023-08-03", "method": "kriging"}, "one day, such as"),
    ],
)
def test_what_is_no_day_or_goes_with_no_method_is_refused_with_what_does(engine, request_, remedy):
    with pytest.raises(InvalidRequest, match=remedy):
        engine.select(PixelRequest(("B04",), **request_))


def test_where_all_of_a_box_is_trusted_most_no_further_weight_is_read(sample_store):
    reads = []
    blocks = Blocks(on_read=lambda where, size: reads.append(size))
    engine = Engine(open_version(Store(sample_store), "mosaic"), blocks)
    selection = engine.select(PixelRequest(("B04",)))
    scene = selection.entries[0].scene
    merging = Merging(engine.version, blocks, selection.request, scene.epsg, 0)
    full = merging.weight(selection.entries[0], scene.box) == HIGHEST
    squares = full[: scene.box.height // 64 * 64, : scene.box.width // 64 * 64]
    squares = squares.reshape(scene.box.height // 64, 64, -1, 64).all(axis=(1, 3))
    row, col = np.argwhere(squares)[len(np.argwhere(squares)) // 2] * 64 + scene.box[:2]
    box = PixelBox(int(row), int(col), int(row) + 64, int(col) + 64)
    shown = selection.shown(scene.epsg, 0, box)
    assert len(shown) > 1
    blocks.empty()
    reads.clear()
    pixels = merging.pixels(shown, box, count_to=0, trusted=True).pixels
    assert (pixels.trust == HIGHEST).all()
    # The weight and the band of the scene on top.
    assert len(reads) == 2
