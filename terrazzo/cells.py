"""Content hashes of windows: what a cached tile's key is made of.

A cell is a window's hash over everything that determines its pixels: the scenes that cover it in order,
their revisions, weights and gains there. A version holds them as dense arrays, one a zone and period, so
the hash of any box of windows is one pass over a small slice.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from terrazzo.grid import PixelBox, Window

DIGEST = 16
SCHEMA = pa.schema(
    [
        ("period", pa.string()),
        ("epsg", pa.int32()),
        ("wy", pa.int32()),
        ("wx", pa.int32()),
        ("hash", pa.binary(DIGEST)),
    ]
)


def digest(*parts: bytes) -> bytes:
    """16-byte BLAKE2b of length-prefixed parts, so that no two lists of parts collide by concatenation."""
    h = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.digest()


@dataclass(frozen=True)
class CellGrid:
    """Hashes of a rectangle of windows of one zone.

    Attributes:
        origin: the first window.
        hashes: (wy, wx, 2) uint64, 0 where no scene lies.
    """

    origin: Window
    hashes: NDArray[np.uint64]

    def over(self, windows: PixelBox) -> bytes:
        """Hash of the windows of a box of window indices; empty where no scene lies in any of them."""
        ny, nx = self.hashes.shape[:2]
        held = PixelBox(self.origin.wy, self.origin.wx, self.origin.wy + ny, self.origin.wx + nx)
        common = windows.intersection(held)
        if common.empty:
            return b""
        part = self.hashes[common.within(held)]
        there = part.any(axis=2)
        if not there.any():
            return b""
        # Only up to the outermost scenes: how far the zone's others reach must change no hash.
        rows, cols = np.nonzero(there)
        r0, r1, c0, c1 = int(rows.min()), int(rows.max()), int(cols.min()), int(cols.max())
        at = (common.row0 + r0, common.col0 + c0)
        inner = np.ascontiguousarray(part[r0 : r1 + 1, c0 : c1 + 1], "<u8")
        return digest(np.array(at, "<i8").tobytes(), repr(inner.shape).encode(), inner.tobytes())

    def windows(self) -> dict[Window, bytes]:
        """The hash of every window in which scenes lie."""
        return {
            Window(self.origin.wy + int(y), self.origin.wx + int(x)): self.hashes[y, x].tobytes()
            for y, x in zip(*np.nonzero(self.hashes.any(axis=2)), strict=True)
        }


def to_table(cells: Mapping[tuple[str, int], Mapping[Window, bytes]]) -> pa.Table:
    """The rows of cells.parquet from {(period, epsg): {window: hash}}, in a fixed order."""
    rows = [
        {"period": period, "epsg": epsg, "wy": w.wy, "wx": w.wx, "hash": h}
        for (period, epsg), windows in sorted(cells.items())
        for w, h in sorted(windows.items())
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def from_table(table: pa.Table) -> dict[tuple[str, int], CellGrid]:
    """The dense cell grids by period and zone."""
    if not table.num_rows:
        return {}
    # As columns: a large mosaic has millions of rows, and Python objects for each would take gigabytes.
    named = table.column("period").combine_chunks().dictionary_encode()
    names, period = named.dictionary.to_pylist(), named.indices.to_numpy()
    epsg, wy, wx = (table.column(n).to_numpy() for n in ("epsg", "wy", "wx"))
    values = np.concatenate([_hashes(chunk) for chunk in table.column("hash").chunks])
    # Rows lie together by period and zone, as to_table writes them.
    changes = np.flatnonzero((period[1:] != period[:-1]) | (epsg[1:] != epsg[:-1])) + 1
    found: dict[tuple[str, int], CellGrid] = {}
    for first, end in pairwise([0, *changes.tolist(), len(epsg)]):
        rows = slice(first, end)
        found[names[period[first]], int(epsg[first])] = _dense(wy[rows], wx[rows], values[rows])
    return found


def _hashes(chunk: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    """(n, 2) uint64 of an array of hashes, without copying it."""
    whole = np.frombuffer(chunk.buffers()[1], "<u8").reshape(-1, 2)
    return whole[chunk.offset : chunk.offset + len(chunk)]


def _dense(wy: NDArray[np.int64], wx: NDArray[np.int64], values: NDArray[np.uint64]) -> CellGrid:
    hashes = np.zeros((wy.max() - wy.min() + 1, wx.max() - wx.min() + 1, 2), np.uint64)
    hashes[wy - wy.min(), wx - wx.min()] = values
    return CellGrid(Window(int(wy.min()), int(wx.min())), hashes)
