"""The release gate: whether a version shows less, or more seams, than the one it would replace."""

from collections.abc import Mapping
from typing import Any

from terrazzo.errors import NotFound
from terrazzo.store import Store
from terrazzo.version import Version, version_key

LEAST_STEP = 5.0
"""Growth of the error step in 1e-4 reflectance below which it is noise of the places where it is measured."""


def worse(store: Store, before: Version | None, after: Version) -> list[str]:
    """In what a version is worse than the one before by more than its mosaic.toml allows; sentences.

    Coverage is not compared when the operator changed the mosaic.toml: another area is asked for then.
    """
    if before is None or before.name == after.name:
        return []
    old, new = (_parts(store, v) for v in (before, after))
    asked = before.lock["mosaic_toml"] == after.lock["mosaic_toml"]
    reasons = []
    for name in sorted(set(old) & set(new)):
        where = f"{name[0]} (EPSG:{name[1]})"
        was, shows = (_shown(parts[name]) for parts in (old, new))
        if asked and shows < was * (1 - after.config.most_coverage_loss):
            reasons.append(f"{where} shows {shows:.1f} km², the current version {was:.1f}")
        a, b = (_step(parts[name]) for parts in (old, new))
        if a is not None and b is not None and b > max(a * after.config.most_seam_growth, a + LEAST_STEP):
            reasons.append(
                f"{where} has steps of {b:.1f}e-4 at borders of scenes, the current version {a:.1f}e-4"
            )
    gone = sorted({n[0] for n in old} - {n[0] for n in new}) if asked else []
    return reasons + [f"{name} has no scene any more" for name in gone]


def _parts(store: Store, version: Version) -> dict[tuple[str, int], Mapping[str, Any]]:
    try:
        report = store.read_json(version_key(version.mosaic_id, version.name, "report.json"))
    except NotFound:
        return {}
    return {(p["period"], p["epsg"]): p for p in report["parts"]}


def _shown(part: Mapping[str, Any]) -> float:
    return float(part["coverage"]["shown"] * part["pixel"] ** 2 / 1e6)


def _step(part: Mapping[str, Any]) -> float | None:
    """Mean error step of the default method over borders and bands, 1e-4 reflectance; None where there is no border."""
    last = "on" if any(s["normalize"] == "on" for s in part["error_steps"]) else "off"
    rows = [s for s in part["error_steps"] if s["method"] == "feather" and s["normalize"] == last]
    steps = [(v, r["count"]) for r in rows for v in r["step"] if v is not None]
    total = sum(n for _, n in steps)
    return sum(v * n for v, n in steps) / total if total else None
