"""Finds the Items that a search asks for, sorts them, and writes a page of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from terrazzo.errors import InvalidRequest
from terrazzo.server.search.asked import Fields, SearchRequest
from terrazzo.server.search.filters import matching
from terrazzo.server.search.listing import Listing

LEAST = ("type", "stac_version", "id", "geometry", "bbox", "links", "assets", "properties.datetime")
"""What an Item has where `fields` names nothing that is wanted."""
ALWAYS = ("id", "collection", "type", "stac_version")
"""What an Item always has: without it clients do not know what they hold."""
NEWEST_FIRST = (("datetime", True),)


class Hit(NamedTuple):
    """An Item that is asked for: its collection, and its row there."""

    collection: str
    row: int

    @property
    def name(self) -> str:
        """It in messages."""
        return f"{self.collection}, Item {self.row}"


class Page(NamedTuple):
    """A page of a search.

    Attributes:
        matched: Items of all pages.
    """

    hits: list[Hit]
    matched: int


def find(asked: SearchRequest, listings: Mapping[str, Listing]) -> Page:
    """The Items of a page in their order: as `sortby` says, else the newest first; then by collection and id.

    Raises:
        InvalidRequest: the filter cannot be applied, or what is sorted by has no order.
    """
    keys = asked.sort or NEWEST_FIRST
    hits = [(name, _rows(asked, listing)) for name, listing in listings.items()]
    table = _sortable([n for n, _ in keys], [(n, rows, listings[n]) for n, rows in hits])
    named = [(n, "descending" if down else "ascending") for n, down in keys if n in table.column_names]
    taken = {n for n, _ in named}
    named += [(n, "ascending") for n in ("collection", "id") if n not in taken]
    order = pc.sort_indices(table, sort_keys=named)
    chosen = table.take(order.slice(asked.token.skip, asked.limit))
    pairs = zip(chosen["collection"].to_pylist(), chosen["row"].to_pylist(), strict=True)
    return Page([Hit(*p) for p in pairs], table.num_rows)


def _rows(asked: SearchRequest, listing: Listing) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The rows of a listing that a search matches."""
    hits = np.ones(len(listing), bool)
    if asked.ids is not None:
        hits &= pc.is_in(listing.properties["id"], pa.array(asked.ids, pa.string())).to_numpy()
    if asked.span is not None:
        hits &= listing.during(asked.span)
    if asked.area is not None:
        hits &= listing.touching(asked.area)
    if asked.condition is not None:
        result = matching(asked.condition, listing)
        hits &= pc.fill_null(result, False).to_numpy(zero_copy_only=False)
    return np.flatnonzero(hits)


def _sortable(names: Sequence[str], hits: Sequence[tuple[str, Any, Listing]]) -> pa.Table:
    """Hits with what they are sorted by; a property that no Item has is left out."""
    tables = [pa.table({"collection": pa.array([], pa.string()), "row": pa.array([], pa.int64())})]
    tables[0] = tables[0].append_column("id", pa.array([], pa.string()))
    for name, rows, listing in hits:
        if lists := [n for n in names if n in listing.not_compared]:
            raise InvalidRequest(f"sortby: {lists[0]} is a list or an object: /queryables lists the others")
        own = [n for n in dict.fromkeys(("id", *names)) if n in listing.properties.column_names]
        part = listing.properties.select(own).take(pa.array(rows))
        part = part.append_column("collection", pa.array([name] * len(rows), pa.string()))
        tables.append(part.append_column("row", pa.array(rows, pa.int64())))
    return pa.concat_tables(tables, promote_options="permissive")


def with_fields(item: dict[str, Any], fields: Fields | None) -> dict[str, Any]:
    """An Item with what is wanted of it: what `include` names, by an empty one `LEAST`; else all; less what `exclude` names."""
    if fields is None:
        return item
    kept: dict[str, Any] = item if fields.include is None else {}
    if fields.include is not None:
        least = () if fields.include else LEAST
        for path in (*ALWAYS, *least):
            _copy(item, kept, path.split("."))
    for path in fields.exclude:
        if path not in ALWAYS:
            kept = _without(kept, path.split("."))
    for path in fields.include or ():
        _copy(item, kept, path.split("."))
    return kept


def _copy(source: Mapping[str, Any], target: dict[str, Any], path: list[str]) -> None:
    """Copies what a path leads to, if there is anything."""
    name, *rest = _named(source, path)
    if name not in source:
        return
    if not rest:
        target[name] = source[name]
    elif isinstance(source[name], Mapping):
        _copy(source[name], target.setdefault(name, {}), rest)


def _named(source: Mapping[str, Any], path: list[str]) -> list[str]:
    """A path whose first name is whole: an asset's may hold a dot."""
    whole = ".".join(path)
    return [whole] if whole in source else path


def _without(item: Mapping[str, Any], path: list[str]) -> dict[str, Any]:
    name, *rest = _named(item, path)
    if name not in item:
        return dict(item)
    if not rest:
        return {k: v for k, v in item.items() if k != name}
    inner = item[name]
    return {**item, name: _without(inner, rest)} if isinstance(inner, Mapping) else dict(item)
