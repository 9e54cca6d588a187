"""How a version was computed, as its lock records it: the steps of solving, and the products that scenes were made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from terrazzo.precompute.normalize.stage import Solve


def write_solves(solves: Sequence[Solve]) -> list[dict[str, Any]]:
    """The steps for a lock: all scenes of the first, then what came and went."""
    out: list[dict[str, Any]] = []
    before: set[str] = set()
    for solve in solves:
        now = set(solve.scenes)
        out.append({"in": sorted(now - before), "out": sorted(before - now), "register": solve.register})
        before = now
    return out


def read_solves(written: Iterable[Mapping[str, Any]]) -> tuple[Solve, ...]:
    """The steps of a lock."""
    solves: list[Solve] = []
    now: set[str] = set()
    for step in written:
        now = (now - set(step["out"])) | set(step["in"])
        solves.append(Solve(tuple(sorted(now)), step["register"]))
    return tuple(solves)


def inputs_of(items: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What scenes were made of, by name and revision, from their Items; those that do not say are left out."""
    inputs = {}
    for item in items:
        p = item["properties"]
        link: Mapping[str, Any] = next((x for x in item["links"] if x["rel"] == "derived_from"), {})
        if "terrazzo:checksums" not in link or "terrazzo:parameters" not in p:
            continue
        inputs[f"{item['id']}/{p['terrazzo:rev']}"] = {
            "product": link["href"],
            "checksums": link["terrazzo:checksums"],
            "parameters": p["terrazzo:parameters"],
            "moved": p.get("terrazzo:moved"),
        }
    return inputs
