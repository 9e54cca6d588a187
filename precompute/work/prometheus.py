"""Numbers of a store for Prometheus, as a text file that node_exporter's textfile collector reads."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from terrazzo.errors import NotFound, StoreError
from terrazzo.store import Store, beside
from terrazzo.version import list_mosaics, open_version

NAMES: Mapping[str, str] = {
    "terrazzo_mosaic_newest_scene_timestamp_seconds": "when the newest scene of a mosaic was taken",
    "terrazzo_mosaic_scenes": "scenes of a mosaic's current version",
    "terrazzo_pass_last_success_timestamp_seconds": "when a run last ended well; 0 for never",
    "terrazzo_pass_last_timestamp_seconds": "when a run last ended, well or not",
    "terrazzo_pass_exit_code": "how it ended: 0 done, 1 failed, 3 nothing new, 4 some products could not be fetched or used",
    "terrazzo_pass_queue": "products on their way into the products folder",
    "terrazzo_quarantined": "products that could not be fetched",
    "terrazzo_store_bytes": "bytes on disk by kind: scenes, versions, weights, references, differences, products",
}
"""Names and meaning of the numbers."""

Sample = tuple[str, Mapping[str, str], float]


FAILED = 1
SUCCESS = "terrazzo_pass_last_success_timestamp_seconds"


@dataclass
class Ended:
    """How a pass ended, for its numbers.

    Attributes:
        products: the folder that acquisition fills.
    """

    code: int = 0
    products: Path | None = None


@contextmanager
def recorded(path: Path | None, url: str) -> Iterator[Ended]:
    """Writes the numbers of a store when the block ends, well or not; nothing without a path."""
    ended = Ended()
    try:
        yield ended
    except Exception:
        ended.code = FAILED
        if path is not None:
            # The failure itself is the error to raise, not a failure to record it.
            with suppress(Exception):
                write_metrics(path, url, ended)
        raise
    if path is not None:
        write_metrics(path, url, ended)


def write_metrics(path: Path, url: str, ended: Ended, *, now: float | None = None) -> None:
    """Writes the file whole: a reader never sees half of it.

    Args:
        url: of the store; if it cannot be read, only the pass itself is recorded.
        now: seconds since 1970.
    """
    now = time.time() if now is None else now
    samples: list[Sample] = []
    try:
        store = Store(url)
        samples = [*_mosaics(store), *_bytes(store, ended.products)]
    except StoreError:
        # Not there yet, or damaged: the pass is recorded all the same.
        samples = []
    success = _success(path) if ended.code == FAILED else now
    samples += [
        (SUCCESS, {}, success),
        ("terrazzo_pass_last_timestamp_seconds", {}, now),
        ("terrazzo_pass_exit_code", {}, ended.code),
    ]
    if ended.products is not None:
        samples.append(("terrazzo_pass_queue", {}, _count(ended.products / ".partial")))
        samples.append(("terrazzo_quarantined", {}, _count(ended.products / ".quarantine")))
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as partial:
        partial.write_text(_text(samples))


def _success(path: Path) -> float:
    """When a pass last ended well, as the file has it; 0 where none did, or the file is damaged."""
    try:
        match = re.search(rf"^{SUCCESS} (\S+)$", path.read_text(), re.MULTILINE)
        return float(match[1]) if match else 0.0
    except (FileNotFoundError, ValueError):
        return 0.0


def _mosaics(store: Store) -> Iterable[Sample]:
    for name in list_mosaics(store):
        try:
            version = open_version(store, name)
        except (NotFound, StoreError):
            # A damaged mosaic takes no other's numbers away.
            continue
        scenes = {e.scene.id: e.scene for p in version.periods for e in version.entries(p)}
        newest = max((s.datetime.timestamp() for s in scenes.values()), default=0.0)
        yield "terrazzo_mosaic_newest_scene_timestamp_seconds", {"mosaic": name}, newest
        yield "terrazzo_mosaic_scenes", {"mosaic": name}, len(scenes)


def _bytes(store: Store, products: Path | None) -> Iterable[Sample]:
    """Sizes by kind; of a store in a folder only, since listing a remote one costs requests."""
    sizes: dict[str, int] = {}
    if store.root is not None:
        for key, size in _files(store.root):
            parts = key.split("/")
            kind = parts[2] if parts[0] == "mosaics" and len(parts) > 3 else parts[0]
            if kind in ("scenes", "versions", "weights", "references", "differences"):
                sizes[kind] = sizes.get(kind, 0) + size
    if products is not None and products.is_dir():
        sizes["products"] = sum(size for _, size in _files(products))
    for kind, total in sorted(sizes.items()):
        yield "terrazzo_store_bytes", {"kind": kind}, total


def _files(root: Path) -> Iterable[tuple[str, int]]:
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder) / name
            try:
                yield file.relative_to(root).as_posix(), file.stat().st_size
            except FileNotFoundError:
                continue


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def _text(samples: Iterable[Sample]) -> str:
    by_name: dict[str, list[str]] = {}
    for name, labels, value in samples:
        pairs = ",".join(f'{k}="{v}"' for k, v in labels.items())
        by_name.setdefault(name, []).append(
            f"{name}{{{pairs}}} {value:.15g}" if pairs else f"{name} {value:.15g}"
        )
    lines = []
    for name, rows in by_name.items():
        lines += [f"# HELP {name} {NAMES[name]}", f"# TYPE {name} gauge", *rows]
    return "\n".join(lines) + "\n"
