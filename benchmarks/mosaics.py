"""Mosaics of products for benchmarks, by the chain of `terrazzo precompute`; without the report, which costs most and changes no pixel."""

from collections.abc import Mapping, Sequence
from datetime import date
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from terrazzo.config import config_key
from terrazzo.precompute.pipeline import Options, run
from terrazzo.precompute.scene.recipe import Recipe
from terrazzo.precompute.versions.exclusions import exclude
from terrazzo.store import Store
from terrazzo.version import Version

SILENT = Console(file=StringIO())


def mosaic(
    products: Path,
    store: Store,
    name: str,
    periods: Mapping[str, tuple[date, date]],
    *,
    without: Sequence[str] = (),
    external: Path | None = None,
    mask: str = "fused",
) -> Version:
    """Publishes a mosaic of periods, some scenes excluded.

    Args:
        external: a composite whose level its scenes are brought to.
        mask: see `Recipe`.
    """
    text = f'reference = "external"\nreference_file = "{external}"\n' if external else ""
    text += "".join(f'[[periods]]\nname = "{n}"\nstart = {a}\nend = {b}\n' for n, (a, b) in periods.items())
    store.write_bytes(config_key(name), text.encode())
    for scene in without:
        exclude(store, name, scene, "left out", None)
    with patch("terrazzo.precompute.judge.report.write_report"):
        done = run([products], store, name, Options(Recipe(mask)), console=SILENT)
    assert done.version is not None
    return done.version
