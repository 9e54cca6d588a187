"""Gives the files of an older store the checksums that this release writes; pixels and names stay.

What can be compared with a checksum of its own is compared before: a file that is damaged already must not be called sound.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import rasterio

from terrazzo.cells import digest
from terrazzo.checks import checksum, is_checked, table_source
from terrazzo.cog import sealed_cog
from terrazzo.errors import Damaged, NotFound, ReadFailure
from terrazzo.mosaic.index import Cog, short
from terrazzo.precompute.versions.collection import scenes_table
from terrazzo.precompute.versions.write import TABLES, version_name
from terrazzo.scene import ITEM, SCENE_COLUMNS, list_scenes
from terrazzo.store import Store
from terrazzo.version import Version, list_mosaics, list_versions, open_version, version_key


def unsealed(store: Store) -> Iterator[str]:
    """Folders of scenes, keys of weights and folders of versions that lack checksums, in the order in which to seal them."""
    for scene in list_scenes(store):
        # The Item is written last.
        if not is_checked(store.read_bytes(scene.key(ITEM))):
            yield scene.prefix
    for mosaic in list_mosaics(store):
        for key in store.list(f"mosaics/{mosaic}/weights"):
            if key.endswith(".tif") and not is_sealed_raster(store, key):
                yield key
        for name in list_versions(store, mosaic):
            folder = version_key(mosaic, name, "").rstrip("/")
            if "sums" not in store.read_json(f"{folder}/lock.json"):
                yield folder


def seal_rest(store: Store, places: Sequence[str]) -> Iterator[str]:
    """Seals what `unsealed` names; yields what is damaged and stays as it is, with the reason."""
    for place in places:
        try:
            if place.endswith(".tif"):
                _seal_weight(store, place)
            elif place.startswith("scenes/"):
                _seal_scene(store, place)
            else:
                _seal_version(store, place.split("/")[1], place.split("/")[-1])
        except (NotFound, ReadFailure, ValueError) as error:
            yield f"{place}: {error}"


def _seal_scene(store: Store, prefix: str) -> None:
    item: dict[str, Any] = store.read_json(f"{prefix}/{ITEM}")
    assets = {f"{prefix}/{Path(a['href']).name}": a for a in item["assets"].values()}
    for key, asset in assets.items():
        # One that an upgrade before this sealed, and was stopped, is checked by its own checksums.
        if _multihash(store.read_bytes(key)) != asset["file:checksum"] and not (
            key.endswith(".tif") and is_sealed_raster(store, key)
        ):
            raise Damaged(f"{key} has changed since it was written")
    for key, asset in assets.items():
        if key.endswith(".tif"):
            _seal_raster(store, key, store.read_bytes(key))
        data = store.read_bytes(key)
        asset["file:checksum"], asset["file:size"] = _multihash(data), len(data)
    store.write_json(f"{prefix}/{ITEM}", item)


def _seal_version(store: Store, mosaic: str, name: str) -> None:
    version = open_version(store, mosaic, name)
    if version_name(version.lock, {k: g.windows() for k, g in version.cell_grids.items()}) != name:
        raise Damaged("its lock or cells.parquet has changed since it was written")
    folder = f"mosaics/{mosaic}/versions/{name}"
    for key in store.list(folder):
        if key.endswith(".tif"):
            _seal_raster(store, key, store.read_bytes(key))
        elif key.endswith(".json") and not key.endswith(("lock.json", "mosaicjson.json")):
            store.write_json(key, store.read_json(key))
    store.write_bytes(f"{folder}/scenes.parquet", _scenes(store, version))
    sums = {
        key.removeprefix(f"{folder}/"): checksum(store.read_bytes(key))
        for key in store.list(folder)
        if key.endswith(TABLES)
    }
    store.write_json(f"{folder}/lock.json", {**version.lock, "sums": sums})


def _scenes(store: Store, version: Version) -> bytes:
    """scenes.parquet with the Items as they are now."""
    table = pq.read_table(table_source(version.read_checked("scenes.parquet")))
    columns = {n: table.column(n).to_pylist() for n in table.column_names if n in SCENE_COLUMNS}
    return scenes_table(
        [store.read_json(f"{prefix}/{ITEM}") for prefix in columns["terrazzo:prefix"]], columns
    )


def _seal_weight(store: Store, key: str) -> None:
    note = key.removesuffix(".tif") + ".json"
    known = store.read_json(note)
    if weight_digest(store, key) != known["hash"]:
        raise Damaged(f"{key} has changed since it was written")
    _seal_raster(store, key, store.read_bytes(key))
    store.write_json(note, known)


def weight_digest(store: Store, key: str) -> str:
    """The hash of a raster's pixels, as notes of weights have it.

    Raises:
        ReadFailure: it cannot be read.
        NotFound: it is missing.
    """
    try:
        with rasterio.open(store.raster_path(key), driver="GTiff") as dataset:
            return digest(dataset.read(1).tobytes()).hex()
    except rasterio.errors.RasterioError as error:
        raise ReadFailure(f"{short(key)}: {error}") from None


def _seal_raster(store: Store, key: str, data: bytes) -> None:
    sealed = sealed_cog(data)
    if sealed is not data:
        store.write_bytes(key, sealed)


def is_sealed_raster(store: Store, key: str) -> bool:
    """Whether all blocks of a raster bear checksums.

    Raises:
        ReadFailure: it cannot be read.
    """
    return all(level.checked for level in Cog(store, key).levels)


def _multihash(data: bytes) -> str:
    return "1220" + hashlib.sha256(data).hexdigest()
