"""Writes statistics of areas: group by group into parts, then one table; stopped anywhere, it goes on where it was."""

import hashlib
import json
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from terrazzo.statistics.areas import Areas
from terrazzo.statistics.places import Group, blocks, group, groups, is_large, placed
from terrazzo.statistics.question import Question
from terrazzo.statistics.tally import Tally
from terrazzo.statistics.zonal import MEASURES, Cover, cover, summaries
from terrazzo.stop import STOP, require_wanted

MOST_SAMPLES = 64 << 20
"""Pixels of a group times channels that are in memory at once, for each thread."""
SHARES = ("clear_share", "filled_share", "age_days")
EPOCH = date(1970, 1, 1)
NO_DATA, NO_MIDDLE = "no data in this time", "no pixel's middle lies inside: ask with rule exact"
"""Why there are no pixels of an area that lies in the mosaic."""
BEAT = 1.0
"""Seconds after which whoever waits for a large area may stop it."""
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
        text = f"{self.rows} rows of {self.areas} areas"
        if self.empty:
            reasons = ", ".join(f"{number} {why}" for why, number in self.empty.items())
            text += f"; {sum(self.empty.values())} without pixels: {reasons}"
        return text


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

    Rows come by place, an area's rows together; `reason` says why one has no pixels. Closing the iterator stops; the same call again goes on.

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


def share_sums(layers: PixelLayers, covered: Cover, last: int) -> NDArray[np.float64]:
    """(5, area) sums over pixels that an area covers, by the share covered: of all, clear, filled, seen, days of age.

    Args:
        last: day, since 1970, that ages are counted from.
    """
    cells = covered.cells
    seen = layers.seen.ravel()[cells]
    age = np.where(seen, last - layers.day.ravel()[cells], 0.0)
    layered = (np.ones(len(cells)), layers.clear.ravel()[cells], layers.filled.ravel()[cells], seen, age)
    return np.stack([covered.sums(layer) for layer in layered])


def shares(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """By name, (area,): share of an area that is clear, share that was filled, mean age in days of what shows; NaN without pixels.

    Args:
        sums: as `share_sums` gives.
    """
    total, clear, filled, seen, age = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"clear_share": clear / total, "filled_share": filled / total, "age_days": age / seen}


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


def _made(
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


class Answers(NamedTuple):
    """Statistics of areas.

    Attributes:
        table: (area, period, channel, statistic) in the order of `statistic_names`.
        shares: by name, (area, period), as `shares` gives.
        reasons: (area,) why there are no polygons in the mosaic; empty where there are.
        scenes: ids of the scenes that show.
    """

    table: NDArray[np.float64]
    shares: dict[str, NDArray[np.float64]]
    reasons: NDArray[np.object_]
    scenes: tuple[str, ...]
    problems: tuple[str, ...]

    def why(self) -> NDArray[np.object_]:
        """(area, period, channel) why a row has no pixels; None where it has."""
        inside = np.where(np.isnan(self.shares["clear_share"]), NO_MIDDLE, NO_DATA)[..., None]
        named = self.reasons[:, None, None]
        why = np.where(named == "", inside, named).astype(object)
        why = np.broadcast_to(why, self.table.shape[:3]).copy()
        why[self.table[..., 0] > 0] = None
        return why


class PeriodAnswers(NamedTuple):
    """Statistics of areas in one period.

    Attributes:
        table: (area, channel, statistic).
        sums: as `share_sums` gives.
    """

    table: NDArray[np.float64]
    sums: NDArray[np.float64]
    scenes: tuple[str, ...]
    problems: tuple[str, ...]


def answers(
    engine: Engine,
    question: Question,
    chosen: Mapping[str, Chosen],
    areas: Areas,
    numbers: NDArray[np.int64],
) -> Answers:
    """Statistics of areas that lie near each other, or of one large area, for each period of `chosen`."""
    here = placed(areas, engine.version, numbers)
    quantiles = [0.5, *(p / 100 for p in question.percentiles)]
    shape = (len(numbers), len(chosen))
    table = np.full((*shape, len(question.measure.names), len(MEASURES) + len(quantiles)), np.nan)
    table[..., 0] = 0
    per_area = {k: np.full(shape, np.nan) for k in SHARES}
    scenes, problems = list[str](), list[str]()
    together = group(here, engine.version, numbers)
    for i, one in enumerate(chosen.values()):
        if together is None:
            break
        if is_large(here, engine.version):
            squares = blocks(areas, engine.version, here, numbers)
            part = _of_blocks(engine, question, one, squares, quantiles)
        else:
            part = _of_group(engine, question, one, together, quantiles)
        table[:, i] = part.table
        for name, values in shares(part.sums).items():
            per_area[name][:, i] = values
        scenes += part.scenes
        problems += part.problems
    return Answers(
        table, per_area, here.reasons, tuple(dict.fromkeys(scenes)), tuple(dict.fromkeys(problems))
    )


def _of_group(
    engine: Engine, question: Question, chosen: Chosen, here: Group, quantiles: Sequence[float]
) -> PeriodAnswers:
    covered, layers = cover(here.polygons, here.target, question.rule), layers_of(engine, chosen, here.target)
    table = summaries(layers.values, covered, quantiles)
    sums = share_sums(layers, covered, last_day(chosen, engine))
    return PeriodAnswers(table, sums, layers.scenes, layers.problems)


def _of_blocks(
    engine: Engine, question: Question, chosen: Chosen, squares: Iterable[Group], quantiles: Sequence[float]
) -> PeriodAnswers:
    """The same of one area in squares, of which one is in memory at once."""
    tallies, sums = [Tally() for _ in question.measure.names], np.zeros((5, 1))
    scenes, problems = dict[str, None](), dict[str, None]()
    for here in squares:
        require_wanted()
        covered = cover(here.polygons, here.target, question.rule)
        layers = layers_of(engine, chosen, here.target)
        for tally, channel in zip(tallies, layers.values, strict=True):
            tally.add(channel.ravel()[covered.cells], covered.shares)
        sums += share_sums(layers, covered, last_day(chosen, engine))
        scenes |= dict.fromkeys(layers.scenes)
        problems |= dict.fromkeys(layers.problems)
    return PeriodAnswers(
        np.array([[t.row(quantiles) for t in tallies]]), sums, tuple(scenes), tuple(problems)
    )


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
