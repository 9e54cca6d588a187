"""Some tiles of a JP2 become a JP2 of their own, pixel for pixel what the whole has there."""

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from terrazzo.precompute.products.codestream import (
    PART_END,
    Header,
    TilePart,
    Unusual,
    chosen,
    is_complete,
    listed_parts,
    part_header,
    part_start,
    read_header,
    read_tile_part,
    runs,
    tiles_of,
)
from tests.world.jp2 import divided, ground, put_together, taken_apart, with_list, with_segment, write_jp2

SHAPE, TILE, CORNER, METRES = (230, 300), 48, (300_000.0, 5_100_000.0), 10.0
"""48 is no power of two, as 640 and 192 of products are not: wavelets and code blocks begin anywhere in a tile."""


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A JP2 of 5 × 7 tiles without a list of them."""
    path = tmp_path_factory.mktemp("jp2") / "whole.jp2"
    return write_jp2(path, ground(SHAPE), metres=METRES, tile=TILE, corner=CORNER).read_bytes()


def walked(content: bytes, header: Header) -> tuple[TilePart, ...]:
    """All tile-parts by their own headers."""
    parts, at = list[TilePart](), header.first
    while (part := read_tile_part(content[at : at + 12], at, header)) is not None:
        parts.append(part)
        at = part.end
    return tuple(parts)


def header_of(content: bytes) -> Header:
    header = read_header(content, len(content))
    assert header is not None
    return header


def cut(content: bytes, top: int, left: int, bottom: int, right: int) -> tuple[bytes, int, int]:
    """A JP2 of the tiles that pixels touch; the row and column of the whole at which it begins."""
    header = header_of(content)
    tiles = tiles_of(header, top, left, bottom, right)
    parts = chosen(listed_parts(header) or walked(content, header), numbers := tiles.numbers(header.columns))
    assert {p.tile for p in parts} == set(numbers)
    row, col = tiles.top * header.tile_height, tiles.left * header.tile_width
    corner = Affine(METRES, 0, CORNER[0] + col * METRES, 0, -METRES, CORNER[1] - row * METRES)
    with MemoryFile() as memory:
        profile = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
        memory.open(**profile, crs="EPSG:32633", transform=corner).close()
        head = part_header(header, tiles, bytes(memory.read()))
    body = b"".join(
        part_start(p, tiles, header.columns, sum(q.tile == p.tile for q in parts))
        + content[p.start + 12 : p.end]
        for p in parts
    )
    return head + body + PART_END, row, col


@settings(max_examples=40, deadline=None)
@given(data=st.data(), form=st.sampled_from([None, 0x00, 0x10, 0x20, 0x40, 0x50, 0x60]), two=st.booleans())
def test_a_part_has_the_pixels_and_the_place_of_the_whole(
    content: bytes, data: st.DataObject, form: int | None, two: bool
) -> None:
    top = data.draw(st.integers(0, SHAPE[0] - 1))
    left = data.draw(st.integers(0, SHAPE[1] - 1))
    bottom, right = data.draw(st.integers(top + 1, SHAPE[0])), data.draw(st.integers(left + 1, SHAPE[1]))
    head, parts = taken_apart(content)
    if two and form not in (0x00, 0x40):
        parts = [half for part in parts for half in divided(part)]
    whole = put_together(head if form is None else with_list(head, parts, form), parts)
    jp2, row, col = cut(whole, top, left, bottom, right)
    with MemoryFile(jp2) as memory, memory.open() as part:
        values = part.read(1)
        assert part.driver == "JP2OpenJPEG"
        assert part.crs.to_epsg() == 32633
        assert part.transform == Affine(
            METRES, 0, CORNER[0] + col * METRES, 0, -METRES, CORNER[1] - row * METRES
        )
    rows, cols = values.shape
    assert row <= top < bottom <= row + rows
    assert col <= left < right <= col + cols
    assert rows < bottom - top + 2 * TILE
    assert cols < right - left + 2 * TILE
    assert np.array_equal(values, ground(SHAPE)[row : row + rows, col : col + cols])


def test_a_part_of_several_bands_has_them_all(tmp_path: Path) -> None:
    values = np.stack([ground((200, 200), seed, 200) for seed in range(3)]).astype(np.uint8)
    whole = write_jp2(tmp_path / "w.jp2", values, metres=METRES, tile=64, corner=CORNER, index=True)
    jp2, row, col = cut(whole.read_bytes(), 70, 70, 190, 100)
    (tmp_path / "part.jp2").write_bytes(jp2)
    with rasterio.open(tmp_path / "part.jp2") as part:
        assert np.array_equal(part.read(), values[:, row : row + part.height, col : col + part.width])


def test_the_list_of_gdal_says_what_the_tile_parts_say(tmp_path: Path) -> None:
    path = write_jp2(tmp_path / "w.jp2", ground(SHAPE), metres=METRES, tile=TILE, index=True)
    header = header_of(path.read_bytes())
    assert listed_parts(header) == walked(path.read_bytes(), header)
    assert (header.columns, header.rows) == (7, 5)


def test_a_header_is_asked_for_until_it_is_whole(content: bytes) -> None:
    first = header_of(content).first
    assert all(read_header(content[:n], len(content)) is None for n in range(first + 12))
    assert read_header(content[: first + 12], len(content)) == header_of(content)


@pytest.mark.parametrize("wrong", [-1, 1, 5000])
def test_a_list_that_does_not_fill_the_code_stream_is_none(content: bytes, wrong: int) -> None:
    head, parts = taken_apart(content)
    first = parts[0] + bytes(wrong) if wrong > 0 else parts[0][:wrong]
    assert listed_parts(header_of(put_together(with_list(head, [first, *parts[1:]]), parts))) is None
    assert listed_parts(header_of(put_together(head, parts))) is None


def test_a_walk_ends_where_the_last_part_of_the_tiles_is_known(content: bytes) -> None:
    head, parts = taken_apart(content)
    whole = put_together(head, [half for part in parts for half in divided(part)])
    known = walked(whole, header_of(whole))
    needed = next(n for n in range(len(known)) if is_complete(known[:n], [3, 8]))
    assert known[needed - 1][:3] == (8, 1, 2)
    untold = [p._replace(of=0) for p in known]
    assert not is_complete(untold, [3])


def test_tile_parts_beside_each_other_are_one_request(content: bytes) -> None:
    parts = walked(content, header_of(content))
    assert runs(parts) == [(parts[0].start, parts[-1].end)]
    assert runs([*parts[2:4], *parts[9:11]]) == [
        (parts[2].start, parts[3].end),
        (parts[9].start, parts[10].end),
    ]


def test_a_last_tile_part_of_open_length_goes_to_the_end(content: bytes) -> None:
    head, parts = taken_apart(content)
    parts[-1] = parts[-1][:6] + bytes(4) + parts[-1][10:]
    jp2, row, col = cut(put_together(head, parts), 200, 260, 230, 300)
    with MemoryFile(jp2) as memory, memory.open() as part:
        assert np.array_equal(part.read(1), ground(SHAPE)[row:, col:])


def unusual(content: bytes) -> dict[str, bytes]:
    """Code streams of which no part is cut, by why."""
    head, parts = taken_apart(content)
    halves = [half for part in parts for half in divided(part)]
    broken = [parts[0][:6] + struct.pack(">I", len(parts[0]) - 7) + parts[0][10:], *parts[1:]]
    long = [parts[0][:6] + struct.pack(">I", 1 << 30) + parts[0][10:], *parts[1:]]
    size = head.index(b"\xff\x51")
    offset = head[: size + 14] + struct.pack(">I", 4) + head[size + 18 :]
    return {
        "packet headers stand together": put_together(with_segment(head, 0xFF60, b"\0\0\0\0\0"), parts),
        "not in order": put_together(head, [halves[1], halves[0], *halves[2:]]),
        "do not end where they say": put_together(head, broken),
        "not end where they say": put_together(head, long),
        "is missing": put_together(head, parts[1:]),
        "first tile's corner": put_together(offset, parts),
        "no JP2": b"II*\0" + bytes(len(content)),
        "no code stream": head[: head.index(b"jp2c") - 4],
        "boxes do not end": b"\0\0\0\x0c" + content[4:12] + bytes([0, 0, 0, 3]) + content[16:],
        "begin where it says": content.replace(b"\xff\x4f\xff\x51", b"\xff\x4e\xff\x51"),
        "damaged": put_together(head[: size + 43] + bytes(4) + head[size + 47 :], parts),
    }


WHYS = (
    "packet headers stand together", "not in order", "do not end where they say", "not end where they say", "is missing",
    "first tile's corner", "no JP2", "no code stream", "boxes do not end", "begin where it says", "damaged",
)  # fmt: skip


@pytest.mark.parametrize("why", WHYS)
def test_of_an_unusual_code_stream_no_part_is_cut(content: bytes, why: str) -> None:
    with pytest.raises(Unusual, match=why):
        cut(unusual(content)[why], 0, 0, 10, 10)


def test_one_tile_has_no_parts(tmp_path: Path) -> None:
    path = write_jp2(tmp_path / "one.jp2", ground((60, 60)), metres=METRES, tile=64)
    with pytest.raises(Unusual, match="one tile"):
        header_of(path.read_bytes())


@settings(max_examples=300, deadline=None)
@given(
    at=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.floats(0, 1),
)
def test_whatever_is_damaged_is_called_unusual_or_stays_within_the_file(
    content: bytes, at: list[tuple[float, int]], keep: float
) -> None:
    first = header_of(content).first
    damaged = bytearray(content)
    for share, value in at:
        damaged[int(share * (first + 24))] = value
    size = max(1, int(keep * len(damaged)) if keep < 0.5 else len(damaged))
    short = bytes(damaged[:size])
    try:
        header = read_header(short, size)
        if header is None:
            return
        parts = listed_parts(header) or walked(short, header)
        held = chosen(parts, sorted({p.tile for p in parts}))
    except Unusual:
        return
    assert all(header.first <= p.start < p.end <= header.end <= size for p in held)
    assert all(p.end - p.start >= 14 for p in held)
