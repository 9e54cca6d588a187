"""Of a JP2 the tiles come that a small area touches, pixel for pixel what the whole has; else the whole, which is said."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.windows import from_bounds

from terrazzo.errors import UnreadableAsset
from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.archives import find_archive
from terrazzo.precompute.acquire.download import Missing, download
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.parts import Stopped
from terrazzo.precompute.acquire.search import RemoteFile
from terrazzo.precompute.products.codestream import listed_parts, read_header, tiles_of
from tests.world.faults import Seen, proxy
from tests.world.jp2 import divided, ground, put_together, taken_apart, with_list, write_jp2
from tests.world.ranges import Ranges, range_server

LEFT, TOP = 300_000.0, 5_100_000.0
SIDES = {10: (1098, 102), 20: (1098, 128), 60: (732, 77)}
"""Pixels of an image's side and of a tile's, a tenth of a product's at 10 m: 121, 81 and 100 tiles."""


def box(metres: int, top: int, left: int, bottom: int, right: int) -> Bounds:
    """The place of rows and columns."""
    return Bounds(LEFT + left * metres, TOP - bottom * metres, LEFT + right * metres, TOP - top * metres)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """JP2 of each resolution with and without a list of their tile-parts."""
    folder, images = tmp_path_factory.mktemp("jp2"), dict[str, bytes]()
    for metres, (side, tile) in SIDES.items():
        for index in (False, True):
            path = folder / f"{metres}-{index}.jp2"
            write_jp2(path, ground((side, side), metres), metres=metres, tile=tile, index=index)
            images[path.name] = path.read_bytes()
    return images


@pytest.fixture
def server(images: dict[str, bytes]) -> Iterator[Ranges]:
    with range_server(images) as running:
        yield running


def fetched(
    address: str,
    name: str,
    part: Bounds | None,
    folder: Path,
    note: Callable[[str], None] = pytest.fail,
    stop: Event | None = None,
) -> Path:
    """The file that comes of a part."""
    file = RemoteFile("B02", f"{address}/{name}", name.partition("?")[0], None, None, part=part)
    report: list[int] = []
    download(Opener(find_archive(address)), file, folder, report.append, stop or Event(), note=note)
    (path,) = folder.iterdir()
    return path


def assert_same(path: Path, values: NDArray[np.generic], metres: int, part: Bounds) -> None:
    """A file holds the pixels of an image that a box touches, and no others."""
    with rasterio.open(path) as image:
        window = from_bounds(*image.bounds, rasterio.Affine(metres, 0, LEFT, 0, -metres, TOP))
        (top, bottom), (left, right) = ((round(a), round(b)) for a, b in window.toranges())
        assert np.array_equal(
            image.read(), values[..., top:bottom, left:right].reshape(image.count, *image.shape)
        )
        assert image.bounds == pytest.approx(part)
        assert image.crs.to_epsg() == 32633


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("metres", SIDES)
def test_the_tiles_that_a_box_touches_come_in_few_requests(
    server: Ranges, images: dict[str, bytes], tmp_path: Path, metres: int, index: bool
) -> None:
    name, area = f"{metres}-{index}.jp2", (300, 310, 590, 620)
    path = fetched(server.address, name, box(metres, *area), tmp_path)
    assert path.name == f"{name}.tif"
    assert_same(path, ground((SIDES[metres][0],) * 2, metres), metres, box(metres, *area))
    touched, rows, walked = touched_bytes(images[f"{metres}-True.jp2"], area)
    assert touched < server.bytes < 1.3 * touched
    assert len(server.given) <= 1 + rows + (0 if index else walked)


def touched_bytes(listed: bytes, area: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """Bytes of the tiles that rows and columns touch, rows of tiles, and tiles to the last of them."""
    header = read_header(listed, len(listed))
    assert header is not None
    tiles = tiles_of(header, *area)
    numbers = tiles.numbers(header.columns)
    parts = listed_parts(header)
    assert parts is not None
    touched = sum(p.end - p.start for p in parts if p.tile in numbers)
    return touched, tiles.bottom - tiles.top, max(numbers) + 1


@pytest.mark.parametrize("edge", [(0, 0, 40, 50), (1000, 1000, 1098, 1098)])
def test_a_part_at_a_corner_of_the_image_ends_there(
    server: Ranges, tmp_path: Path, edge: tuple[int, int, int, int]
) -> None:
    beyond = box(10, *(v - 5000 if v == 0 else v + 5000 if v == 1098 else v for v in edge))
    path = fetched(server.address, "10-True.jp2", beyond, tmp_path)
    assert_same(path, ground((1098, 1098), 10), 10, box(10, *edge))


@pytest.mark.parametrize("kind", ["dropped", "busy", "down"])
@pytest.mark.parametrize("index", [True, False])
def test_what_came_before_a_connection_broke_is_kept(
    server: Ranges, images: dict[str, bytes], tmp_path: Path, kind: str, index: bool
) -> None:
    area, name = (300, 310, 590, 620), f"20-{index}.jp2"
    touched = touched_bytes(images["20-True.jp2"], area)[0]

    def fault(seen: Seen) -> str | None:
        start, end = map(int, (seen.range or "bytes=0-0").removeprefix("bytes=").split("-"))
        return kind if end - start > 20_000 and seen.count % 2 else None

    with proxy(server.address, fault) as line:
        path = fetched(line.address, name, box(20, *area), tmp_path)
    assert_same(path, ground((1098, 1098), 20), 20, box(20, *area))
    assert server.bytes < (1.3 + 1) * touched
    assert sum(start == 0 for _, start, _ in server.given) == 1, "the header came once"


def test_an_image_that_is_replaced_on_the_way_is_fetched_again(
    server: Ranges, images: dict[str, bytes], tmp_path: Path
) -> None:
    other, seen = ground((1098, 1098), 77), list[Seen]()
    write_jp2(tmp_path / "other.jp2", other, metres=10, tile=102, index=True)
    (tmp_path / "here").mkdir()

    def fault(request: Seen) -> None:
        seen.append(request)
        if len(seen) == 3:
            server.files["10-True.jp2"] = (tmp_path / "other.jp2").read_bytes()

    with proxy(server.address, fault) as line:
        path = fetched(line.address, "10-True.jp2", box(10, 300, 310, 590, 620), tmp_path / "here")
    assert_same(path, other, 10, box(10, 300, 310, 590, 620))


def moved(content: bytes) -> bytes:
    """The JP2 with its image at another place of the reference grid, where tiles still begin with it."""
    head, parts = taken_apart(content)
    at = head.index(b"\xff\x51") + 6
    width, height, _, _, *tile = struct.unpack_from(">8I", head, at)
    step = tile[0]
    sides = (width + step, height + step, step, step, step, step, step, step)
    return put_together(head[:at] + struct.pack(">8I", *sides) + head[at + 32 :], parts)


def test_an_unusual_code_stream_comes_whole_and_that_is_said(
    images: dict[str, bytes], tmp_path: Path
) -> None:
    area, notes = box(20, 300, 310, 590, 620), list[str]()
    with range_server({"B05.jp2": moved(images["20-False.jp2"])}) as server:
        path = fetched(server.address, "B05.jp2", area, tmp_path, notes.append)
    why = "its image does not begin at the first tile's corner"
    assert notes == [f"{server.address}/B05.jp2 comes whole: {why}"]
    assert_same(path, ground((1098, 1098), 20), 20, area)


def test_tile_parts_of_all_tiles_in_turn_are_read_as_they_stand(
    images: dict[str, bytes], tmp_path: Path
) -> None:
    head, parts = taken_apart(images["20-False.jp2"])
    halves = [divided(part) for part in parts]
    content = put_together(head, [half[0] for half in halves] + [half[1] for half in halves])
    area = (300, 310, 590, 620)
    with range_server({"B05.jp2": content}) as server:
        path = fetched(server.address, "B05.jp2", box(20, *area), tmp_path)
    assert_same(path, ground((1098, 1098), 20), 20, box(20, *area))
    assert server.bytes < 1.3 * touched_bytes(images["20-True.jp2"], area)[0]


def test_a_list_of_tile_parts_that_is_too_short_is_not_gone_by(
    images: dict[str, bytes], tmp_path: Path
) -> None:
    head, parts = taken_apart(images["20-False.jp2"])
    area = (300, 310, 590, 620)
    with range_server({"B05.jp2": put_together(with_list(head, parts[:-1]), parts)}) as server:
        path = fetched(server.address, "B05.jp2", box(20, *area), tmp_path)
    assert_same(path, ground((1098, 1098), 20), 20, box(20, *area))
    assert server.bytes < 1.3 * touched_bytes(images["20-True.jp2"], area)[0]


def test_one_tile_comes_whole(tmp_path: Path) -> None:
    values, area, notes = ground((500, 500)), box(20, 100, 100, 200, 250), list[str]()
    write_jp2(tmp_path / "one.jp2", values, metres=20, tile=512)
    (tmp_path / "here").mkdir()
    with range_server({"B05.jp2": (tmp_path / "one.jp2").read_bytes()}) as server:
        path = fetched(server.address, "B05.jp2", area, tmp_path / "here", notes.append)
    assert notes == [f"{server.address}/B05.jp2 comes whole: it is one tile"]
    assert_same(path, values, 20, area)


def test_a_small_file_comes_whole_without_a_word(tmp_path: Path) -> None:
    values = np.stack([ground((200, 200), seed, 100) > 100 for seed in range(3)]).astype(np.uint8)
    write_jp2(tmp_path / "m.jp2", values, metres=60, tile=64)
    (tmp_path / "here").mkdir()
    with range_server({"MSK_CLASSI_B00.jp2": (tmp_path / "m.jp2").read_bytes()}) as server:
        path = fetched(server.address, "MSK_CLASSI_B00.jp2", box(60, 50, 60, 90, 130), tmp_path / "here")
    assert_same(path, values, 60, box(60, 50, 60, 90, 130))
    assert len(server.given) == 2


@pytest.mark.parametrize(("where", "why"), [("length", "do not end where they say"), ("data", "decoded")])
def test_what_is_damaged_in_the_archive_is_refused_once_the_whole_is_here(
    images: dict[str, bytes], tmp_path: Path, where: str, why: str
) -> None:
    head, parts = taken_apart(images["20-False.jp2"])
    at = 6 if where == "length" else 12
    wrong = b"\0\xff\xff\xff" if where == "length" else b"\xff\x00"
    # The first and the last tile are good, which is all that a look at a whole file sees.
    broken = [
        p if i in (0, len(parts) - 1) else p[:at] + wrong + p[at + len(wrong) :] for i, p in enumerate(parts)
    ]
    notes = list[str]()
    with (
        range_server({"B05.jp2": put_together(head, broken)}) as server,
        pytest.raises(UnreadableAsset, match=r"B05\.jp2 is (not used: its tiles cannot be decoded|damaged)"),
    ):
        fetched(server.address, "B05.jp2", box(20, 300, 310, 590, 620), tmp_path, notes.append)
    assert len(notes) == 1
    assert why in notes[0]
    assert not list(tmp_path.iterdir())


def test_a_file_that_the_archive_lacks_is_missing(server: Ranges, tmp_path: Path) -> None:
    with pytest.raises(Missing):
        fetched(server.address, "B99.jp2", box(20, 300, 310, 590, 620), tmp_path)


def test_an_item_that_says_another_size_is_not_believed(
    server: Ranges, images: dict[str, bytes], tmp_path: Path
) -> None:
    part, size = box(20, 300, 310, 590, 620), len(images["20-True.jp2"])
    file = RemoteFile("B05", f"{server.address}/20-True.jp2", "20-True.jp2", size + 1, None, part=part)
    with pytest.raises(UnreadableAsset, match=f"has {size} bytes where its Item says {size + 1}"):
        download(Opener(find_archive(server.address)), file, tmp_path, lambda size: None, Event())
    assert server.bytes < 0.1 * size


def test_a_link_with_a_signature_is_used_for_every_range(server: Ranges, tmp_path: Path) -> None:
    area = box(20, 300, 310, 590, 620)
    with proxy(server.address) as line:
        path = fetched(line.address, "20-True.jp2?sig=abc", area, tmp_path)
    assert {seen.path for seen in line.seen} == {"/20-True.jp2?sig=abc"}
    assert_same(path, ground((1098, 1098), 20), 20, area)


def test_weak_etags_keep_no_part_away(server: Ranges, tmp_path: Path) -> None:
    server.weak, area = True, box(20, 300, 310, 590, 620)
    path = fetched(server.address, "20-True.jp2", area, tmp_path)
    assert_same(path, ground((1098, 1098), 20), 20, area)


@pytest.mark.parametrize("added", [[-40], [0, -3000], [0, 60]])
def test_an_answer_that_is_shorter_or_longer_than_it_says_is_asked_for_again(
    server: Ranges, tmp_path: Path, added: list[int]
) -> None:
    server.added, area = added, box(20, 300, 310, 590, 620)
    path = fetched(server.address, "20-True.jp2", area, tmp_path)
    assert not server.added
    assert_same(path, ground((1098, 1098), 20), 20, area)


def test_an_image_that_comes_whole_for_want_of_parts_is_cut_here(server: Ranges, tmp_path: Path) -> None:
    server.parts, area, notes = False, box(20, 300, 310, 590, 620), list[str]()
    with proxy(
        server.address, lambda seen: "dropped" if len(notes) == 1 and seen.count == 1 else None
    ) as line:
        path = fetched(line.address, "20-True.jp2", area, tmp_path, notes.append)
    assert notes == [f"{line.address}/20-True.jp2 comes whole: its server gives no parts of files"]
    assert_same(path, ground((1098, 1098), 20), 20, area)


def test_a_run_that_ends_on_the_way_leaves_nothing(server: Ranges, tmp_path: Path) -> None:
    stop, asked = Event(), list[Seen]()

    def fault(seen: Seen) -> None:
        asked.append(seen)
        if len(asked) == 3:
            stop.set()

    with proxy(server.address, fault) as line, pytest.raises(Stopped):
        fetched(line.address, "20-True.jp2", box(20, 300, 310, 590, 620), tmp_path, stop=stop)
    assert not list(tmp_path.iterdir())
