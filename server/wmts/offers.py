"""What WMTS offers of a mosaic: its layers, and the documents that list them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from terrazzo.bands import STYLES
from terrazzo.config import Period
from terrazzo.formats import offered
from terrazzo.server.layers import LAYERS
from terrazzo.server.layers import SIZE as LAYER_SIZE
from terrazzo.server.wmts.legend import CLASSES_SIZE, SIZE
from terrazzo.version import Version

FORMATS = {name: f.media for name, f in offered("wmts").items()}
PNG = {"png": FORMATS["png"]}
DOCUMENTS = ("time", "quality", "stages")
"""Documents beside the default one, which is made for the dialogs in which people add a layer."""
FEW_STYLES, FEW_TIMES = 4, 4
"""QGIS lists style × format × matrix set × time: with these and two sets it lists 24 entries at most."""
MOST_ENTRIES = 199
"""Entries of a further document."""
STAGES = {
    "raw": "the products' own numbers",
    "mask": "what the mask calls each pixel",
    "corrected": "one scene, corrected",
    "merged": "scenes merged, not normalized",
    "normalized": "scenes merged, normalized",
}
CLASSES = "classes"
"""The one style of the mask."""


class OfferedStyle(NamedTuple):
    """A style as a document lists it."""

    name: str
    title: str
    legend: tuple[int, int]


@dataclass(frozen=True)
class OfferedLayer:
    """A layer.

    Attributes:
        styles: the default first.
        asked: parameters of a request for it, beside the style.
        periods: values of its Time, newest first; empty for a layer without.
    """

    id: str
    title: str
    styles: tuple[OfferedStyle, ...]
    formats: Mapping[str, str] = field(default_factory=lambda: FORMATS)
    asked: Mapping[str, str] = field(default_factory=dict)
    periods: tuple[Period, ...] = ()


def styles(version: Version) -> tuple[OfferedStyle, ...]:
    """The named styles that a mosaic has the bands for, the default first."""
    have = set(version.bands)
    return tuple(OfferedStyle(s.name, s.title, SIZE) for s in STYLES.values() if set(s.bands) <= have)


def origin_styles() -> tuple[OfferedStyle, ...]:
    """The styles that show where pixels come from."""
    return tuple(OfferedStyle(v.name, v.title, LAYER_SIZE) for v in LAYERS.values())


def periods(version: Version) -> tuple[Period, ...]:
    """The periods that Time can name, newest first."""
    plain = [p for p in version.periods.values() if not p.members]
    return tuple(sorted(plain, key=lambda p: p.end, reverse=True))


def layers(version: Version) -> dict[str, OfferedLayer]:
    """Every layer of a mosaic, by identifier, with all styles and times."""
    mosaic, title = version.mosaic_id, version.config.title or version.mosaic_id
    named = styles(version)
    every = [
        OfferedLayer(mosaic, title, named),
        OfferedLayer(f"{mosaic}_time", f"{title} by period", named, PNG, periods=periods(version)),
        OfferedLayer(f"{mosaic}_quality", f"{title}: where pixels come from", origin_styles(), PNG),
    ]
    for stage, meaning in STAGES.items():
        shown = (OfferedStyle(CLASSES, "Mask classes", CLASSES_SIZE),) if stage == "mask" else named
        if stage != "normalized" or version.normalized:
            every.append(
                OfferedLayer(f"{mosaic}_{stage}", f"{title}: {meaning}", shown, PNG, {"stage": stage})
            )
    return {layer.id: layer for layer in every}


def listed(version: Version, document: str, sets: int) -> list[OfferedLayer]:
    """The layers that a document lists, with as many styles and times as a dialog can bear.

    Args:
        document: one of DOCUMENTS, or empty for the default one.
        sets: how many tile matrix sets the document has.
    """
    mosaic, known = version.mosaic_id, layers(version)
    time = known[f"{mosaic}_time"]
    if document == "time":
        dates = time.periods[: max(1, MOST_ENTRIES // sets)]
        shown = time.styles[: max(1, MOST_ENTRIES // (sets * len(dates)))]
        return [_with(time, shown, dates)]
    if document == "quality":
        return [known[f"{mosaic}_quality"]]
    if document == "stages":
        shown_stages = [known[f"{mosaic}_{s}"] for s in STAGES if f"{mosaic}_{s}" in known]
        few = max(1, MOST_ENTRIES // (sets * len(shown_stages)))
        return [_with(layer, layer.styles[:few], ()) for layer in shown_stages]
    return [
        _with(known[mosaic], known[mosaic].styles[:FEW_STYLES], ()),
        _with(time, time.styles[:1], time.periods[:FEW_TIMES]),
    ]


def _with(layer: OfferedLayer, styles: tuple[OfferedStyle, ...], periods: tuple[Period, ...]) -> OfferedLayer:
    return OfferedLayer(layer.id, layer.title, styles, layer.formats, layer.asked, periods)
