"""Whether `terrazzo audit` names what catalogues lack: `python -m benchmarks.audit [--seeds N]`.

Worlds of about a thousand passes over five tiles, with the satellites' real rhythm and history of 2024 and 2025 (S2C takes
S2A's place, S2A comes back in another one, S2B has an outage, one orbit sees a tile's corner that is not always published).
A third of the passes is taken out of one catalogue, some out of both, some come late, in two products, or made again.
Other worlds: a corner whose Items have the whole tile's outline, a satellite that takes every second cycle, polar nights, one
tile for eight years, one catalogue alone. Prints the share of faults that are named with the right cause, and the alarms of passes that have none.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

from terrazzo.precompute.acquire.area import from_box
from terrazzo.precompute.acquire.audit import Audit, Sighting, compare, sighting
from terrazzo.precompute.acquire.search import Query
from tests.world.passes import CORNER, FLIGHTS, PLACES, World, faulty

FIRST, LAST = date(2024, 1, 1), date(2025, 11, 30)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
QUERY = Query(from_box(10, 40, 40, 75), whole=True)
NOTES = ("awaited", "not_acquired", "irregular")
"""Causes that raise no alarm."""


def audited(world: World, archives: tuple[str, ...], first: date = FIRST, last: date = LAST) -> Audit:
    """What the audit says of some of a world's catalogues."""
    seen = [
        s for a in archives for item in world.items[a] if isinstance(s := sighting(item, a, QUERY), Sighting)
    ]
    return compare(seen, archives, first, last, NOW)


def score(world: World, done: Audit, archives: tuple[str, ...]) -> tuple[int, int, list[str], list[str]]:
    """Faults named right, faults, those that are not, and the false alarms; of one catalogue alone the gaps count."""
    said = {(f.key.satellite, f.key.orbit, f.key.tile, f.key.when.date()): f for f in done.findings}
    wrong = [
        f"{key}: {fault}, said {said[key].cause if key in said else 'nothing'}"
        for key, fault in world.truth.items()
        if key not in said or said[key].cause != fault
    ]
    alarms = [
        f"{key}: {f.cause}, {f.what}"
        for key, f in said.items()
        if key not in world.truth and f.cause not in NOTES and (f.act or len(archives) > 1)
    ]
    return len(world.truth) - len(wrong), len(world.truth), wrong, alarms


def alone(world: World, archive: str) -> World:
    """The world when one catalogue is asked: what it lacks is in none, but of the corner nothing was to be expected."""
    lacking = {
        k: "in_no_catalogue"
        for k, fault in world.truth.items()
        if fault == "in_one_only" and (k[2], k[1]) != CORNER
    }
    kept = {k: fault for k, fault in world.truth.items() if fault == "in_no_catalogue"}
    return World({archive: world.items[archive]}, lacking | kept, world.taken)


ES, CDSE, PC, EOPF = "earth-search", "cdse", "planetary-computer", "eopf"
NORTH = tuple((tile, orbit) for tile in ("35WMQ", "35WNQ") for orbit in (122, 79, 36))
TWENTY = tuple(replace(f, every=2) if f.satellite == "S2A" and f.phase == 4.885 else f for f in FLIGHTS)


def worlds(seed: int) -> Iterator[tuple[str, World, tuple[str, ...], date, date]]:
    """Names, worlds, catalogues that are asked, first and last day."""
    days = (FIRST, LAST)
    for pair in ((ES, CDSE), (CDSE, PC), (PC, EOPF)):
        yield " and ".join(pair), faulty(pair, *days, seed), pair, *days
    yield "corner not drawn", faulty((ES, CDSE), *days, seed, corner_is_drawn=False), (ES, CDSE), *days
    yield "S2A every 20 days", faulty((ES, CDSE), *days, seed, flights=TWENTY), (ES, CDSE), *days
    yield "polar night", faulty((ES, CDSE), *days, seed, places=NORTH), (ES, CDSE), *days
    long = (date(2017, 7, 1), LAST)
    yield "one tile, 8 years", faulty((ES, CDSE), *long, seed, places=PLACES[:2]), (ES, CDSE), *long
    yield "one catalogue", alone(faulty((ES, CDSE), *days, seed), CDSE), (CDSE,), *days


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    totals: Counter[str] = Counter()
    print(f"{'world':32}{'passes':>7}{'faults':>7}{'right':>7}{'false':>6}{'CPU-s':>7}")
    for seed in range(asked.seeds):
        for name, world, archives, first, last in worlds(seed):
            begun = time.process_time()
            good, of, wrong, false = score(world, audited(world, archives, first, last), archives)
            seconds = time.process_time() - begun
            print(f"{name:32}{world.taken:7}{of:7}{good:7}{len(false):6}{seconds:7.1f}")
            if asked.verbose:
                print(*wrong, *("false " + f for f in false), sep="\n")
            totals += Counter(passes=world.taken, faults=of, right=good, false=len(false))
    share = totals["right"] / totals["faults"]
    print(
        f"{totals['passes']} passes, {totals['faults']} faults: {share:.2%} named right, {totals['false']} false alarms"
    )


if __name__ == "__main__":
    main()
