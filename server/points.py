"""The values at a place."""

import math
from typing import Any

import numpy as np

from terrazzo.bands import SCALE
from terrazzo.errors import OutsideCoverage, ReadFailure
from terrazzo.mosaic.engine import Engine
from terrazzo.mosaic.interpolated import interpolated
from terrazzo.mosaic.measure import choose, draw, known
from terrazzo.mosaic.quality import quality
from terrazzo.mosaic.sigma import require_sigma, sigma_at
from terrazzo.mosaic.warp import Points, places, transformer
from terrazzo.request.boxes import place_of, swap_of
from terrazzo.server.request import Ask


def point_values(engine: Engine, ask: Ask, lon: float, lat: float, *, sigma: bool = False) -> dict[str, Any]:
    """Values at a place: what a tile shows there at full resolution; `problems` names scenes that could not be read.

    Args:
        sigma: whether to compute the values' standard errors.

    Raises:
        ReadFailure: nothing is shown, since scenes could not be read.
        OutsideCoverage: the mosaic has no data there.
    """
    place_of(lon, lat, "point")
    if sigma:
        require_sigma(ask.measure, engine.version)
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
    is_whole = chosen.selection.request.stage in ("raw", "mask")
    numbers = [_number(v, is_whole) if here else None for v, here in zip(values, known(values), strict=True)]
    scene = image.entries[int(image.provenance[0, 0])].scene
    lines = interpolated(engine, chosen.selection, (scene,), place)
    sure = sigma_at(engine, chosen.selection, place, image, scene.epsg) if sigma else None
    problems = tuple(dict.fromkeys((*drawn.problems, *(sure.problems if sure else ()))))
    return {
        "coordinates": [lon, lat],
        "band_names": list(ask.measure.names if is_float else image.bands),
        "values": numbers,
        **({"sigma": sure.sigma, "sigma_shared": sure.shared, "sigma_95": sure.within_95} if sure else {}),
        "scene": scene.id,
        "datetime": scene.datetime.isoformat(),
        "sampling": sampling(engine, place, scene.epsg, chosen.selection.request.resampling),
        "scenes_usable": int(image.count[0, 0]),
        "quality": int(quality(engine, chosen.selection, place, image)[0, 0]),
        **({"interpolated": [*lines]} if chosen.selection.request.stage == "raw" else {}),
        "request": chosen.text(),
        "version": engine.version.name,
        "attribution": engine.version.attribution,
        **({"problems": list(problems)} if problems else {}),
    }


def _number(value: np.generic, is_whole: bool) -> int | float:
    """A count as reflectance or, of classes and raw counts, as it is; of an expression the seven digits that float32 holds."""
    if isinstance(value, np.floating):
        return float(f"{value:.7g}")
    return int(value) if is_whole else round(int(value) * SCALE, 4)


def sampling(engine: Engine, place: Points, epsg: int, resampling: str) -> dict[str, Any]:
    """How a place's values were read: by which resampling, and of a zone's own grid the pixel that the place lies in."""
    grid = engine.version.store.grid(epsg)
    rows, cols = places(place.crs, (place.x, place.y), grid, 0)
    row, col = math.floor(rows[0]), math.floor(cols[0])
    x, y = (col + 0.5) * grid.pixel, grid.origin_y - (row + 0.5) * grid.pixel
    lon, lat = transformer(f"EPSG:{epsg}", place.crs).transform(x, y)
    return {
        "resampling": resampling,
        "crs": f"EPSG:{epsg}",
        "pixel_size": grid.pixel,
        "pixel": {"row": row, "col": col, "center": [x, y], "coordinates": [round(lon, 7), round(lat, 7)]},
    }
