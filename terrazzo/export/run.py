"""Runs an export: windows first, then files; stopped anywhere, it continues where it stopped."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio

from terrazzo.bulk.lock import alone
from terrazzo.bulk.windows import Sheet, export_target, part_of, reaching, sheets, window_side
from terrazzo.errors import InvalidRequest, NameTaken, OutsideCoverage
from terrazzo.export.files import Raster, item_of, locked, rasters, tags_of, vrt, write_cog
from terrazzo.export.names import ending_of, lock_of
from terrazzo.export.order import Compression, Order
from terrazzo.export.packing import BLOCK
from terrazzo.export.pieces import Piece, Spread, holds_data, joined, piece_name, rendered
from terrazzo.export.tiles import write_tiles
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.interpolated import interpolated
from terrazzo.mosaic.measure import Chosen, choose
from terrazzo.mosaic.origin import compares
from terrazzo.mosaic.selection import adjacent
from terrazzo.mosaic.warp import Target
from terrazzo.version import Entry

GDAL_CACHE = 128
"""Megabytes that GDAL may keep of rasters while it joins windows."""
RENDERING = 0.8
"""Share of an export's work that is rendering; the rest is joining windows into files."""
PACKED = 0.85
"""Bytes of a packed window or file to those of its pixels, at most, of real scenes; 1 where nothing is packed."""
OVERVIEWS = 1 / 3


class Exported(NamedTuple):
    """What an export wrote.

    Attributes:
        path: the file to open: a COG, or the VRT of a divided export.
        files: all files, `path` first.
        share: share of the area's box that holds data, 0–1.
        scenes: ids of the scenes that show.
        problems: scenes that were left out, and why.
    """

    path: Path
    files: tuple[Path, ...]
    share: float
    scenes: tuple[str, ...]
    problems: tuple[str, ...]


class _Done(NamedTuple):
    """The record of a finished sheet."""

    filled: int
    scenes: tuple[str, ...]
    problems: tuple[str, ...]
    files: tuple[str, ...]
    spreads: tuple[Spread, ...]
    interpolated: tuple[str, ...] = ()


def export(
    engine: Engine,
    order: Order,
    path: Path,
    *,
    work: Path | None = None,
    workers: int = 1,
    described: bool = False,
    overwrite: bool = True,
) -> Iterator[float | Exported]:
    """Renders an order into COGs; yields the share that is done, and at the end what was written.

    Files hold int16 with scale 1e-4 and nodata −32768 unless the order says otherwise (`stage=raw`: the product's
    numbers, `mask`: classes), with band names, statistics, attribution, version, request and the lock's hash in their
    tags; the lock lies beside them. Each appears whole or not at all. Closing the iterator stops the export; calling it again continues it.

    Args:
        path: the bands' file; extras and the files of a divided export lie beside it under names made from its own.
        work: folder of finished windows; by default a hidden one beside `path`. It goes when all is written.
        described: whether a STAC Item is written too; of a divided export it always is.
        overwrite: whether files of these names may be replaced.

    Raises:
        InvalidRequest: the name has an ending of other files, or a part cannot be rendered as it is asked for.
        NameTaken: one of the files is there and may not be replaced.
        OutsideCoverage: no pixel of the area holds data.
        StoreError: the same export is at work already.
        OSError: the disk has too little room or the folder cannot be written.
    """
    chosen = choose(engine, order.measure)
    target = export_target(engine.version, order.area, order.crs, order.resolution)
    ending = ending_of(path, order)
    folder = work or _work_folder(engine, chosen, order, target, path)
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE), alone(folder):
        run = _Run(engine, chosen, order, target, path, ending, folder, workers, described)
        try:
            run.take_names(overwrite)
            yield from run.steps()
        except (OutsideCoverage, InvalidRequest):
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def work_folder(engine: Engine, order: Order, path: Path) -> Path:
    """Where an export to a path keeps its finished windows."""
    target = export_target(engine.version, order.area, order.crs, order.resolution)
    return _work_folder(engine, choose(engine, order.measure), order, target, path)


def _work_folder(engine: Engine, chosen: Chosen, order: Order, target: Target, path: Path) -> Path:
    return path.parent / f".{path.stem}-{_name(engine, chosen, order, target)}.parts"


def room_needed(
    targets: Sequence[Target], kinds: Sequence[Raster], compression: Compression, side: int
) -> int:
    """Bytes that files of these sizes take: themselves, and windows and overviews of the largest while it is made.

    Of windows that are smaller than a block all blocks lie in a file of their own besides, and overviews as pixels.
    """
    sizes = [t.height * t.width for t in targets]
    wide = sum(len(k.bands) * np.dtype(k.dtype).itemsize for k in kinds)
    copies = 2.3 if side < BLOCK else 1.1
    packed = 1.0 if compression == "none" else PACKED
    return int(packed * wide * (1 + OVERVIEWS) * (sum(sizes) + copies * max(sizes, default=0)))


def _name(engine: Engine, chosen: Chosen, order: Order, target: Target) -> str:
    """Twelve hexadecimal digits that name everything an export's pixels depend on."""
    area, encoding = (
        order.area.geometry,
        (
            order.encoding,
            order.compression,
            order.split,
            order.extras,
            order.picture,
        ),
    )
    what = (engine.version.name, chosen.text(), target, area, encoding)
    return hashlib.blake2b(repr(what).encode(), digest_size=6).hexdigest()


class _Reserve:
    """Room on the disk, taken before the work starts and given back as it is needed."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        # What an earlier run has finished takes its room already.
        size = max(0, size - sum(p.stat().st_size for p in path.parent.rglob("*") if p.is_file()))
        free = shutil.disk_usage(path.parent).free
        if size > free:
            raise OSError(
                28,
                f"the export needs about {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in {path.parent}: disk full",
            )
        with path.open("wb") as file:
            if size:
                os.posix_fallocate(file.fileno(), 0, size)

    def keep(self, size: int) -> None:
        """Gives back all but so many bytes."""
        if size < self._path.stat().st_size:
            os.truncate(self._path, size)


class _Run:
    """One export from its first window to its last file."""

    def __init__(
        self,
        engine: Engine,
        chosen: Chosen,
        order: Order,
        target: Target,
        path: Path,
        ending: str,
        folder: Path,
        workers: int,
        described: bool,
    ) -> None:
        self.engine, self.chosen, self.order, self.target = engine, chosen, order, target
        self.path, self.ending, self.folder = path, ending, folder
        self.workers, self.described = workers, described
        self.rasters = rasters(order, chosen)
        held = engine.planner.holding(chosen.selection)
        self.side = window_side(held, workers, compares=compares(order.extras))
        self.sheets = sheets(target, order.split)
        self.entries = {
            e.scene.id: e
            for chosen_one in (chosen.baseline, chosen.selection)
            if chosen_one is not None
            for s in (*adjacent(engine.version, chosen_one.request), engine.planner.holding(chosen_one))
            for e in reversed(s.entries)
        }
        self.lock = locked(engine.version, reaching(engine, self.entries.values(), target))
        self.vrt_ending = path.suffix if path.suffix.lower() == ".vrt" else ".vrt"

    def take_names(self, overwrite: bool) -> None:
        """Checks that no file is there that this export did not write, unless such files may be replaced.

        Raises:
            NameTaken: one is.
        """
        own = self.folder / "own"
        if not (overwrite or own.exists()):
            kinds = self.rasters
            names = [
                self._lock_name,
                *(k.file(self._stem(s), self.ending) for s in self.sheets for k in kinds),
            ]
            if self.order.split or self.described:
                names.append(f"{self.path.stem}.json")
            if self.order.split:
                names += [k.file(self.path.stem, self.vrt_ending) for k in kinds]
            there = [n for n in names if (self.path.parent / n).exists()]
            if there:
                raise NameTaken(
                    f"{self.path.parent / there[0]} exists; name another file, or replace it with --overwrite"
                )
        # From here on what is there is this export's own, even when it is stopped and goes on.
        own.touch()

    def steps(self) -> Iterator[float | Exported]:
        """The share that is done after each window and file, and what was written."""
        total, behind = self.target.height * self.target.width, 0
        finished: list[tuple[Sheet, _Done]] = []
        reserve = _Reserve(self.folder / "reserve", self._needed(self.sheets))
        for number, sheet in enumerate(self.sheets):
            size = sheet.target.height * sheet.target.width
            record = self.folder / f"{sheet.row}_{sheet.col}.json"
            if not record.exists():
                pieces: dict[str, tuple[rasterio.windows.Window, Piece]] = {}
                drawn, rest = 0, self._needed(self.sheets[number + 1 :])
                for window, piece in rendered(
                    self.engine,
                    self.chosen,
                    self.order,
                    sheet.target,
                    self._folder(sheet),
                    side=self.side,
                    workers=self.workers,
                ):
                    pieces[piece_name(window)] = (window, piece)
                    drawn += window.width * window.height
                    reserve.keep(rest + int(self._needed([sheet]) * (1 - RENDERING * drawn / size)))
                    yield (behind + RENDERING * drawn) / total
                reserve.keep(rest)
                record.with_suffix(".part").write_text(json.dumps(self._written(sheet, pieces)))
                os.replace(record.with_suffix(".part"), record)
            shutil.rmtree(self._folder(sheet), ignore_errors=True)
            finished.append((sheet, _read(record)))
            behind += size
            yield behind / total
        yield self._finished(finished)

    def _folder(self, sheet: Sheet) -> Path:
        """Of a sheet's windows; those of another side, made with more or fewer workers, are no use."""
        return self.folder / f"{sheet.row}_{sheet.col}-{self.side}"

    def _needed(self, remaining: Sequence[Sheet]) -> int:
        return room_needed([s.target for s in remaining], self.rasters, self.order.compression, self.side)

    @property
    def _lock_name(self) -> str:
        return lock_of(self.path, picture=self.order.picture is not None).name

    def _stem(self, sheet: Sheet) -> str:
        return self.path.stem + (f"_{sheet.row}_{sheet.col}" if self.order.split else "")

    def _written(self, sheet: Sheet, pieces: dict[str, tuple[rasterio.windows.Window, Piece]]) -> _Done:
        """Joins the windows of a sheet into its files."""
        held = {
            w: self._folder(sheet) / name
            for name, (w, _) in pieces.items()
            if holds_data(self._folder(sheet) / name)
        }
        kept = [p for _, p in pieces.values()]
        scenes = {s for p in kept for s in p.scenes}
        problems = tuple(dict.fromkeys(t for p in kept for t in p.problems))
        per_band = zip(*(p.spreads for p in kept if p.filled), strict=True)
        spreads = tuple(joined(band) for band in per_band)
        if not held:
            return _Done(0, (), problems, (), ())
        shown = self._shown(scenes)
        lines = self._interpolated(sheet.target, held, shown)
        tags = tags_of(self.engine.version, self.chosen, shown, self.lock, lines)
        files = []
        for raster in self.rasters:
            name = raster.file(self._stem(sheet), self.ending)
            if self.order.picture is not None:
                picture = self.order.picture
                write_tiles(raster, sheet.target, held, self.path.parent / name, tags, picture)
                files.append(name)
                continue
            inside = () if raster.layer else spreads
            write_cog(
                raster,
                sheet.target,
                held,
                self.path.parent / name,
                tags,
                inside,
                self.order.compression,
                self.side,
            )
            files.append(name)
        filled = sum(p.filled for p in kept)
        return _Done(filled, tuple(e.scene.id for e in shown), problems, tuple(files), spreads, lines)

    def _shown(self, scenes: set[str]) -> list[Entry]:
        return [e for name, e in self.entries.items() if name in scenes]

    def _interpolated(
        self, target: Target, held: Iterable[rasterio.windows.Window], shown: Sequence[Entry]
    ) -> tuple[str, ...]:
        """Why numbers of `stage=raw` in some windows of a target are not the product's own, a line each."""
        scenes, lines = [e.scene for e in shown], dict[str, None]()
        for w in held:
            part = part_of(target, w.row_off, w.col_off, w.height, w.width)
            lines |= dict.fromkeys(interpolated(self.engine, self.chosen.selection, scenes, part))
            # Their Items say it once for all windows.
            scenes = []
        return tuple(lines)

    def _finished(self, finished: list[tuple[Sheet, _Done]]) -> Exported:
        """Writes the documents that describe all files, and returns their records."""
        held = [(sheet, done) for sheet, done in finished if done.filled]
        if not held:
            raise OutsideCoverage(
                f"the area holds no data for {self.chosen.text()};"
                f" the mosaic covers {tuple(self.engine.version.bounds)}"
            )
        shown = self._shown({s for _, d in held for s in d.scenes})
        files: dict[str, tuple[Raster, Target]] = {}
        if self.order.split:
            for raster in self.rasters:
                files[raster.file(self.path.stem, self.vrt_ending)] = (raster, self.target)
                self._write_vrt(raster, held, shown)
        for sheet, _ in held:
            files |= {r.file(self._stem(sheet), self.ending): (r, sheet.target) for r in self.rasters}
        names = list(files)
        publish(self.path.parent / self._lock_name, self.lock)
        if self.order.split or self.described:
            item = item_of(
                self.engine.version, self.chosen, self.target, shown, files, self._lock_name, self.path.stem
            )
            names.append(f"{self.path.stem}.json")
            publish(self.path.parent / names[-1], json.dumps(item, indent=1))
        names.append(self._lock_name)
        share = sum(d.filled for _, d in held) / (self.target.height * self.target.width)
        problems = tuple(dict.fromkeys(t for _, d in finished for t in d.problems))
        paths = tuple(self.path.parent / n for n in names)
        return Exported(paths[0], paths, share, tuple(e.scene.id for e in shown), problems)

    def _write_vrt(self, raster: Raster, held: list[tuple[Sheet, _Done]], shown: Sequence[Entry]) -> None:
        dx, dy = self.target.resolution
        b = self.target.bounds
        sources = [
            (
                rasterio.windows.Window(
                    round((s.target.bounds.left - b.left) / dx),
                    round((b.top - s.target.bounds.top) / dy),
                    s.target.width,
                    s.target.height,
                ),
                raster.file(self._stem(s), self.ending),
            )
            for s, _ in held
        ]
        spreads = [joined(band) for band in zip(*(d.spreads for _, d in held), strict=True)]
        lines = dict.fromkeys(line for _, d in held for line in d.interpolated)
        tags = tags_of(self.engine.version, self.chosen, shown, self.lock, tuple(lines))
        text = vrt(raster, self.target, sources, tags, () if raster.layer else spreads, relative=True)
        publish(self.path.parent / raster.file(self.path.stem, self.vrt_ending), text)


def publish(path: Path, text: str) -> None:
    """Writes a text file, which appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text)
    os.replace(temporary, path)


def _read(record: Path) -> _Done:
    # What an earlier release has finished lacks the last.
    filled, scenes, problems, files, spreads, lines = (*json.loads(record.read_text()), ())[:6]
    bands = tuple(Spread(*s) for s in spreads)
    return _Done(filled, tuple(scenes), tuple(problems), tuple(files), bands, tuple(lines))
