"""The table of a mosaic's scenes holds Items that state the same thing in different ways."""

import io
import json
from pathlib import Path

import pyarrow.parquet as pq

from terrazzo.precompute.versions.collection import scenes_table

GOLDEN = Path(__file__).parents[2] / "golden" / "store" / "scenes"


def test_items_whose_evidence_is_a_number_here_and_a_text_there_are_one_table() -> None:
    items = [json.loads(p.read_text()) for p in sorted(GOLDEN.rglob("item.json"))]
    assert len(items) == 2
    for item, said, share in zip(items, (-1000, "0 and -1000"), (0, 0.25), strict=True):
        item["properties"]["terrazzo:offset"] = {
            "value": 0,
            "evidence": {"Item": said, "share_below_700": share},
        }
    del items[1]["properties"]["terrazzo:offset"]["value"]
    before = json.dumps(items)
    table = pq.read_table(io.BytesIO(scenes_table(items, {"n": [1, 2]})))
    offsets = table["terrazzo:offset"].to_pylist()
    assert [o["evidence"]["Item"] for o in offsets] == ["-1000", "0 and -1000"]
    assert [o["evidence"]["share_below_700"] for o in offsets] == [0, 0.25]
    assert [o["value"] for o in offsets] == [0, None]
    assert json.dumps(items) == before
