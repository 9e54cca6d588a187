"""Tells statistics of areas: group by group into parts, then one table; stopped anywhere, it goes on where it was."""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrazzo.bands import NODATA, SCALE
from terrazzo.bulk.lock import alone
from terrazzo.bulk.windows import window_side, windows
from terrazzo.checks import understood
from terrazzo.config import day_interval
from terrazzo.errors import InvalidRequest
from terrazzo.mosaic.engine import FILLED, Engine
from terrazzo.mosaic.measure import Chosen, choose, draw
from terrazzo.mosaic.origin import days
from terrazzo.mosaic.warp import Target
from terrazzo.mosaic.zone import LAST_RESORT
from terrazzo.statistics.areas import Areas, group, groups
from terrazzo.statistics.question import Question
from terrazzo.statistics.zonal import MEASURES, Cover, cover, summaries

MOST_SAMPLES = 64 << 20
"""Pixels of a group times channels that are in memory at once, for each thread."""
SHARES = ("clear_share", "filled_share", "age_days")
EPOCH = date(1970, 1, 1)


class Tabled(NamedTuple):
    """A written table.

    Attributes:
        problems: scenes that were left out, and why.
    """

    path: Path
    rows: int
    areas: int
    problems: tuple[str, ...]


class PixelLayers(NamedTuple):
    """Pixels of a target.

    Attributes:
        values: (channel, row, col) float32 reflectance or values of an expression, NaN without data.
        seen, filled, clear: (row, col) where a scene shows; where it is another period's; where it is one's own and clear.
        day: (row, col) days since 1970 of the scene that shows; where there is one.
        scenes: ids of the scenes that show.
    """

    values: NDArray[np.float32]
    seen: NDArray[np.bool_]
    filled: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    day: NDArray[np.float32]
    scenes: tuple[str, ...]
    problems: tuple[str, ...]


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

    Rows come by place, an area's rows together. Closing the iterator stops; the same call again goes on.

    Args:
        path: `.parquet` or `.geoparquet` for GeoParquet with the areas' geometry as it was given; `.csv` without it.
        work: folder of finished groups; by default a hidden one beside `path`. It goes when all is written.

    Raises:
        InvalidRequest: the question cannot be answered; the message tells why.
        StoreError: the same table is being made already.
    """
    if path.suffix not in (".parquet", ".geoparquet", ".csv"):
        raise InvalidRequest(f"{path.name}: name the table .parquet, .geoparquet or .csv")
    chosen = chosen_of(engine, question)
    parts = groups(areas, engine.version)
    folder = work or path.parent / f".{path.stem}-{_name(engine, question, chosen, areas)}.parts"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        for number in _made(engine, question, chosen, areas, parts, folder, workers):
            yield 0.95 * (number + 1) / len(parts)
        yield _joined(areas, len(parts), folder, path, partial(_about, engine, question, chosen))
        shutil.rmtree(folder)


def chosen_of(engine: Engine, question: Question) -> dict[str, Chosen]:
    """The scenes of each period.

    Raises:
        InvalidRequest: a value is unknown.
    """
    measure = question.measure
    return {
        p: choose(engine, replace(measure, pixels=replace(measure.pixels, datetime=p)))
        for p in question.periods
    }


def shares(layers: PixelLayers, covered: Cover, last: int) -> dict[str, NDArray[np.float64]]:
    """By name, (area,): share of an area that is clear, share that was filled, mean age in days of what shows; NaN without pixels.

    Args:
        last: day, since 1970, that ages are counted from.
    """
    cells = covered.cells
    total, seen = covered.sums(np.ones(len(cells))), layers.seen.ravel()[cells]
    age = np.where(seen, last - layers.day.ravel()[cells], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "clear_share": covered.sums(layers.clear.ravel()[cells]) / total,
            "filled_share": covered.sums(layers.filled.ravel()[cells]) / total,
            "age_days": covered.sums(age) / covered.sums(seen),
        }


def layers_of(engine: Engine, chosen: Chosen, target: Target) -> PixelLayers:
    """The pixels of a target, rendered in windows."""
    channels, pixels = len(chosen.measure.names), target.height * target.width
    if channels * pixels > MOST_SAMPLES:
        raise InvalidRequest(
            f"areas whose box holds {pixels} px in {channels} bands: at most {MOST_SAMPLES} values; ask for fewer bands or divide them"
        )
    values = np.empty((channels, *target.shape), np.float32)
    seen, filled, clear = (np.empty(target.shape, np.bool_) for _ in range(3))
    day, scenes, problems = np.empty(target.shape, np.float32), list[str](), list[str]()
    for window, part in windows(target, window_side(chosen.selection, 1)):
        drawn = draw(chosen, partial(engine.render, target=part))
        here = (
            slice(window.row_off, window.row_off + window.height),
            slice(window.col_off, window.col_off + window.width),
        )
        own = drawn.values
        values[:, *here] = own if own.dtype.kind == "f" else np.where(own == NODATA, np.nan, own * SCALE)
        seen[here] = drawn.image.provenance >= 0
        filled[here] = seen[here] & (drawn.image.quality & FILLED > 0)
        clear[here] = seen[here] & (drawn.image.quality & (FILLED | LAST_RESORT) == 0)
        day[here] = days(drawn.image)[np.maximum(drawn.image.provenance, 0)]
        scenes += [e.scene.id for e in drawn.shown]
        problems += drawn.problems
    return PixelLayers(
        values, seen, filled, clear, day, tuple(dict.fromkeys(scenes)), tuple(dict.fromkeys(problems))
    )


def last_day(chosen: Chosen, engine: Engine) -> int:
    """The last day, since 1970, of a selection's time: that of what was asked for, or of its period."""
    request = chosen.selection.request
    last = day_interval(request.datetime)[1] if request.datetime else None
    return ((last or engine.version.periods[request.period].end) - EPOCH).days


def _name(engine: Engine, question: Question, chosen: Mapping[str, Chosen], areas: Areas) -> str:
    """Twelve hexadecimal digits that name everything a table depends on."""
    hashed = hashlib.blake2b(digest_size=6)
    about = (
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


def _made(
    engine: Engine,
    question: Question,
    chosen: Mapping[str, Chosen],
    areas: Areas,
    parts: Sequence[NDArray[np.int64]],
    folder: Path,
    workers: int,
) -> Iterator[int]:
    """The numbers of groups as their parts are finished, in order; at most `workers` + 1 are in memory."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[None]] = deque()
        done = 0
        for number, numbers in enumerate(parts):
            place = folder / f"{number}.parquet"
            waiting.append(pool.submit(_part, engine, question, chosen, areas, numbers, place))
            if len(waiting) > workers:
                waiting.popleft().result()
                yield done
                done += 1
        for future in waiting:
            future.result()
            yield done
            done += 1


class Answers(NamedTuple):
    """What is told of areas.

    Attributes:
        table: (area, period, channel, statistic) in the order of `statistic_names`.
        shares: by name, (area, period), as `shares` gives.
        scenes: ids of the scenes that show.
    """

    table: NDArray[np.float64]
    shares: dict[str, NDArray[np.float64]]
    scenes: tuple[str, ...]
    problems: tuple[str, ...]


def answers(
    engine: Engine,
    question: Question,
    chosen: Mapping[str, Chosen],
    areas: Areas,
    numbers: NDArray[np.int64],
) -> Answers:
    """Statistics of areas that lie near each other, for each period of `chosen`."""
    here = group(areas, engine.version, numbers)
    quantiles = [0.5, *(p / 100 for p in question.percentiles)]
    shape = (len(numbers), len(chosen))
    table = np.full((*shape, len(question.measure.names), len(MEASURES) + len(quantiles)), np.nan)
    table[..., 0] = 0
    per_area = {k: np.full(shape, np.nan) for k in SHARES}
    scenes, problems = list[str](), list[str]()
    if here is not None:
        covered = cover(here.polygons, here.target, question.rule)
        for i, one in enumerate(chosen.values()):
            layers = layers_of(engine, one, here.target)
            table[:, i] = summaries(
                layers.values, here.polygons, covered, here.target, quantiles, question.rule
            )
            for name, values in shares(layers, covered, last_day(one, engine)).items():
                per_area[name][:, i] = values
            scenes += layers.scenes
            problems += layers.problems
    return Answers(table, per_area, tuple(dict.fromkeys(scenes)), tuple(dict.fromkeys(problems)))


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
    }
    temporary = path.with_suffix(".part")
    noted = {"scenes": json.dumps(answered.scenes), "problems": json.dumps(answered.problems)}
    pq.write_table(pa.table(columns).replace_schema_metadata(noted), temporary, compression="zstd")
    os.replace(temporary, path)


def statistic_names(question: Question) -> tuple[str, ...]:
    """Names of the columns that `summaries` fills."""
    return (*MEASURES, "median", *(f"p{p:g}" for p in question.percentiles))


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
    rows, writer, id_name = 0, None, areas.id_name
    for place in places:
        part = pq.read_table(place)
        numbers = part["number"].combine_chunks()
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
    return Tabled(path, rows, len(areas.geometry), tuple(problems))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _geo(areas: Areas) -> dict[str, Any]:
    """The metadata that make a Parquet file GeoParquet."""
    column = {"encoding": "WKB", "geometry_types": [], "crs": areas.crs.to_json_dict()}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
