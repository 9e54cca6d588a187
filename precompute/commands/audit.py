"""`terrazzo audit`: which passes of a mosaic's area the archives lack, by the rhythm of the orbits."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.errors import InvalidRequest
from terrazzo.precompute.acquire.archives import NAMES
from terrazzo.words import counted

if TYPE_CHECKING:
    from terrazzo.config import MosaicConfig
    from terrazzo.precompute.acquire.archives import Archive
    from terrazzo.precompute.acquire.audit import Audit, Shown, Sighting
    from terrazzo.precompute.acquire.held import Held
    from terrazzo.precompute.acquire.search import Query
    from terrazzo.precompute.products.product import LeftOut

COMPLETE, NOTHING, GAPS = 0, 3, 4
"""Exit codes."""
MARGIN = timedelta(days=50)
"""Before and after the days asked for: five cycles of the orbits, from which their rhythm is learned."""
STEP = timedelta(days=60)
"""Days of one search, after each of which progress is shown."""
SHOWN = 200
"""Lines of findings without --all."""


@click.command()
@click.argument("config", metavar="MOSAIC.TOML", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--archive",
    "names",
    multiple=True,
    default=("earth-search",),
    show_default=True,
    help=f"{NAMES} or a STAC API's address; for several, repeat the option or separate them by commas",
)
@click.option("--collection", help="collection of the archives [default: their Sentinel-2]")
@click.option("--datetime", "when", help="dates [default: the periods of the mosaic]")
@click.option("--level", type=click.Choice(["l1c", "l2a"]), default="l2a", show_default=True)
@click.option("--all", "everything", is_flag=True, help="also list passes that need no action")
@click.option("--json", "as_json", is_flag=True, help="print everything as JSON")
@click.pass_context
def audit(
    ctx: click.Context,
    config: Path,
    names: tuple[str, ...],
    collection: str | None,
    when: str | None,
    level: Any,
    everything: bool,
    as_json: bool,
) -> None:
    """Names the passes over a mosaic's area that archives lack, list late, in parts or in an older processing.

    The command learns the rhythm of the orbits from the passes that the archives list, so it also names passes that no
    archive lists. Area and periods come from the file (`bounds`, else the tiles that the mosaic shows; `[[periods]]`).
    It reads metadata only. If the mosaic.toml lies in a store, it also names the scenes for which an archive has a newer
    processing.

    Exit codes: 0 nothing to do, 1 failed, 3 no archive lists a pass there, 4 an archive lacks passes or has a newer
    processing.

    \b
    terrazzo audit finland.toml --archive earth-search --archive cdse
    terrazzo audit finland.toml --archive cdse --datetime 2025-06/2025-08 --json
    """
    from shapely import union_all

    from terrazzo.config import day_interval, parse_config
    from terrazzo.precompute.acquire.archives import find_archive
    from terrazzo.precompute.acquire.area import from_box, from_tile
    from terrazzo.precompute.acquire.audit import Sighting, compare
    from terrazzo.precompute.acquire.search import Query
    from terrazzo.precompute.products.product import LeftOut

    mosaic_config, held = parse_config(config.stem, config.read_text()), _held(config)
    tiles = {scene.mgrs for scene in held.shown}
    if mosaic_config.bounds is None and not tiles:
        raise InvalidRequest("mosaic.toml names no area: bounds = [west, south, east, north]")
    now = datetime.now(UTC)
    first, last = _days(mosaic_config, day_interval(when) if when else None, now.date())
    asked = dict.fromkeys(n.strip() for name in names for n in name.split(",") if n.strip())
    archives = [find_archive(name, collection) for name in asked]
    area = (
        from_box(*mosaic_config.bounds)
        if mosaic_config.bounds
        else union_all([from_tile(tile) for tile in tiles])
    )
    wanted = None if mosaic_config.bounds else tiles
    seen: list[Sighting] = []
    unread: list[LeftOut] = []
    for archive in archives:
        before = len(seen)
        for begin, end in _steps(first - MARGIN, min(last + MARGIN, now.date())):
            query = Query(area, level, first=begin, last=end, whole=True)
            read, left = _listed(archive, query, wanted)
            seen += read
            unread += left
            click.echo(f"{archive.name}: {counted(len(seen) - before, 'product')} until {end}", err=True)
    done = compare(seen, [a.name for a in archives], first, last, now, unread=unread, shown=_shown(held))
    click.echo(json.dumps(as_document(done)) if as_json else "\n".join(as_text(done, everything)))
    ctx.exit(NOTHING if not seen else COMPLETE if done.complete else GAPS)


def _listed(
    archive: "Archive", query: "Query", tiles: set[str] | None
) -> "tuple[list[Sighting], list[LeftOut]]":
    """The products that an archive lists, of some tiles or all, and the Items that name no pass."""
    from terrazzo.precompute.acquire.audit import sighting
    from terrazzo.precompute.acquire.search import items_of
    from terrazzo.precompute.products.product import LeftOut

    seen, unread = [], []
    for item in items_of(archive, query, files=False, note=lambda line: click.echo(line, err=True)):
        result = sighting(item, archive.name, query)
        if isinstance(result, LeftOut):
            unread.append(result)
        elif result is not None and (tiles is None or result.product.mgrs in tiles):
            seen.append(result)
    return seen, unread


def _held(config: Path) -> "Held":
    """The store in which a mosaic's file lies; an empty one where it lies in none."""
    from terrazzo.precompute.acquire.held import Held
    from terrazzo.precompute.commands.acquire import opened

    folder = config.resolve().parent
    store = opened(str(folder.parents[1])) if folder.parent.name == "mosaics" else None
    return Held(store, folder.name)


def _shown(held: "Held") -> "list[Shown]":
    from terrazzo.precompute.acquire.audit import Shown

    return [Shown((f"S2{s.platform[-1].upper()}", s.mgrs), s.datetime, held.baseline(s)) for s in held.shown]


def _days(
    mosaic_config: "MosaicConfig", asked: tuple[date | None, date | None] | None, today: date
) -> tuple[date, date]:
    periods = [p for p in mosaic_config.periods if not p.members]
    if asked is None and not periods:
        raise InvalidRequest("mosaic.toml names no periods: give the dates with --datetime")
    first, last = asked or (min(p.start for p in periods), max(p.end for p in periods))
    if first is None:
        raise InvalidRequest("--datetime: the audit needs a first day, such as 2017-01/..")
    return first, min(last or today, today)


def _steps(first: date, last: date) -> Iterator[tuple[date, date]]:
    while first <= last:
        end = min(last, first + STEP - timedelta(days=1))
        yield first, end
        first = end + timedelta(days=1)


def as_document(done: "Audit") -> dict[str, Any]:
    """The audit as JSON."""
    from terrazzo.precompute.acquire.causes import TO_DO

    return {
        "passes": done.passes,
        "complete": done.complete,
        "archives": dict(done.archives),
        "rhythm": [
            {
                "satellite": e.satellite,
                "first": e.first.isoformat(),
                "last": e.last.isoformat(),
                "passes": e.count,
            }
            for e in done.epochs
        ],
        "findings": [
            {
                "tile": f.key.tile,
                "satellite": f.key.satellite,
                "relative_orbit": f.key.orbit,
                "datetime": f.key.when.isoformat(timespec="seconds"),
                "cause": f.cause,
                "also": list(f.also),
                "act": f.act,
                "what": f.what,
                "to_do": TO_DO[f.cause],
                "products": {a: list(p) for a, p in f.products.items()},
            }
            for f in done.findings
        ],
        "unread": [{"name": out.name, "reason": out.reason} for out in done.unread],
        "notes": list(done.notes),
    }


def as_text(done: "Audit", everything: bool) -> Iterator[str]:
    """The audit in lines for people: what is to do pass by pass, the others counted."""
    from terrazzo.precompute.acquire.causes import TO_DO

    for e in done.epochs:
        yield f"{e.satellite} in its rhythm {e.first:%Y-%m-%d} to {e.last:%Y-%m-%d}, {counted(e.count, 'pass')} over the area"
    yield f"{counted(done.passes, 'pass of a tile')}; products: " + ", ".join(
        f"{a} {n}" for a, n in done.archives.items()
    )
    listed = [f for f in done.findings if f.act or everything]
    if listed:
        yield f"{'pass':17}{'tile':6}{'satellite':10}{'orbit':6}{'cause':16} what"
    for f in listed[: None if everything else SHOWN]:
        k = f.key
        yield f"{k.when:%Y-%m-%d %H:%M} {k.tile:6}{k.satellite:10}R{k.orbit:03d}  {f.cause:16} {f.what}"
    if len(listed) > SHOWN and not everything:
        yield f"… and {len(listed) - SHOWN} more (--all, --json)"
    for act, head in ((True, "to do"), (False, "for information")):
        for cause, count in sorted(Counter(f.cause for f in done.findings if f.act == act).items()):
            yield f"{head}: {count} {cause.replace('_', ' ')}: {TO_DO[cause]}"
    if done.unread:
        yield f"{len(done.unread)} Items name no pass, the first: {done.unread[0].name}: {done.unread[0].reason}"
    yield from (f"note: {note}" for note in done.notes)
    if done.complete and done.passes:
        yield "nothing is missing"
