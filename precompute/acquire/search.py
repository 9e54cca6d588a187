"""Asks archives which products there are: STAC Items become candidates, one group a pass and tile."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlparse

import numpy as np
import shapely

from terrazzo.bands import BANDS
from terrazzo.errors import ArchiveError, ProductError, TerrazzoError
from terrazzo.grid import Bounds
from terrazzo.precompute.acquire.archives import Archive, Level
from terrazzo.precompute.acquire.area import from_tile, outline, part_of, tile_square
from terrazzo.precompute.acquire.ask import Note, ask
from terrazzo.precompute.products.items import addresses, choose_assets, product_from_item
from terrazzo.precompute.products.links import without_query
from terrazzo.precompute.products.passes import order_of, other_ground
from terrazzo.precompute.products.passes import outline as outline_of
from terrazzo.precompute.products.product import LeftOut, Product
from terrazzo.precompute.products.validation import guarded, validated
from terrazzo.precompute.products.values import mapping, number, text

PLAIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
"""Names that may become names of files here."""


@dataclass(frozen=True)
class Query:
    """What a user asks for.

    Attributes:
        area: in degrees.
        tile: only this tile, without its neighbours.
        first, last: days, both included; None is open.
        max_cloud: per cent, as the archive's metadata have it.
        whole: whole tiles, however small the area.
        overview: metres of the pixels that overviews of COGs are read at; None reads the images themselves.
    """

    area: shapely.Geometry
    level: Level = "l2a"
    tile: str | None = None
    first: date | None = None
    last: date | None = None
    max_cloud: float | None = None
    whole: bool = False
    overview: float | None = None

    @property
    def datetime(self) -> str | None:
        """The interval as STAC writes it."""
        if self.first is None and self.last is None:
            return None
        start = f"{self.first}T00:00:00Z" if self.first else ".."
        return f"{start}/{f'{self.last}T23:59:59Z' if self.last else '..'}"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a product in an archive.

    Attributes:
        name: what it is called in the archive.
        size: bytes, None if the Item does not say.
        checksum: multihash in hexadecimal, None if the Item has none.
        listed: the Item lists it; the product is whole without one that is not.
        extra: a scene can be made without it, of less certain a mask.
        part: what of it is read, in metres of the tile's zone; None is all, as it is.
        overview: metres of the pixels that a COG's overview is read at; None reads its own pixels.
    """

    role: str
    href: str
    name: str
    size: int | None
    checksum: str | None
    listed: bool = True
    extra: bool = False
    part: Bounds | None = None
    overview: float | None = None

    @property
    def is_jp2(self) -> bool:
        """Whether it is named as a JPEG 2000 file."""
        return self.name.lower().endswith(".jp2")

    @property
    def kept(self) -> str:
        """What it is called here: the part of a JP2 is a GeoTIFF."""
        return f"{self.name}.tif" if self.is_jp2 and self.part is not None else self.name

    @property
    def shown(self) -> str:
        """The address for people and documents: without a signature."""
        return without_query(self.href)


@dataclass(frozen=True)
class Candidate:
    """A product of an archive, with the files a scene is made of."""

    product: Product
    item: Mapping[str, Any]
    archive: Archive
    files: tuple[RemoteFile, ...]

    @property
    def id(self) -> str:
        return self.product.id

    @property
    def key(self) -> tuple[str, str]:
        """Pass and tile: the same for every processing and archive."""
        return self.product.datatake, self.product.mgrs

    @property
    def part(self) -> Bounds | None:
        """The part of the tile that is fetched; None is the whole."""
        return next((f.part for f in self.files if f.part is not None), None)

    def widened(self, others: Sequence[Bounds | None]) -> "Candidate":
        """The candidate with the parts that are here of its pass and tile, None for a whole one."""
        part = self.part
        if part is None or not others:
            return self
        wide = None
        if None not in others:
            sides = np.array([part, *others])
            wide = Bounds(*map(float, (*sides[:, :2].min(axis=0), *sides[:, 2:].max(axis=0))))
        files = tuple(replace(f, part=None if f.part is None else wide) for f in self.files)
        return replace(self, files=files)

    @property
    def fingerprint(self) -> str:
        """Changes when the archive puts something else in the product's place, not when it moves its files; and with
        the part that is fetched."""
        p, assets = self.product, self.item["assets"]
        contents = {
            role: [assets[key].get("file:size"), assets[key].get("file:checksum")]
            for role, key in choose_assets(assets).items()
            if role in BANDS
        }
        part: list[object] = [] if self.part is None else [self.part]
        part += [f.overview for f in self.files if f.overview is not None][:1]
        line = json.dumps([p.id, p.baseline, p.generated.isoformat(), contents, *part], sort_keys=True)
        return hashlib.blake2b(line.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class Search:
    """What archives have: one group of candidates a pass and tile, the best first; newest passes first."""

    groups: tuple[tuple[Candidate, ...], ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def search(
    archives: Sequence[Archive], query: Query, roles: Sequence[str], optional: Sequence[str]
) -> Search:
    """Candidates of all archives.

    Args:
        roles: bands and files without which a product is left out.
        optional: files that are fetched where the archive has them.

    Raises:
        ArchiveError: no archive answered, or none has the level.
    """
    shapely.prepare(query.area)
    by_pass: dict[tuple[str, str], list[tuple[int, Candidate]]] = {}
    left_out: list[LeftOut] = []
    problems: list[str] = []
    notes: list[str] = []
    for rank, archive in enumerate(archives):
        try:
            for item in items_of(archive, query, note=notes.append):
                candidate = candidate_of(item, archive, query, roles, optional)
                if isinstance(candidate, LeftOut):
                    left_out.append(candidate)
                elif candidate is not None:
                    by_pass.setdefault(candidate.key, []).append((rank, candidate))
        except ArchiveError as error:
            problems.append(str(error))
    if len(problems) == len(archives):
        raise ArchiveError("; ".join(problems))
    groups = [group for members in by_pass.values() for group in _grounds(_ranked(members))]
    groups.sort(key=lambda g: (g[0].product.datetime, g[0].id), reverse=True)
    return Search(tuple(groups), tuple(left_out), (*problems, *notes))


def _ranked(members: Sequence[tuple[int, Candidate]]) -> tuple[Candidate, ...]:
    """The newest baseline first; of equal ones the archive named first, then the newest generation."""
    order = sorted(members, key=lambda m: m[1].product.generated, reverse=True)
    order.sort(key=lambda m: m[0])
    order.sort(key=lambda m: order_of(m[1].product)[0], reverse=True)
    seen: dict[tuple[str, str], Candidate] = {}
    for _, candidate in order:
        seen.setdefault((candidate.archive.name, candidate.id), candidate)
    return tuple(seen.values())


def _grounds(ranked: Sequence[Candidate]) -> list[tuple[Candidate, ...]]:
    """The candidates of one pass and tile, a group for each part of the ground: all groups are wanted."""
    groups: list[list[Candidate]] = []
    for candidate in ranked:
        for group in groups:
            if not other_ground(candidate.product, group[0].product):
                group.append(candidate)
                break
        else:
            groups.append([candidate])
    return [tuple(group) for group in groups]


def items_of(
    archive: Archive, query: Query, *, files: bool = True, note: Note = lambda line: None
) -> list[dict[str, Any]]:
    """The Items that an archive lists for a query, of all its collections of the level.

    Args:
        files, note: as in `ask`.

    Raises:
        ArchiveError: it does not answer, or has none of the level.
    """
    collections = archive.collections.get(query.level)
    if not collections:
        raise ArchiveError(
            f"{archive.name} has no {query.level.upper()}; it has {', '.join(archive.collections)}"
        )
    area, interval = outline(query.area), query.datetime
    return ask(
        archive,
        collections,
        area=area,
        datetime=interval,
        max_cloud=query.max_cloud,
        files=files,
        note=note,
    )


def candidate_of(
    item: Any,
    archive: Archive,
    query: Query,
    roles: Sequence[str],
    optional: Sequence[str],
) -> Candidate | LeftOut | None:
    """The candidate of an Item, why it cannot be one, or None when it is not asked for."""
    item = tidy(item)
    if (
        query.max_cloud is not None
        and (number(item["properties"].get("eo:cloud_cover")) or 0) > query.max_cloud
    ):
        return None
    shape = outline_of(item.get("geometry"))
    if shape is not None and not touches(shape, query.area):
        return None
    product = validated(str(item.get("id")), lambda: product_from_item(item, Path(f"{archive.name}.json")))
    if isinstance(product, LeftOut):
        return product
    if (query.tile and product.mgrs != query.tile) or product.level.lower() != query.level:
        return None
    try:
        with guarded(product.id):
            # The tile gives the place of an Item without a geometry.
            if shape is None and not touches(from_tile(product.mgrs), query.area):
                return None
            files = _files(item, product, archive, roles, optional)
            if query.overview is not None:
                wanted = _overviews(files, query.area, product, query.overview)
            else:
                wanted = files if query.whole else _parts(files, query.area, product)
    except TerrazzoError as error:
        return LeftOut(product.id, str(error))
    return Candidate(product, item, archive, wanted)


def tidy(item: Any) -> dict[str, Any]:
    """An Item with properties, and only the assets that have an address."""
    item = mapping(item)
    assets = {k: a for k, a in mapping(item.get("assets")).items() if text(mapping(a).get("href"))}
    return {**item, "properties": mapping(item.get("properties")), "assets": assets}


def touches(shape: shapely.Geometry, area: shapely.Geometry) -> bool:
    """Whether a product's outline touches an area; one drawn around the globe at the date line may do so anywhere."""
    west, _, east, _ = shape.bounds
    return east - west > 180 or bool(shapely.intersects(shape, area))


def _files(
    item: Mapping[str, Any], product: Product, archive: Archive, roles: Sequence[str], optional: Sequence[str]
) -> tuple[RemoteFile, ...]:
    if not PLAIN.match(product.id):
        raise ProductError(f"{product.id!r} cannot be the name of a folder")
    assets = item["assets"]
    chosen = choose_assets(assets)
    missing = [r for r in roles if r not in chosen]
    if missing:
        raise ProductError(f"{product.id}: {archive.name} has no {', '.join(missing)} for it")
    files = []
    for role in dict.fromkeys((*roles, *optional)):
        if role in chosen:
            asset = assets[chosen[role]]
            href = _readable([urljoin(product.href, a) for a in addresses(asset)])
            size_stated = number(asset.get("file:size"))
            size = int(size_stated) if size_stated else None
            files.append(
                RemoteFile(role, href, "", size, text(asset.get("file:checksum")), extra=role not in roles)
            )
        elif role in archive.beside and "granule_metadata" in chosen and product.baseline >= "0400":
            granule = str(assets[chosen["granule_metadata"]]["href"]).rpartition("/")[0]
            files.append(RemoteFile(role, f"{granule}/{archive.beside[role]}", "", None, None, False, True))
    return _named(files, product)


def _readable(places: Sequence[str]) -> str:
    """The first address of a file that can be read from here, else its own."""
    return next((p for p in places if urlparse(p).scheme in ("s3", "http", "https")), places[0])


def _parts(files: tuple[RemoteFile, ...], area: shapely.Geometry, product: Product) -> tuple[RemoteFile, ...]:
    """The files with the part that an area needs, where the bands are rasters of which parts can be fetched."""
    rasters = {f.role: f.name.lower().endswith((".tif", ".tiff", ".jp2")) for f in files}
    if not all(raster for role, raster in rasters.items() if role in BANDS):
        return files
    part = part_of(area, product.mgrs)
    return tuple(replace(f, part=part) if rasters[f.role] else f for f in files)


def _overviews(
    files: tuple[RemoteFile, ...], area: shapely.Geometry, product: Product, metres: float
) -> tuple[RemoteFile, ...]:
    """The bands' overviews over what an area needs; classes keep their pixels, since means of their numbers say nothing.

    Raises:
        ProductError: its bands are no COGs.
    """
    rasters = {f.role: f.name.lower().endswith((".tif", ".tiff")) for f in files}
    if not all(raster for role, raster in rasters.items() if role in BANDS):
        raise ProductError(
            f"{product.id}: its bands are no COGs, and nothing else has overviews that lie where its pixels do; name an archive of"
            " COGs: --archive earth-search"
        )
    part = part_of(area, product.mgrs) or tile_square(product.mgrs)[0]
    return tuple(
        replace(f, part=part, overview=metres if f.role in BANDS else None) if rasters[f.role] else f
        for f in files
        if not f.is_jp2
    )


def _named(files: Sequence[RemoteFile], product: Product) -> tuple[RemoteFile, ...]:
    """The files with the names they have in the archive; the role before it where two have the same."""
    names = [urlparse(f.href).path.rpartition("/")[2] for f in files]
    named = []
    for file, name in zip(files, names, strict=True):
        unique = name if names.count(name) == 1 else f"{file.role}_{name}"
        if not PLAIN.match(unique):
            raise ProductError(f"{product.id}: {file.shown} has no name that a file may have")
        named.append(replace(file, name=unique))
    return tuple(named)
