"""The values at a place."""

from typing import Any

import numpy as np

from terrazzo.bands import SCALE
from terrazzo.errors import OutsideCoverage, ReadFailure
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.measure import choose, draw, known
from terrazzo.mosaic.quality import quality
from terrazzo.mosaic.selection import Selection
from terrazzo.mosaic.warp import Points
from terrazzo.request.boxes import place_of, swap_of
from terrazzo.scene import Scene, read_item, resampled
from terrazzo.server.request import Ask


def point_values(engine: Engine, ask: Ask, lon: float, lat: float) -> dict[str, Any]:
    """Values at a place: what a tile shows there at full resolution; `problems` names scenes that could not be read.

    Raises:
        ReadFailure: nothing is shown, since scenes could not be read.
        OutsideCoverage: the mosaic has no data there.
    """
    place_of(lon, lat, "point")
    chosen = choose(engine, ask.measure)
    place = Points("EPSG:4326", np.array([lon]), np.array([lat]))
    drawn = draw(chosen, lambda selection: engine.points(selection, place.crs, place.x, place.y))
    image, values = drawn.image, drawn.values[:, 0, 0]
    if not known(values).any():
        if drawn.problems:
            raise ReadFailure("; ".join(drawn.problems))
        hint = swap_of(lon, lat, engine.version.bounds)
        raise OutsideCoverage(f"no data at {lon},{lat} for {chosen.text()}{hint}")
    is_float = values.dtype.kind == "f"
    is_whole = chosen.selection.request.stage in ("raw", "mask") and not is_float
    numbers = [
        None if not here else int(v) if is_whole else round(float(v) * (1 if is_float else SCALE), 4)
        for v, here in zip(values, known(values), strict=True)
    ]
    scene = image.entries[int(image.provenance[0, 0])].scene
    return {
        "coordinates": [lon, lat],
        "band_names": list(ask.measure.names if is_float else image.bands),
        "values": numbers,
        "scene": scene.id,
        "datetime": scene.datetime.isoformat(),
        "scenes_usable": int(image.count[0, 0]),
        "quality": int(quality(engine, chosen.selection, place, image)[0, 0]),
        **_interpolated(engine, chosen.selection, scene),
        "request": chosen.text(),
        "version": engine.version.name,
        "attribution": engine.version.attribution,
        **({"problems": list(drawn.problems)} if drawn.problems else {}),
    }


def _interpolated(engine: Engine, selection: Selection, scene: Scene) -> dict[str, list[str]]:
    """Of `stage=raw`: what lies between the value and the product's own number; empty where it is that number."""
    if selection.request.stage != "raw":
        return {}
    told = [resampled(read_item(engine.version.store, scene)["properties"])]
    if selection.request.resampling != "nearest":
        told.append("interpolated between the store's pixels to the place; resampling=nearest does not")
    return {"interpolated": [t for t in told if t]}
