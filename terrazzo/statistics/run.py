"""Writes statistics of areas: group by group into parts, then one table; stopped anywhere, it continues where it stopped."""

import hashlib
import json
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrazzo.bulk.lock import alone
from terrazzo.checks import understood
from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import Chosen
from terrazzo.statistics.answers import answers, chosen_of, statistic_names
from terrazzo.statistics.areas import Areas
from terrazzo.statistics.places import groups
from terrazzo.statistics.question import Question
from terrazzo.stop import STOP
from terrazzo.words import counted

BEAT = 1.0
"""Seconds between checks of whether the caller still waits for a large area."""
FORM = 2
"""Of the parts of a table: another one is not gone on with."""


class Tabled(NamedTuple):
    """A written table.

    Attributes:
        problems: scenes that were left out, and why.
        empty: how many areas have no pixels in any row, by reason.
    """

    path: Path
    rows: int
    areas: int
    problems: tuple[str, ...]
    empty: Mapping[str, int]

    def summary(self) -> str:
        """Rows and areas, and in the same line how many have no pixels, and why."""
        text = f"{counted(self.rows, 'row')} of {counted(self.areas, 'area')}"
        if self.empty:
            reasons = ", ".join(f"{number} {why}" for why, number in self.empty.items())
            text += f"; {sum(self.empty.values())} without pixels: {reasons}"
        return text


def statistics(
    engine: Engine,
    question: Question,
    areas: Areas,
    path: Path,
    *,
    work: Path | None = None,
    workers: int = 1,
) -> Iterator[float | Tabled]:
    """Writes a table of one row for each area, period and band or expression; yields the share that is done, then the table.

    Rows come by place, an area's rows together; `reason` says why one has no pixels. Closing the iterator stops; calling it again continues.

    Args:
        path: `.parquet` or `.geoparquet` for GeoParquet with the areas' geometry as it was given; `.csv` without it.
        work: folder of finished groups; by default a hidden one beside `path`. It goes when all is written.

    Raises:
        InvalidRequest: the question cannot be answered; the message says why.
        StoreError: the same table is being made already.
    """
    if path.suffix not in (".parquet", ".geoparquet", ".csv"):
        raise InvalidRequest(f"{path.name}: name the table .parquet, .geoparquet or .csv")
    chosen = chosen_of(engine, question)
    parts = groups(areas, engine.version)
    folder = work or path.parent / f".{path.stem}-{_name(engine, question, chosen, areas)}.parts"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        for number in _finished(engine, question, chosen, areas, parts, folder, workers):
            yield 0.95 * (number + 1) / len(parts)
        yield _joined(areas, len(parts), folder, path, partial(_about, engine, question, chosen))
        shutil.rmtree(folder)


def _name(engine: Engine, question: Question, chosen: Mapping[str, Chosen], areas: Areas) -> str:
    """Twelve hexadecimal digits that name everything a table depends on."""
    hashed = hashlib.blake2b(digest_size=6)
    about = (
        FORM,
        engine.version.name,
        question,
        [c.text() for c in chosen.values()],
        areas.id_name,
        areas.crs.to_wkt(),
    )
    hashed.update(repr(about).encode())
    for column in (areas.geometry, areas.ids):
        for buffer in column.buffers():
            if buffer is not None:
                hashed.update(buffer)
    return hashed.hexdigest()


def _finished(
    engine: Engine,
    question: Question,
    chosen: Mapping[str, Chosen],
    areas: Areas,
    parts: Sequence[NDArray[np.int64]],
    folder: Path,
    workers: int,
) -> Iterator[int]:
    """The numbers of groups as their parts are finished, in order, the next one's while it is waited for; at most `workers` + 1
    are in memory."""
    stop = threading.Event()

    def work(numbers: NDArray[np.int64], place: Path) -> None:
        STOP.set(stop)
        _part(engine, question, chosen, areas, numbers, place)

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[None]] = deque()
        done = -1
        try:
            for number, numbers in enumerate(parts):
                place = folder / f"{number}.parquet"
                waiting.append(pool.submit(copy_context().run, work, numbers, place))
                while len(waiting) > (0 if number == len(parts) - 1 else workers):
                    for _ in _beats(waiting[0]):
                        yield done
                    waiting.popleft()
                    done += 1
                    yield done
        finally:
            stop.set()


def _beats(future: Future[None]) -> Iterator[None]:
    """Waits for a part; comes back every `BEAT` seconds."""
    while True:
        try:
            future.result(BEAT)
            return
        except TimeoutError:
            if future.done():
                raise
            yield


def _part(
    engine: Engine,
    question: Question,
    chosen: Mapping[str, Chosen],
    areas: Areas,
    numbers: NDArray[np.int64],
    path: Path,
) -> None:
    """Writes the rows of a group, unless they are there."""
    if path.exists():
        return
    answered, names = answers(engine, question, chosen, areas, numbers), question.measure.names
    columns = {
        "number": pa.array(np.repeat(numbers, len(chosen) * len(names))),
        "period": _repeated([p for p in chosen for _ in names], len(numbers)),
        "name": _repeated(list(names) * len(chosen), len(numbers)),
        **{
            name: pa.array(answered.table[..., i].ravel(), from_pandas=True)
            for i, name in enumerate(statistic_names(question))
        },
        **{
            name: pa.array(values.ravel().repeat(len(names)), from_pandas=True)
            for name, values in answered.shares.items()
        },
        "version": _repeated([engine.version.name], answered.table[..., 0].size),
        "reason": pa.array(answered.why().ravel(), pa.string()).dictionary_encode(),
    }
    temporary = path.with_suffix(".part")
    noted = {"scenes": json.dumps(answered.scenes), "problems": json.dumps(answered.problems)}
    pq.write_table(pa.table(columns).replace_schema_metadata(noted), temporary, compression="zstd")
    os.replace(temporary, path)


def _repeated(texts: list[str], times: int) -> pa.DictionaryArray:
    kinds = list(dict.fromkeys(texts))
    numbers = np.tile(np.array([kinds.index(t) for t in texts], np.int32), times)
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(kinds))


def _about(
    engine: Engine, question: Question, chosen: Mapping[str, Chosen], scenes: Iterable[str]
) -> dict[str, str]:
    """What a table says of itself, from the scenes that show in it."""
    version, ids = engine.version, set(scenes)
    shown = [e for p in version.periods for e in version.entries(p) if e.scene.id in ids]
    return {
        "terrazzo:mosaic": version.mosaic_id,
        "terrazzo:version": version.name,
        "terrazzo:requests": json.dumps({p: c.text() for p, c in chosen.items()}),
        "terrazzo:rule": question.rule,
        "attribution": version.attribution_of(shown),
        **({"license": version.config.licence} if version.config.licence else {}),
    }


def _joined(
    areas: Areas, count: int, folder: Path, path: Path, about: Callable[[Iterable[str]], dict[str, str]]
) -> Tabled:
    """One table of all parts, a row group each; it appears whole or not at all."""
    whole, places = path.with_name(f".{path.name}.part"), [folder / f"{n}.parquet" for n in range(count)]
    with understood(f"{folder}, which holds the table's parts,"):
        noted = [pq.read_schema(p).metadata for p in places]
        scenes, problems = (
            dict.fromkeys(t for n in noted for t in json.loads(n[k])) for k in (b"scenes", b"problems")
        )
    metadata = {**about(scenes), "geo": json.dumps(_geo(areas))}
    rows, writer, id_name, empty = 0, None, areas.id_name, Counter[str]()
    for place in places:
        part = pq.read_table(place)
        numbers = part["number"].combine_chunks()
        empty += _empty(part)
        part = part.drop_columns(["number"])
        if id_name in (*part.column_names, "geometry"):
            id_name = f"area_{id_name}"
        part = part.add_column(0, id_name, areas.ids.take(numbers))
        if path.suffix == ".csv":
            part = pa.table({name: _plain(part[name]) for name in part.column_names})
            writer = writer or pa.csv.CSVWriter(whole, part.schema)
        else:
            part = part.append_column("geometry", areas.geometry.take(numbers)).replace_schema_metadata(
                metadata
            )
            writer = writer or pq.ParquetWriter(whole, part.schema, compression="zstd")
        writer.write_table(part)
        rows += len(part)
    if writer is None:
        raise InvalidRequest("there are no areas")
    writer.close()
    os.replace(whole, path)
    return Tabled(path, rows, len(areas.geometry), tuple(problems), empty)


def _empty(part: pa.Table) -> Counter[str]:
    """How many areas of a part have no pixels in any of their rows, by the reason of the first."""
    each = len(part) // pc.count_distinct(part["number"]).as_py()
    nothing = (part["count"].to_numpy().reshape(-1, each) == 0).all(axis=1)
    return Counter(part["reason"].take(pa.array(np.flatnonzero(nothing) * each)).to_pylist())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _geo(areas: Areas) -> dict[str, Any]:
    """The metadata that make a Parquet file GeoParquet."""
    column = {"encoding": "WKB", "geometry_types": [], "crs": areas.crs.to_json_dict()}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
