"""A scene: one product, corrected, on its zone's grid, and the STAC Item that describes it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from terrazzo.bands import CLEAR, CLOUDED
from terrazzo.errors import NotFound, StoreError
from terrazzo.grid import PixelBox, zone_name
from terrazzo.store import Store

ITEM = "item.json"
MASK = "mask.tif"
SCORE = "score.tif"
CORRECTION = "correction.npz"
STRIPS = "strips.parquet"
OWNER = "SCENE"
"""Tag of rasters that belong to a scene, which names it as their keys do (`owner_of`)."""
SCENE_COLUMNS = (
    "terrazzo:prefix",
    "terrazzo:period",
    "terrazzo:rank",
    "terrazzo:ordinal",
    "terrazzo:weight",
    "terrazzo:haze_weight",
    "terrazzo:shift_east",
    "terrazzo:shift_north",
    "terrazzo:shift_spread",
)
"""What a version's scenes.parquet says of each scene beside its Item."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A complete scene of a store.

    Attributes:
        prefix: folder in the store, `scenes/33N/33TWL/<id>/<rev>`.
        level: of the product it was made of, `L1C` (air taken out by us) or `L2A` (by Sen2Cor).
        box: pixels of the zone grid its rasters cover, whole windows.
        clear_share, cloud_share, snow_share: shares of the valid pixels, 0–1.
        relative_orbit: 1–143; 0 if unknown.
        haze: mean HOT (B02 − 0.5 B04) over clear land, reflectance; NaN where nothing is clear.
    """

    id: str
    rev: str
    prefix: str
    mgrs: str
    epsg: int
    datetime: datetime
    platform: str
    level: str
    relative_orbit: int
    datatake: str
    box: PixelBox
    bands: tuple[str, ...]
    clear_share: float
    cloud_share: float
    snow_share: float
    haze: float

    def key(self, name: str) -> str:
        """Key of one of the scene's files."""
        return f"{self.prefix}/{name}"

    def band_key(self, band: str) -> str:
        """Key of a band's raster."""
        return self.key(f"{band}.tif")


def scene_prefix(epsg: int, mgrs: str, scene_id: str, rev: str) -> str:
    """The folder of a scene in a store."""
    return f"scenes/{zone_name(epsg)}/{mgrs}/{scene_id}/{rev}"


def scene_from_item(item: Mapping[str, Any], prefix: str) -> Scene:
    """The scene an Item of the store describes.

    Raises:
        StoreError: the Item lacks what the store format demands.
    """
    p = item["properties"]
    try:
        return Scene(
            id=item["id"],
            rev=p["terrazzo:rev"],
            prefix=prefix,
            mgrs=p["grid:code"].removeprefix("MGRS-"),
            epsg=int(p["proj:code"].removeprefix("EPSG:")),
            datetime=datetime.fromisoformat(p["datetime"]),
            platform=p["platform"],
            level=p["terrazzo:source"]["level"],
            relative_orbit=int(p.get("sat:relative_orbit") or 0),
            datatake=p["terrazzo:datatake"],
            box=PixelBox(*p["terrazzo:box"]),
            bands=tuple(p["terrazzo:bands"]),
            clear_share=p["terrazzo:clear_share"],
            cloud_share=p["terrazzo:cloud_share"],
            snow_share=p["terrazzo:snow_share"],
            haze=float("nan") if p["terrazzo:haze"] is None else p["terrazzo:haze"],
        )
    except KeyError as error:
        raise StoreError(
            f"{prefix}/{ITEM} lacks {error}; run precompute again to rewrite the scene"
        ) from None


def owner_of(key: str) -> str:
    """The scene to which a file belongs, by its key: `<id>/<rev>` of a scene's own, the name of a weight; empty of others."""
    parts = key.split("/")
    if parts[0] == "scenes":
        return "/".join(parts[-3:-1])
    return parts[-1].rpartition(".")[0] if "weights" in parts else ""


def class_shares(counts: Mapping[int, int]) -> tuple[float, float]:
    """Clear share and cloud share of the valid pixels, from pixel counts by mask class."""
    valid = sum(n for c, n in counts.items() if c != 0)
    if not valid:
        return 0.0, 0.0
    clear = sum(counts.get(int(c), 0) for c in CLEAR)
    clouded = sum(counts.get(int(c), 0) for c in CLOUDED)
    return clear / valid, clouded / valid


def read_scene(store: Store, prefix: str) -> Scene:
    """The scene in a folder of a store.

    Raises:
        NotFound: the folder holds no complete scene.
        StoreError: its Item is damaged or lacks what the store format demands.
    """
    return scene_from_item(store.read_json(f"{prefix}/{ITEM}"), prefix)


def read_item(store: Store, scene: Scene) -> dict[str, Any]:
    """The STAC Item of a scene."""
    document: dict[str, Any] = store.read_json(scene.key(ITEM))
    return document


def resampled(properties: Mapping[str, Any]) -> str:
    """What the lineage of an Item says of a product whose pixels were resampled to the store's; empty where they were not."""
    lines = str(properties.get("processing:lineage") or "").split("; ")
    return next((line for line in lines if "resampled once" in line), "")


def by_beginning(given: str, names: Iterable[str], kind: str, where: str) -> str:
    """The one name that is given, or that begins so.

    Args:
        kind: what the names are of, such as `scene`.
        where: what holds them, such as `the store`.

    Raises:
        NotFound: there is none, or several; the message lists them, else those that hold the text, else all.
    """
    known = sorted(set(names))
    matching = [n for n in known if n.startswith(given)] if given else []
    if given in matching or len(matching) == 1:
        return given if given in matching else matching[0]
    listed = matching or [n for n in known if given.lower() in n.lower()] or known
    more = f" and {len(listed) - 10} more" if listed[10:] else ""
    problem = f"more than one {kind} that begins with" if matching else f"no {kind}"
    raise NotFound(f"{where} has {problem} {given}; it has {', '.join(listed[:10]) or 'none'}{more}")


def list_scenes(store: Store) -> Iterator[Scene]:
    """All complete scenes of a store, sorted by key."""
    for key in store.list("scenes"):
        if key.endswith("/" + ITEM):
            yield read_scene(store, key.removesuffix("/" + ITEM))
