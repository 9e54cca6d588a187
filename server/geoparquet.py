"""The Items of a version's scenes as one stac-geoparquet file, with addresses that clients can read."""

import io
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from terrazzo.cells import digest
from terrazzo.checks import table_source, understood
from terrazzo.scene import SCENE_COLUMNS
from terrazzo.version import Version

PREFIX = "terrazzo:prefix"
BATCH = 4096


@lru_cache(maxsize=2)
def geoparquet(version: Version, assets: str | None) -> tuple[bytes, str]:
    """A version's scenes, each once, as stac-geoparquet; and the ETag of these bytes.

    Args:
        assets: address under which clients read the store's files; without one the Items have no assets.

    Raises:
        Damaged: the version's table has changed since it was written.
    """
    data, out, seen = version.read_checked("scenes.parquet"), io.BytesIO(), set[str]()
    with understood(f"scenes.parquet of {version.name}"):
        file = pq.ParquetFile(table_source(data))
        writer = None
        for batch in file.iter_batches(BATCH):
            table = _once(pa.Table.from_batches([batch]), seen)
            table = _with_assets(table, assets)
            name = pa.array([f"{version.mosaic_id}-{version.name}"] * len(table), pa.string())
            if "collection" in table.column_names:
                table = table.drop_columns(["collection"])
            table = table.append_column("collection", name)
            table = table.replace_schema_metadata(file.schema_arrow.metadata)
            writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
    return out.getvalue(), f'"{digest(out.getvalue()).hex()}"'


def _once(table: pa.Table, seen: set[str]) -> pa.Table:
    """The rows whose scene was not seen yet: one in several periods has several rows."""
    fresh = []
    for name in table["id"].to_pylist():
        fresh.append(name not in seen)
        seen.add(name)
    return table.filter(pa.array(fresh))


def _with_assets(table: pa.Table, root: str | None) -> pa.Table:
    """The rows with whole addresses of their assets, or without assets."""
    # Arrow makes its hundreds of functions on import, which the first tile need not wait for.
    import pyarrow.compute as pc

    own = [n for n in SCENE_COLUMNS if n in table.column_names]
    if root is None:
        return table.drop_columns([*own, "assets"])
    folders = pc.binary_join_element_wise(f"{root.rstrip('/')}/", table[PREFIX].combine_chunks(), "/", "")
    assets = table["assets"].combine_chunks()
    fields = [_with_href(assets.field(i), folders) for i in range(assets.type.num_fields)]
    changed = pa.StructArray.from_arrays(fields, names=[f.name for f in assets.type], mask=assets.is_null())
    place = table.column_names.index("assets")
    return table.set_column(place, "assets", changed).drop_columns(own)


def _with_href(asset: pa.StructArray, folders: pa.Array) -> pa.StructArray:
    import pyarrow.compute as pc

    names = [f.name for f in asset.type]
    columns = [asset.field(i) for i in range(asset.type.num_fields)]
    place = names.index("href")
    columns[place] = pc.binary_join_element_wise(
        folders, pc.replace_substring_regex(columns[place], r"^\./", ""), ""
    )
    return pa.StructArray.from_arrays(columns, fields=list(asset.type), mask=asset.is_null())
