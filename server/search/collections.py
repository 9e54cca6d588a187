"""Which collections a search looks through: `NAME` (scenes of a mosaic's current version), `NAME.periods` (the mosaic
itself, by period and zone), and `NAME-VERSION` (scenes of a version, where it is asked for).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from terrazzo.server.mosaics import Mosaics
from terrazzo.server.search.items import open_listings
from terrazzo.server.search.listing import Listing
from terrazzo.server.stac import PERIODS, VERSIONED, in_collection, with_renders


class SearchedCollection(NamedTuple):
    """A collection that a search looks through.

    Attributes:
        path: of the collection, below the server's address.
        here: of an Item, below the collection's address.
        bands: of scenes, to say how they are drawn; empty for periods.
    """

    mosaic: str
    version: str
    listing: Listing
    path: str
    here: str
    bands: tuple[str, ...]

    def item(self, base: str, name: str, row: int, assets_url: str | None, query: str) -> dict[str, Any]:
        """The Item of a row.

        Args:
            base: address of the server as clients see it.
            name: of the collection.
            assets_url: address under which clients read the store's files; without one, Items of scenes have no assets.
            query: the asker's key as a parameter, for what other programs open at this server.
        """
        item, assets = self.listing.document(row), {}
        root = assets_url.rstrip("/") if assets_url and self.bands else None
        if not self.bands:
            root = f"{base}/mosaics/{self.mosaic}"
            query = f"&{query}" if query else ""
        if root is not None:
            end = "" if self.bands else query
            assets = {k: {**a, "href": f"{root}/{a['href']}{end}"} for k, a in item["assets"].items()}
        item = {**item, "assets": assets}
        if self.bands:
            item = with_renders(item, self.bands)
        above = base + self.path
        return in_collection(base, item, name, above, f"{above}/{self.here}/{item['id']}")


def collections_of(visible: Iterable[str], wanted: Iterable[str] | None) -> dict[str, tuple[str, str | None]]:
    """The mosaic and, where it is named, the version of the collections that a search means; one that is not known has no Items.

    Args:
        visible: mosaics that the client may see.
        wanted: ids of collections; None for all of the current versions.
    """
    known = [*visible]
    names = [n for m in known for n in (m, m + PERIODS)] if wanted is None else wanted
    meant: dict[str, tuple[str, str | None]] = {}
    for name in names:
        match = VERSIONED.fullmatch(name)
        if name.removesuffix(PERIODS) in known:
            meant[name] = name.removesuffix(PERIODS), None
        elif match and match[1] in known:
            meant[name] = match[1], match[2]
    return meant


def open_collection(
    mosaics: Mosaics, name: str, mosaic: str, version: str | None, pinned: Mapping[str, str]
) -> SearchedCollection:
    """Opens a collection.

    Args:
        version: None for the current one.
        pinned: versions by mosaic that count as the current ones.

    Raises:
        NotFound: there is no such version.
        Damaged: a table of it has changed since it was written.
    """
    meant = version or pinned.get(mosaic)
    shown, listings = mosaics.read(
        mosaic, meant, lambda store, known: (known, open_listings(store, mosaic, known))
    )
    if name.endswith(PERIODS):
        return SearchedCollection(mosaic, shown, listings.periods, f"/collections/{name}", "items", ())
    path = f"/collections/{mosaic}" if version is None else f"/mosaics/{mosaic}/versions/{version}"
    here = "items" if version is None else "scenes"
    return SearchedCollection(mosaic, shown, listings.scenes, path, here, listings.bands)
