"""A second version of a store's mosaic, whose scenes are fewer and lie over each other: what shows it differs from what shows the first."""

import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

SECOND = "abcdefabcdef"


def publish_second(store: Path, scenes: int) -> None:
    """Publishes a version of a store's first `scenes` rows of scenes, and points to it."""
    pointer = store / "mosaics/mosaic/mosaic.json"
    document = json.loads(pointer.read_text())
    versions = pointer.parent / "versions"
    new = versions / SECOND
    shutil.copytree(versions / document["terrazzo:version"], new)
    table = pq.read_table(io.BytesIO((new / "scenes.parquet").read_bytes()))
    pq.write_table(table.slice(0, scenes), new / "scenes.parquet")
    lock = json.loads((new / "lock.json").read_text())
    # Sums of what was copied.
    lock.get("sums", {}).pop("scenes.parquet", None)
    lock["mosaic_toml"] += '\nmethod = "first"\n'
    (new / "lock.json").write_text(json.dumps(lock))
    pointer.write_text(json.dumps({**document, "terrazzo:version": SECOND}))
