"""The products folder: what is here whole, what is on its way, and what was bad.

    <id>.json         the archive's Item with local assets, written last: its presence means complete
    files-<id>/       its files (a folder named like a SAFE would be taken for one)
    .partial/files-<id>/   files of a product that is on its way, each whole
    .quarantine/      a note for each product that could not be fetched, with the reason

Names that begin with a dot are not read by `terrazzo precompute`.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer

from terrazzo.errors import StoreError
from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.search import Candidate, RemoteFile
from terrazzo.precompute.products.find import find_products
from terrazzo.precompute.products.items import choose_assets
from terrazzo.precompute.products.links import unsigned
from terrazzo.precompute.products.passes import order_of, outline
from terrazzo.precompute.products.product import Product
from terrazzo.precompute.products.values import mapping
from terrazzo.store import beside, sync

KEYS = {"CLDPRB": "cloud", "DETFOO": "detector_footprint"}
"""Keys of assets that no Item lists."""


OF_THE_WHOLE = ("proj:shape", "proj:transform", "proj:bbox", "proj:geometry", "file:size", "file:checksum")
"""What an archive says of a whole asset and is not so of a part."""


class ProductFolder:
    """A products folder.

    Raises:
        StoreError: the path is a file.
    """

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise StoreError(f"{root} is a file; name a folder for the products")
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs out.

        Raises:
            StoreError: another run is filling the folder.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(f"another run is filling {self.root}; wait until it ends") from None
            yield

    def products(self) -> list[Product]:
        """Products that are here whole."""
        if not self.root.is_dir():
            return []
        products = find_products(self.root).products
        return [p for p in products if all(Path(path).exists() for path in p.assets.values())]

    def require_level(self, level: str) -> None:
        """Refuses to mix processing paths: two ways to the surface do not agree to a mosaic's accuracy.

        Raises:
            StoreError: the folder holds products of another level.
        """
        others = {p.level for p in self.products()} - {level.upper()}
        if others:
            raise StoreError(
                f"{self.root} holds {', '.join(sorted(others))} products, and a mosaic holds one level:"
                " name another folder with --products, and another store or mosaic"
            )

    def has(self, candidate: Candidate, product: Product) -> bool:
        """Whether a product that is here has all that a candidate would bring."""
        same = product.id == candidate.id
        if same and self.mark(product.id) not in (None, candidate.fingerprint):
            return False
        # Of another archive's copy, or a folder the user filled, what a scene needs counts, not whence it came.
        roles = [f.role for f in candidate.files if f.listed and (same or not f.extra)]
        mine, theirs = candidate.product, product
        newer = order_of(theirs)[:2] >= order_of(mine)[:2]
        if self.part(product.id) not in (None, candidate.part):
            return False
        return newer and all(role in product.assets for role in roles)

    def mark(self, product_id: str) -> str | None:
        """Fingerprint of the Item that a product here was made of."""
        mark: str | None = self._noted(product_id).get("terrazzo:fingerprint")
        return mark

    def part(self, product_id: str) -> Bounds | None:
        """The part of its tile that a product here holds, in metres; None for the whole."""
        part = self._noted(product_id).get("terrazzo:part")
        return Bounds(*part) if part else None

    def _noted(self, product_id: str) -> dict[str, Any]:
        """Properties of the Item of a product here."""
        try:
            item: dict[str, Any] = json.loads((self.root / f"{product_id}.json").read_text())
        except (OSError, ValueError):
            return {}
        properties: dict[str, Any] = dict(mapping(mapping(item).get("properties")))
        return properties

    def holds(self, candidate: Candidate, file: RemoteFile) -> bool:
        """Whether a file of a candidate is here whole, from this run or an earlier one."""
        partial = self._partial(candidate)
        mark = partial / ".fingerprint"
        if mark.exists() and mark.read_text() == candidate.fingerprint and (partial / file.kept).exists():
            return True
        same = self.mark(candidate.id) == candidate.fingerprint
        return same and (self._files(candidate) / file.kept).exists()

    def open(self, candidate: Candidate) -> Path:
        """The folder for a candidate's files, with those that earlier runs left whole."""
        folder = self._partial(candidate)
        mark = folder / ".fingerprint"
        if folder.exists() and (not mark.exists() or mark.read_text() != candidate.fingerprint):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            mark.write_text(candidate.fingerprint)
        here = self._files(candidate)
        if self.mark(candidate.id) == candidate.fingerprint:
            for file in candidate.files:
                if (here / file.kept).exists() and not (folder / file.kept).exists():
                    os.link(here / file.kept, folder / file.kept)
        return folder

    def finish(self, candidate: Candidate) -> Path:
        """Puts a candidate's files and its Item in their places; the Item appears last."""
        partial, target = self._partial(candidate), self._files(candidate)
        target.mkdir(exist_ok=True)
        for path in sorted(partial.iterdir()):
            if not path.name.startswith("."):
                os.replace(path, target / path.name)
        sync(target)
        item_path = self.root / f"{candidate.id}.json"
        write_json(item_path, local_item(candidate, target))
        shutil.rmtree(partial)
        for other in self._folders(candidate.id):
            if other != target:
                shutil.rmtree(other, ignore_errors=True)
        self.note(candidate.id).unlink(missing_ok=True)
        return item_path

    def drop(self, product: Product) -> None:
        """Removes a product that a newer processing replaced: the Item first."""
        item = self.root / f"{product.id}.json"
        if Path(product.item) == item:
            item.unlink(missing_ok=True)
            for folder in self._folders(product.id):
                shutil.rmtree(folder, ignore_errors=True)

    def note(self, product_id: str) -> Path:
        """Path of the note on a bad product."""
        return self.root / ".quarantine" / f"{product_id}.json"

    def quarantine(self, candidate: Candidate, reason: str, *, lasting: bool) -> None:
        """Notes that a product could not be fetched.

        Args:
            lasting: it will not be tried again until the archive's Item changes or the note is removed.
        """
        document = {
            "id": candidate.id,
            "archive": candidate.archive.name,
            "reason": reason,
            "lasting": lasting,
            "fingerprint": candidate.fingerprint,
            "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        write_json(self.note(candidate.id), document)
        if lasting:
            shutil.rmtree(self._partial(candidate), ignore_errors=True)

    def is_quarantined(self, candidate: Candidate) -> str | None:
        """Why a candidate need not be tried again, None if it may be."""
        try:
            note = json.loads(self.note(candidate.id).read_text())
        except (OSError, ValueError):
            return None
        known = (note.get("archive"), note.get("fingerprint"))
        same = note.get("lasting") and known == (candidate.archive.name, candidate.fingerprint)
        return str(note["reason"]) if same else None

    def sweep(self, wanted: Sequence[Candidate]) -> None:
        """Removes partly fetched products that are no longer wanted."""
        keep = {self._partial(c).name for c in wanted}
        partial = self.root / ".partial"
        for folder in partial.iterdir() if partial.is_dir() else ():
            if folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)

    def _partial(self, candidate: Candidate) -> Path:
        return self.root / ".partial" / f"files-{candidate.id}"

    def _folders(self, product_id: str) -> list[Path]:
        return [self.root / f"files-{product_id}", *self.root.glob(f"files-{product_id}@*")]

    def _files(self, candidate: Candidate) -> Path:
        """Where a candidate's files lie; another folder than those of an Item it replaces."""
        plain = self.root / f"files-{candidate.id}"
        marked = self.root / f"{plain.name}@{candidate.fingerprint}"
        if marked.exists():
            return marked
        mark = self.mark(candidate.id)
        return plain if mark in (None, candidate.fingerprint) else marked


def local_item(candidate: Candidate, folder: Path) -> dict[str, Any]:
    """The archive's Item, its fetched assets local, with the archive's name."""
    assets = {k: dict(a) for k, a in candidate.item["assets"].items()}
    chosen = choose_assets(assets)
    for file in candidate.files:
        path = folder / file.kept
        if path.exists():
            key = chosen.get(file.role) or KEYS.get(file.role, file.role)
            asset = assets.setdefault(key, {"roles": ["metadata"]})
            asset["href"] = f"./{folder.name}/{file.kept}"
            if file.part is not None:
                for name in OF_THE_WHOLE:
                    asset.pop(name, None)
                if file.is_jp2:
                    asset["type"] = "image/tiff; application=geotiff"
    properties: Mapping[str, Any] = candidate.item["properties"]
    place: dict[str, Any] = {}
    if candidate.part is not None:
        shape = outline(candidate.item.get("geometry")) or shapely.box(-180, -90, 180, 90)
        to_degrees = Transformer.from_crs(candidate.product.epsg, 4326, always_xy=True)
        part = shapely.transform(
            shapely.segmentize(shapely.box(*candidate.part), 5000),
            lambda xy: np.stack(to_degrees.transform(xy[:, 0], xy[:, 1]), -1),
        )
        shape = shapely.intersection(shape, part)
        place = {"geometry": json.loads(shapely.to_geojson(shape)), "bbox": list(shape.bounds)}
        properties = {**properties, "terrazzo:part": list(candidate.part)}
    return {
        **unsigned(candidate.item),
        **place,
        "properties": {
            **unsigned(properties),
            "terrazzo:archive": candidate.archive.name,
            "terrazzo:fingerprint": candidate.fingerprint,
        },
        "assets": unsigned(assets),
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a JSON document whole, and durable."""
    with beside(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1))
